//! Reading a JSON object field by field, so that an error can name the field.
//!
//! A field that is null is a field that is not there, as clients send it.

use super::error::ApiError;
use serde_json::{Map, Value};

/// The object that a body is.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad("The request body must be a JSON object.")),
            Err(error) => Err(ApiError::bad(format!("The request body is not valid JSON: {error}"))),
        }
    }

    /// The field called `name`, unless it is missing or null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| must_be(name, "a string", value))).transpose()
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        let flag = self.get(name).map(|value| value.as_bool().ok_or_else(|| must_be(name, "true or false", value)));
        Ok(flag.transpose()?.unwrap_or(false))
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn whole(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let whole = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match whole.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(must_be(name, &format!("a whole number from {least} to {most}"), value)),
        }
    }

    /// A number from `least` to `most`.
    pub(crate) fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_f64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(must_be(name, &format!("a number from {least} to {most}"), value)),
        }
    }
}

/// The error for a field of the wrong type or range.
pub(crate) fn must_be(name: &str, what: &str, value: &Value) -> ApiError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        // What a client wrote into a text is not repeated: errors are logged.
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    ApiError::field(name, format!("`{name}` must be {what}, got {found}."))
}
