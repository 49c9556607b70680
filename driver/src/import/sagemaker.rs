//! SageMaker's data capture: an envelope around what an endpoint got and gave, and when.

use super::{Seen, openai, time};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use serde_json::Value;

/// The request of a line.
pub(super) fn request(line: &Value, session: Option<&str>) -> Result<Option<Seen>, String> {
    let capture = line.get("captureData").ok_or("no captureData: not a line of SageMaker's data capture")?;
    let input = capture.get("endpointInput").ok_or(
        "captureData holds no endpointInput: turn on capture of input (CaptureOptions: Input, and Output for the replies' lengths)",
    )?;
    let when = line["eventMetadata"].get("inferenceTime").ok_or("no eventMetadata.inferenceTime tells when it came")?;
    let at = time::moment(when).ok_or_else(|| format!("eventMetadata.inferenceTime is no time: {}", time::ALLOWED))?;
    let request = data(input)?;
    let request: Value = serde_json::from_str(&request)
        .map_err(|_| "endpointInput.data is no JSON: not an OpenAI-style request".to_owned())?;
    let response = capture.get("endpointOutput").map(data).transpose()?;
    // A stream of events stays a string.
    let response = response.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
    openai::seen(at, &request, response.as_ref(), &line["eventMetadata"], session)
}

fn data(side: &Value) -> Result<String, String> {
    let text = side["data"].as_str().ok_or("data is missing, or no string")?;
    match side["encoding"].as_str() {
        Some("BASE64") => {
            let bytes = STANDARD.decode(text).map_err(|_| "data is no base64, which its encoding says".to_owned())?;
            String::from_utf8(bytes).map_err(|_| "data is no text once decoded".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}
