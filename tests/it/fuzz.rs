//! What people write and podlab reads, as it should not be: lab files, settings, promises, searches, endpoint files.
//!
//! Inputs are those of `tests/corpus`, mutated; first they are tried as they are. Nothing panics or hangs, and who is refused
//! is told where and what would be right. `PODLAB_FUZZ` is how many inputs each reader gets.

use crate::router::Chance;
use crate::support::project;
use driver::endpoint::Endpoint;
use driver::experiment::find::Goal;
use driver::experiment::slo::Slo;
use driver::lab::{Axis, Lab, Origin, file};
use std::collections::BTreeMap;

/// Inputs of each reader where nobody says.
const INPUTS: u64 = 20_000;

fn inputs() -> u64 {
    let named = std::env::var("PODLAB_FUZZ").ok();
    named.map_or(INPUTS, |count| count.parse().expect("PODLAB_FUZZ is a number of inputs"))
}

/// Files below `tests/corpus/folder`; of lists each line is one.
fn corpus(folder: &str, lines: bool) -> Vec<String> {
    let folder = project("tests/corpus").join(folder);
    let entries = std::fs::read_dir(&folder).expect("the corpus is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.sort();
    let texts = files.iter().map(|path| std::fs::read_to_string(path).expect("it is text"));
    if lines {
        return texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    }
    texts.collect()
}

/// Pieces that mean something to YAML, to units, to numbers, or to nobody.
const PIECES: [&str; 64] = [
    "",
    " ",
    "\n",
    "\t",
    "\r\n",
    "\0",
    "\u{feff}",
    "한국어",
    "\u{1f600}",
    "e\u{301}",
    ":",
    ": ",
    "- ",
    ",",
    "[",
    "]",
    "{",
    "}",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "? ",
    "! ",
    "!!int ",
    "!!binary ",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "\\",
    "\\x",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "null",
    "~",
    "yes",
    "0",
    "-0",
    "1",
    "-1",
    "+1",
    ".5",
    "5.",
    "1e400",
    "1e-400",
    "1e3",
    "0x1f",
    "0o7",
    "1_000",
    ".nan",
    ".inf",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "GiB",
    "ms",
    "µs",
    "k",
    "=",
    "..",
    "<",
    "_",
    "$(",
];

/// One to three mutations of one of the corpus.
fn mutated(corpus: &[String], chance: &mut Chance) -> String {
    let mut bytes = corpus[chance.pick(corpus.len())].clone().into_bytes();
    for _ in 0..1 + chance.below(3) {
        let from = chance.pick(bytes.len() + 1);
        let length = (chance.below(12) as usize).min(bytes.len() - from);
        let piece = PIECES[chance.pick(PIECES.len())];
        match chance.below(8) {
            0 => drop(bytes.splice(from..from + length, piece.bytes())),
            1 | 2 => drop(bytes.splice(from..from, piece.bytes())),
            3 => drop(bytes.splice(from..from + length, [])),
            4 => {
                // Some of it again, elsewhere.
                let again = bytes[from..from + length].to_vec();
                let to = chance.pick(bytes.len() + 1);
                bytes.splice(to..to, again);
            }
            5 => {
                let other = corpus[chance.pick(corpus.len())].as_bytes();
                let begin = chance.pick(other.len() + 1);
                let end = (begin + chance.below(60) as usize).min(other.len());
                bytes.splice(from..from, other[begin..end].iter().copied());
            }
            6 if !bytes.is_empty() => {
                let at = chance.pick(bytes.len());
                bytes[at] = chance.below(256) as u8;
            }
            _ => {
                let many = if chance.below(50) == 0 { 2000 } else { 1 + chance.below(20) as usize };
                bytes.splice(from..from, piece.repeat(many).bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the corpus and what becomes of it, with the stack that a program's main thread has: how many are read, and how many
/// are refused.
fn fuzz(folder: &str, lines: bool, seed: u64, mut read: impl FnMut(&str) -> bool + Send) {
    const STACK: usize = 8 << 20;
    let all = inputs();
    let body = || {
        let corpus = corpus(folder, lines);
        let (mut chance, mut taken) = (Chance::new(seed), 0);
        for text in &corpus {
            read(text);
        }
        for _ in 0..all {
            taken += u64::from(read(&mutated(&corpus, &mut chance)));
        }
        taken
    };
    let taken = std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, body).expect("a thread can be made");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    println!("{folder}: {all} inputs, {taken} read, {} refused", all - taken);
    assert!(taken > all / 100 && taken < all, "{folder}: {taken} of {all} are read: both ways are tried");
}

/// Whether a refusal tells what would be right.
fn has_remedy(problem: &str) -> bool {
    const WORDS: [&str; 16] = [
        "it takes",
        "did you mean",
        "lists all",
        "keep one of them",
        "keep one",
        "such as",
        "allowed",
        "not valid YAML",
        "one map of settings",
        "there is ",
        "write <",
        "neither a value nor a list",
        "bounded twice",
        "must be below",
        "begin above 0",
        "neither smallest: nor",
    ];
    const MORE: [&str; 4] = ["lies outside", "list its values instead", "needs a unit", "use "];
    WORDS.iter().chain(&MORE).any(|word| problem.contains(word))
}

#[test]
fn lab_files() {
    fuzz("lab", false, 21, |text| match file::parse(text, "podlab.yaml") {
        Ok(axes) => {
            for axis in axes {
                for value in &axis.values {
                    assert_eq!(Lab::default().set(&axis.key, value), Ok(()), "{text:?}: {}={value}", axis.key);
                }
            }
            true
        }
        Err(problems) => {
            for line in problems.split('\n') {
                let place = line.strip_prefix("podlab.yaml:").unwrap_or_else(|| panic!("{text:?}: {line}"));
                let mut numbers = place.split(':');
                let mut number =
                    || numbers.next().and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number > 0);
                assert!(number() && number(), "{text:?} has a place: {line}");
                assert!(has_remedy(line) || line.contains("given twice in the same object"), "{text:?}: {line}");
            }
            false
        }
    });
}

#[test]
fn settings() {
    fuzz("set", true, 22, |text| match Axis::parse(text, Origin::Flag) {
        Ok(axis) => {
            assert!(!axis.values.is_empty(), "{text:?}");
            true
        }
        Err(problem) => {
            assert!(has_remedy(&problem), "{text:?}: {problem}");
            false
        }
    });
}

#[test]
fn promises() {
    fuzz("slo", true, 23, |text| match Slo::parse(text) {
        Ok(slo) => {
            assert_eq!(Slo::parse(&slo.to_string()), Ok(slo), "{text:?}");
            true
        }
        Err(problem) => {
            assert!(has_remedy(&problem), "{text:?}: {problem}");
            false
        }
    });
}

#[test]
fn searches() {
    fuzz("find", true, 24, |text| match Goal::parse(text) {
        Ok(goal) => {
            assert!(goal.low < goal.high && goal.low.is_finite() && goal.high.is_finite(), "{text:?}: {goal:?}");
            true
        }
        Err(problem) => {
            assert!(has_remedy(&problem), "{text:?}: {problem}");
            false
        }
    });
}

#[test]
fn endpoint_files() {
    let mut seen = BTreeMap::<&str, u64>::new();
    fuzz("endpoint", false, 25, |text| match Endpoint::parse(text, "e.yaml") {
        Ok((endpoint, warnings)) => {
            assert!(endpoint.replicas > 0 && !endpoint.name.is_empty(), "{text:?}");
            assert!(warnings.iter().all(|warning| !warning.message.contains('\n') && warning.line > 0), "{text:?}");
            true
        }
        Err(error) => {
            let problems = error.problems();
            assert!(!problems.is_empty(), "{text:?}");
            assert_eq!(error.to_string().split('\n').count(), problems.len(), "one line each: {error}");
            for problem in problems {
                assert!(problem.place.is_some() && problem.message.len() > 5, "{text:?}: {problem:?}");
                *seen.entry(if problem.path.is_empty() { "file" } else { "field" }).or_default() += 1;
            }
            false
        }
    });
    assert!(seen.len() == 2, "{seen:?}");
}
