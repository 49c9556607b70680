//! Why a request failed, by class: what is counted together.

use std::borrow::Cow;
use std::fmt;

/// A failure of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its class, such as `connect`, `timeout`, `http_429`, `cut`: the key of `errors` in `summary.json`.
    pub class: Cow<'static, str>,
    /// What was said, for people.
    pub said: String,
    /// Whether the server refused the request before it began to work on it.
    pub refused: bool,
}

impl Problem {
    /// Of a class that has a fixed name.
    pub(super) fn new(class: &'static str, said: impl fmt::Display) -> Self {
        Self { class: Cow::Borrowed(class), said: said.to_string(), refused: false }
    }

    /// A status that is no success, with what the body says.
    pub(super) fn status(status: u16, said: &str) -> Self {
        let said = said.trim();
        let said = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {}", short(said)) };
        Self { class: Cow::Owned(format!("http_{status}")), said, refused: true }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.said, self.class)
    }
}

/// The beginning of a long text, on one line.
pub(super) fn short(text: &str) -> String {
    let mut line: String =
        text.chars().take(300).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if text.chars().nth(300).is_some() {
        line.push_str(" ..");
    }
    line
}
