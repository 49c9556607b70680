//! Runs side by side: what differs in how they were made, then in every figure, with how sure that is.
//!
//! The first source is what the others are held against. Where it has several runs, each is compared with the one run of the
//! other source that is the same case ([`matching`]).

use crate::failure::Failure;
use crate::told::{Kind, Request, Told};
use serde::{Deserialize, Serialize};

pub mod metric; // the figures
pub mod tolerance; // how far they may be apart
pub mod matching; // which run with which
pub mod configuration; // what differs before any figure does
pub mod bootstrap; // how sure a difference is, of requests
pub mod figures; // each figure of both, and its verdict
pub mod attribution; // which part of a latency a gap lies in
pub mod text; // for people
pub mod table; // ... as tables
pub mod curves; // what a page draws of both

pub use attribution::Gap;
use attribution::{ServerMeans, Side};
pub use configuration::Differing;
pub use curves::Curves;
pub use figures::{Compared, Judge, Verdict};
pub use metric::Unit;
pub use tolerance::Tolerance;

/// Runs that one argument names.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it was given.
    pub path: String,
    /// Its runs.
    pub runs: Vec<Told>,
}

/// All that one command compares. This is `comparison.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The version that compared.
    pub podlab: String,
    /// The command line.
    pub command: Vec<String>,
    /// What is compared, the first with each of the others.
    pub sources: Vec<Named>,
    /// How it is judged.
    pub judge: Judge,
    /// Whether every figure that is judged passes.
    pub pass: bool,
    /// One for each case of each source but the first.
    pub pairs: Vec<Pair>,
    /// Runs that are compared with nothing, in words.
    pub unmatched: Vec<String>,
}

/// A source under its letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// A, B, ...
    pub letter: String,
    /// As it was given.
    pub path: String,
    /// What made its times.
    pub kind: Kind,
    /// How many runs it has.
    pub runs: usize,
}

/// A case in two sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The letter of the second.
    pub with: String,
    /// What tells the case from the others; empty where there is one.
    pub case: String,
    /// What both runs are called within their sources.
    pub names: [String; 2],
    /// How the intervals came about.
    pub by: By,
    /// What differs in how they were made.
    pub configuration: Vec<Differing>,
    /// The figures.
    pub figures: Vec<Compared>,
    /// Where gaps of latencies lie; empty where requests do not tell.
    pub explained: Vec<Gap>,
    /// Distributions of both, for a page; not in what is printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curves: Option<[Curves; 2]>,
}

/// How intervals come about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum By {
    /// Over seeds: by Student's distribution of the differences.
    Seeds {
        /// How many.
        seeds: usize,
    },
    /// Both sent the same requests, which are drawn again for both at once.
    Paired {
        /// How many.
        requests: usize,
    },
    /// They sent others, which are drawn again for each by itself.
    Unpaired {
        /// How many each sent.
        requests: [usize; 2],
        /// Why they are no pairs.
        because: String,
    },
    /// Not at all: requests were not kept.
    None,
}

/// Compares the first source with each of the others; with `curves`, what a page draws is kept, too.
///
/// # Errors
/// [`Failure::Invalid`] where runs cannot be matched.
pub fn compare(sources: &[Source], judge: Judge, curves: bool) -> Result<Comparison, Failure> {
    let named: Vec<Named> = sources.iter().enumerate().map(|(place, source)| named(place, source)).collect();
    let Some((first, others)) = sources.split_first() else {
        return Err(Failure::Usage("name at least two runs to compare".to_owned()));
    };
    let (mut pairs, mut unmatched) = (Vec::new(), Vec::new());
    for (place, other) in others.iter().enumerate() {
        let letters = [&named[0].letter, &named[place + 1].letter];
        let matches = matching::matched([&first.path, &other.path], &first.runs, &other.runs)?;
        pairs.extend(matches.matched.iter().map(|matched| pair(letters[1], matched, &judge, curves)));
        for (letter, only) in letters.iter().zip([&matches.only_first, &matches.only_second]) {
            if !only.is_empty() {
                unmatched.push(format!("only in {letter}, so not compared: {}", matching::listed(only)));
            }
        }
    }
    for (named, source) in named.iter().zip(sources) {
        unmatched.extend(source.runs.iter().filter_map(|run| doubt(&named.letter, run)));
    }
    unmatched.dedup();
    let pass = pairs.iter().flat_map(|pair| &pair.figures).all(|figure| figure.pass != Some(false));
    let command = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    Ok(Comparison {
        podlab: env!("CARGO_PKG_VERSION").to_owned(),
        command,
        sources: named,
        judge,
        pass,
        pairs,
        unmatched,
    })
}

