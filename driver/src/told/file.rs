//! Results of other tools, recognised by content.

use super::{Told, aiperf, vllm};
use crate::bounded;
use crate::failure::Failure;
use serde_json::Value;
use std::path::Path;

/// Larger results are none.
const MOST_BYTES: u64 = 1 << 30;

/// The run that a file tells of.
///
/// # Errors
/// [`Failure::Invalid`] where it is not what one of these tools writes.
pub(super) fn read(path: &Path) -> Result<Told, Failure> {
    let said = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
    let unread = |error: std::io::Error| said(format!("cannot be read: {error}"));
    let bytes = bounded::read(path, MOST_BYTES).map_err(unread)?;
    let text = String::from_utf8(bytes).map_err(|_| said("it is no text".to_owned()))?;
    let told = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(result)) if vllm::is(&result) => vllm::told(&result),
        Ok(Value::Object(record)) if aiperf::is(&record) => aiperf::told(&text),
        // Several objects, one on each line.
        Err(_) if first_line(&text).as_ref().and_then(Value::as_object).is_some_and(aiperf::is) => aiperf::told(&text),
        Err(_) if first_line(&text).as_ref().and_then(Value::as_object).is_some_and(vllm::is) => {
            Err("it holds several results of vllm bench serve; keep the line of one of them".to_owned())
        }
        _ => {
            Err("neither a result of vllm bench serve --save-result nor a profile_export.jsonl of aiperf; name one of \
                  them, or a folder that --out made"
                .to_owned())
        }
    };
    told.map_err(said)
}

fn first_line(text: &str) -> Option<Value> {
    serde_json::from_str(text.lines().find(|line| !line.trim().is_empty())?).ok()
}
