//! The session that a request names.

use axum::http::HeaderMap;
use kvcache::SessionId;
use serde_json::Value;

/// Upstream looks for the session in the headers first, then in the body.
pub(crate) fn in_headers<'a>(key: Option<&'a str>, headers: &'a HeaderMap) -> Option<&'a str> {
    let names = key.into_iter().chain(["x-session-id", "x-user-id"]);
    names.filter_map(|name| headers.get(name)).find_map(|value| value.to_str().ok())
}

/// A session may be called by a text or a number; anything else names none.
pub(crate) fn in_body(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// FNV-1a (Fowler, Noll, Vo): the same session for the same name in every run and on every machine.
pub(crate) fn id(name: &str) -> SessionId {
    SessionId(
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
    )
}