/// Why a run's figures are not what they seem to be.
fn doubt(letter: &str, run: &Told) -> Option<String> {
    let client = &run.figures["client"];
    let name = if run.name.is_empty() { letter.to_owned() } else { format!("{letter}, {}", run.name) };
    if let Some(why) = run.figures["stopped"].as_str() {
        return Some(format!("{name} did not run to its end: {why}"));
    }
    (client["verdict"] == "client_limited").then(|| {
        let why: Vec<&str> = client["why"].as_array().into_iter().flatten().filter_map(|why| why.as_str()).collect();
        format!("{name} was limited by its client, whose lateness is in its latencies: {}", why.join("; "))
    })
}

fn named(place: usize, source: &Source) -> Named {
    let kind = source.runs.first().map_or(Kind::Measured, |run| run.kind);
    let letter = char::from(b'A' + u8::try_from(place).unwrap_or(u8::MAX).min(25)).to_string();
    Named { letter, path: source.path.clone(), kind, runs: source.runs.len() }
}

fn pair(with: &str, matched: &matching::Matched<'_>, judge: &Judge, curves: bool) -> Pair {
    let (a, b) = matched.pairs[0];
    let several = matched.pairs.len() > 1;
    // The seeds of a list are no difference.
    let left_out: &[&str] = if several { &["seed"] } else { &[] };
    let (figures, by) = figures::compared(&matched.pairs, judge);
    let ours: Vec<&Request> = matched.pairs.iter().flat_map(|(a, _)| a.measured()).collect();
    let theirs: Vec<&Request> = matched.pairs.iter().flat_map(|(_, b)| b.measured()).collect();
    Pair {
        with: with.to_owned(),
        case: matched.case.clone(),
        names: [a.name.clone(), b.name.clone()],
        by,
        configuration: configuration::differences(a, b, left_out),
        figures,
        explained: attribution::gaps(
            Side { requests: &ours, server: ServerMeans::of(matched.pairs.iter().map(|(a, _)| *a)) },
            Side { requests: &theirs, server: ServerMeans::of(matched.pairs.iter().map(|(_, b)| *b)) },
        ),
        curves: curves.then(|| [Curves::of(&ours), Curves::of(&theirs)]),
    }
}

impl Comparison {
    /// The figures that do not pass, each with its pair.
    pub fn failing(&self) -> impl Iterator<Item = (&Pair, &Compared)> {
        let failing = |pair: &'_ Pair| -> Vec<usize> {
            (0..pair.figures.len()).filter(|place| pair.figures[*place].pass == Some(false)).collect()
        };
        self.pairs.iter().flat_map(move |pair| failing(pair).into_iter().map(move |place| (pair, &pair.figures[place])))
    }

    /// By which the command ends.
    ///
    /// # Errors
    /// [`Failure::NotMet`], naming what does not pass.
    pub fn verdict(&self) -> Result<(), Failure> {
        let names: Vec<String> = self.failing().map(|(pair, figure)| text::failing(self, pair, figure)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let judged = self.pairs.iter().flat_map(|pair| &pair.figures).filter(|figure| figure.pass.is_some()).count();
        let how = if self.judge.agree { "lie outside" } else { "regress beyond" };
        let what = if names.len() == 1 {
            how.replacen("lie", "lies", 1).replacen("regress ", "regresses ", 1)
        } else {
            how.to_owned()
        };
        Err(Failure::NotMet(format!(
            "{} of {judged} figures {what} the tolerance of {}: {}",
            names.len(),
            self.judge.tolerance,
            matching::listed(&names)
        )))
    }
}
