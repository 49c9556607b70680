//! The command line of the model server, put together from `worker.command` and `worker.args`.

use std::collections::BTreeMap;

use super::problem::{Code, Findings, Place};
use crate::yaml::{Node, quoted};

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh"];

/// One word of a command line and the list item that it stands in.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Place,
    pub(super) path: String,
}

/// The words after `vllm serve`. `variables` are what `$(NAME)` stands for.
pub(super) fn engine_words(worker: &Node, variables: &BTreeMap<String, String>, findings: &mut Findings) -> Vec<Word> {
    let command = words_of(worker, "command", variables);
    let args = words_of(worker, "args", variables);
    let Some(program) = command.first().cloned() else { return args };
    let all: Vec<Word> = command.into_iter().chain(args.iter().cloned()).collect();
    if let Some(script) = shell_script(&all) {
        return after_launcher(&split(script, variables)).unwrap_or_else(|| {
            not_understood(&program, findings);
            Vec::new()
        });
    }
    if program.text.contains(char::is_whitespace) {
        let message = "Kubernetes takes the whole item for the name of a program and the container fails to start; \
                       write one word an item, or [\"sh\", \"-c\", \"...\"]";
        findings.warn(Code::CommandInOneItem, program.at.line, &program.path, message);
        let mut words = split(&program, variables);
        words.extend(all.into_iter().skip(1));
        return after_launcher(&words).unwrap_or_else(|| {
            not_understood(&program, findings);
            args
        });
    }
    after_launcher(&all).unwrap_or_else(|| {
        not_understood(&program, findings);
        args
    })
}

fn not_understood(program: &Word, findings: &mut Findings) {
    let message = format!("not simulated: {}, since it does not start \"vllm serve\"", quoted(&program.text));
    findings.warn(Code::NotSimulated, program.at.line, &program.path, message);
}

fn words_of(worker: &Node, list: &str, variables: &BTreeMap<String, String>) -> Vec<Word> {
    let items = worker.get(list).map(Node::items).unwrap_or_default().iter().enumerate();
    items
        .map(|(index, item)| {
            // A number without quotes has been reported, and is still the value of the flag before it.
            let text = expanded(item.text().unwrap_or(item.raw()), "$(", ")", variables);
            Word { text, at: item.at, path: format!("spec.worker.{list}[{index}]") }
        })
        .collect()
}

/// The script of `sh -c SCRIPT`.
fn shell_script(words: &[Word]) -> Option<&Word> {
    let program = words.first()?.text.rsplit('/').next()?;
    if !SHELLS.contains(&program) {
        return None;
    }
    let option = words.iter().position(|word| {
        word.text.strip_prefix('-').is_some_and(|letters| !letters.starts_with('-') && letters.contains('c'))
    })?;
    words.get(option + 1)
}

/// What follows `vllm serve`, or `-m vllm.entrypoints.openai.api_server`.
fn after_launcher(words: &[Word]) -> Option<Vec<Word>> {
    let start = words.iter().enumerate().position(|(index, word)| {
        let serve = word.text == "serve"
            && index
                .checked_sub(1)
                .and_then(|before| words.get(before))
                .is_some_and(|program| program.text == "vllm" || program.text.ends_with("/vllm"));
        serve || word.text.ends_with("api_server") || word.text.ends_with("api_server.py")
    })?;
    Some(words[start + 1..].to_vec())
}

/// Splits a script as a shell does, as far as starting one program needs: quotes, backslashes, variables, and the end
/// of the command that holds `vllm serve`.
fn split(script: &Word, variables: &BTreeMap<String, String>) -> Vec<Word> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut current: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = script.text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None | Some('"'), '\\') => match chars.next() {
                Some('\n') | None => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ';' | '&' | '|' | '\n' | '<' | '>') => {
                // The digits of "2>log" name a stream, not an argument.
                let stream = matches!(c, '<' | '>');
                current.extend(word.take().filter(|word| !stream || word.parse::<u8>().is_err()));
                commands.push(std::mem::take(&mut current));
            }
            (None, c) if c.is_whitespace() => current.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    current.extend(word);
    commands.push(current);
    let located = |text: String| {
        let text = expanded(&expanded(&text, "${", "}", variables), "$", "", variables);
        Word { text, at: script.at, path: script.path.clone() }
    };
    let mut commands = commands.into_iter().map(|words| words.into_iter().map(located).collect::<Vec<_>>());
    commands.find(|words| after_launcher(words).is_some()).unwrap_or_default()
}

/// `text` with every `open NAME close` that is a known variable replaced. Unknown ones stay, as Kubernetes leaves them.
fn expanded(text: &str, open: &str, close: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        let (before, after) = rest.split_at(start);
        result.push_str(before);
        let name_and_more = &after[open.len()..];
        let length =
            name_and_more.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name_and_more.len());
        let (name, more) = name_and_more.split_at(length);
        match (variables.get(name), more.strip_prefix(close)) {
            (Some(value), Some(more)) => {
                result.push_str(value);
                rest = more;
            }
            _ => {
                result.push_str(open);
                rest = name_and_more;
            }
        }
    }
    result + rest
}
