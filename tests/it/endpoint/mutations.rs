//! No input panics, and a refusal always says why: the samples with lines and bytes deleted, doubled and altered.

use driver::endpoint::Endpoint;
use proptest::prelude::*;

use super::{BASE, BLOG, SAMPLE};

#[derive(Clone, Debug)]
enum Mutation {
    DropLine(usize),
    DoubleLine(usize),
    SwapLines(usize, usize),
    IndentLine(usize, usize),
    DropByte(usize),
    PutByte(usize, u8),
    PutText(usize, &'static str),
    CutAt(usize),
}

/// Pieces that mean something to YAML, to Kubernetes or to the command line.
const PIECES: &[&str] = &[
    "\"",
    "'",
    ": ",
    "- ",
    "\n---\n",
    "&a ",
    "*a",
    "<<: *a\n",
    "{",
    "]",
    "|\n",
    "!!int ",
    "!x ",
    "null",
    ".nan",
    "-1",
    "1e99",
    "99999999999999999999999999",
    "$(",
    "${A}",
    "\\",
    "=",
    "--",
    "\t",
    "\u{feff}",
    "한국어",
    "\r\n",
    "\u{0}",
    "#",
    "?",
    "yes",
    " 9Ei",
];

/// What may stand on a command line.
const WORD: &str = "(--?[a-z-]{0,12}|--block-size|--model|sh|-c|vllm|serve)[ =]?[-0-9a-zA-Z.$(){}'\"\\\\;>]{0,6}";

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = 0_usize..4_000;
    prop_oneof![
        at.clone().prop_map(Mutation::DropLine),
        at.clone().prop_map(Mutation::DoubleLine),
        (at.clone(), at.clone()).prop_map(|(a, b)| Mutation::SwapLines(a, b)),
        (at.clone(), 0_usize..8).prop_map(|(line, by)| Mutation::IndentLine(line, by)),
        at.clone().prop_map(Mutation::DropByte),
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Mutation::PutByte(at, byte)),
        (at.clone(), 0..PIECES.len()).prop_map(|(at, piece)| Mutation::PutText(at, PIECES[piece])),
        at.prop_map(Mutation::CutAt),
    ]
}

fn mutated(text: &str, mutation: &Mutation) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut bytes = text.as_bytes().to_vec();
    if lines.is_empty() {
        return String::new();
    }
    let (line_count, byte_count) = (lines.len(), bytes.len());
    match *mutation {
        Mutation::DropLine(line) => drop(lines.remove(line % line_count)),
        Mutation::DoubleLine(line) => lines.insert(line % line_count, lines[line % line_count].clone()),
        Mutation::SwapLines(a, b) => lines.swap(a % line_count, b % line_count),
        Mutation::IndentLine(line, by) => {
            let old = &lines[line % line_count];
            lines[line % line_count] = format!("{}{}", " ".repeat(by), old.trim_start());
        }
        Mutation::DropByte(at) => {
            bytes.remove(at % byte_count);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        Mutation::PutByte(at, byte) => {
            bytes[at % byte_count] = byte;
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        Mutation::PutText(at, piece) => {
            bytes.splice(at % byte_count..at % byte_count, piece.bytes());
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        Mutation::CutAt(at) => {
            bytes.truncate(at % byte_count);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutation_panics(
        sample in prop_oneof![Just(SAMPLE), Just(BLOG), Just(BASE)],
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let text = mutations.iter().fold(sample.to_owned(), |text, mutation| mutated(&text, mutation));
        match Endpoint::parse(&text, "e.yaml") {
            Ok((endpoint, warnings)) => {
                prop_assert!(endpoint.replicas > 0 && !endpoint.name.is_empty());
                prop_assert!(warnings.iter().all(|warning| !warning.message.contains('\n')));
            }
            Err(error) => {
                prop_assert!(!error.problems().is_empty());
                let lines = error.to_string().split('\n').count();
                prop_assert_eq!(lines, error.problems().len(), "one line each: {}", error);
            }
        }
    }

    #[test]
    fn no_command_line_panics(words in prop::collection::vec(WORD, 0..8)) {
        let list: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        for field in ["args", "command"] {
            let text = BASE.replace("args: [--model, /opt/ml/model]", &format!("{field}: [{}]", list.join(", ")));
            let _ = Endpoint::parse(&text, "e.yaml");
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Endpoint::parse(&text, "e.yaml");
    }
}
