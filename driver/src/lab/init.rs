//! A lab file to begin with: every setting, commented out.

use super::Lab;
use super::schema::default;
use super::settings::{SETTINGS, Setting};
use serde_json::Value;

const HEAD: &str = "\
# A podlab lab file: what decides the physics and is not in the endpoint file. Every setting that there is stands below,
# commented out, with its default, or with an example where the default is decided elsewhere. Take the # away from what
# you change. A list stands for one run per value, so that several lists make a matrix:
#
#   engine.max_num_seqs: [256, 1024]
#
# podlab simulate ENDPOINT.yaml --lab FILE; --set KEY=VALUE on the command line is stronger than this file.
# For an editor to check it: podlab lab schema > lab.schema.json, and as the first line of this file
# \"yaml-language-server: $schema=lab.schema.json\" behind a #.
";

/// What settings come to that are decided elsewhere, for a 70B model on eight H100.
const EXAMPLES: [(&str, &str); 13] = [
    ("model.name", "Llama-3.1-70B"),
    ("engine.max_num_seqs", "1024"),
    ("engine.max_num_batched_tokens", "8192"),
    ("engine.max_model_len", "131072"),
    ("engine.num_gpu_blocks", "84097"),
    ("l1.bandwidth", "51.2GB/s"),
    ("l2.bytes", "400GiB"),
    ("l2.bandwidth", "10GB/s"),
    ("l2.nic", "3200Gbit/s"),
    ("fleet.max_queue_size", "64"),
    ("autoscaling.metric", "in_flight"),
    ("autoscaling.target", "40"),
    ("price.usd_per_hour", "63.3"),
];

/// The file.
#[must_use]
pub fn text() -> String {
    let (mut text, mut section) = (HEAD.to_owned(), "");
    for setting in SETTINGS {
        let own = setting.key.split('.').next().unwrap_or_default();
        if own != section {
            section = own;
            text.push_str(&format!("\n# ---- {section} ----\n"));
        }
        let of = if default(setting).is_some() { "" } else { "; default: " };
        let decided = if of.is_empty() { "" } else { setting.default };
        text.push_str(&format!("\n# {}\n# takes: {}{of}{decided}\n", setting.means, setting.takes));
        text.push_str(&format!("#{}: {}\n", setting.key, value(setting)));
    }
    text
}

/// Its default, or an example: what its default comes to in most cases, where that is told.
fn value(setting: &Setting) -> String {
    match default(setting) {
        Some(Value::String(text)) => return text,
        Some(value) => return value.to_string(),
        None => {}
    }
    if let Some((_, example)) = EXAMPLES.iter().find(|(key, _)| *key == setting.key) {
        return (*example).to_owned();
    }
    let mostly =
        setting.default.rsplit("else ").next().unwrap_or_default().split([' ', ',']).next().unwrap_or_default();
    let words = [mostly].into_iter().chain(setting.takes.split(" | ")).chain(["true"]);
    let taken = |text: &&str| !text.is_empty() && (setting.set)(&mut Lab::default(), text).is_ok();
    words.into_iter().find(taken).unwrap_or_default().to_owned()
}
