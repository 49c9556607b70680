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

/// Values of which every setting that is a number takes one.
const EXAMPLES: [&str; 7] = ["256", "0.5", "1", "100", "10ms", "64GiB", "25GB/s"];

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
        None if setting.takes == "name" => return "Llama-3.1-70B".to_owned(),
        None => {}
    }
    let mostly =
        setting.default.rsplit("else ").next().unwrap_or_default().split([' ', ',']).next().unwrap_or_default();
    let size = if setting.takes == "tokens" { "8192" } else { "" };
    let words = [mostly, size].into_iter().chain(setting.takes.split(" | ")).chain(EXAMPLES).chain(["true"]);
    let taken = |text: &&str| !text.is_empty() && (setting.set)(&mut Lab::default(), text).is_ok();
    words.into_iter().find(taken).unwrap_or_default().to_owned()
}
