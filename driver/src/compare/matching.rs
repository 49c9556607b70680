//! Which run is compared with which: by what the runs of one source differ in.

use crate::failure::Failure;
use crate::told::Told;

/// Runs of two sources that are the same case but for what the sources differ in.
#[derive(Clone, Debug)]
pub struct Matched<'a> {
    /// What tells it from the other cases; empty where there is one.
    pub case: String,
    /// Runs of both, one pair for each seed.
    pub pairs: Vec<(&'a Told, &'a Told)>,
}

/// The pairs, and the runs that nothing is compared with.
#[derive(Clone, Debug)]
pub struct Matches<'a> {
    /// In the order of the first source.
    pub matched: Vec<Matched<'a>>,
    /// What is only in the first, in words.
    pub only_first: Vec<String>,
    /// What is only in the second.
    pub only_second: Vec<String>,
}

/// Seeds from which on differences are worked out over them.
const ENOUGH: usize = 3;

/// Matches the runs of two sources, whose names are told where that fails.
///
/// # Errors
/// [`Failure::Invalid`] where a source holds the same case twice, or no case is in both; with a remedy.
pub fn matched<'a>(names: [&str; 2], first: &'a [Told], second: &'a [Told]) -> Result<Matches<'a>, Failure> {
    if let ([one], [other]) = (first, second) {
        let pairs = vec![(one, other)];
        let matched = vec![Matched { case: String::new(), pairs }];
        return Ok(Matches { matched, only_first: Vec::new(), only_second: Vec::new() });
    }
    let axes = axes(first, second);
    for (name, runs) in names.iter().zip([first, second]) {
        if let Some((one, other)) = twice(runs, &axes) {
            return Err(Failure::Invalid(format!(
                "{name}: {} and {} are one case, so it is not clear which is meant; name the folder of one of them",
                one.name, other.name
            )));
        }
    }
    let twin = |run: &Told| second.iter().find(|other| key(run, &axes) == key(other, &axes));
    let pairs: Vec<(&Told, &Told)> = first.iter().filter_map(|run| Some((run, twin(run)?))).collect();
    let in_words = |run: &&Told| words(run, &axes, &[]);
    let without = |runs: &'a [Told], others: &[Told]| -> Vec<String> {
        let alone = |run: &&Told| !others.iter().any(|other| key(run, &axes) == key(other, &axes));
        runs.iter().filter(alone).map(|run| in_words(&run)).collect()
    };
    let (only_first, only_second) = (without(first, second), without(second, first));
    if pairs.is_empty() {
        return Err(Failure::Invalid(format!(
            "{} and {} have no case in common: one has {}, the other {}; name the folders of the runs that belong together",
            names[0],
            names[1],
            listed(&only_first),
            listed(&only_second),
        )));
    }
    Ok(Matches { matched: by_seeds(pairs, &axes), only_first, only_second })
}

/// Pairs that differ in nothing but their seed stand together, where there are enough to say something.
fn by_seeds<'a>(pairs: Vec<(&'a Told, &'a Told)>, axes: &[String]) -> Vec<Matched<'a>> {
    let without_seed: Vec<String> = axes.iter().filter(|axis| *axis != "seed").cloned().collect();
    let mut groups: Vec<Vec<(&Told, &Told)>> = Vec::new();
    for pair in pairs {
        match groups.iter_mut().find(|group| key(group[0].0, &without_seed) == key(pair.0, &without_seed)) {
            Some(group) => group.push(pair),
            None => groups.push(vec![pair]),
        }
    }
    let mut matched = Vec::new();
    for group in groups {
        if group.len() >= ENOUGH {
            matched.push(Matched { case: words(group[0].0, axes, &["seed"]), pairs: group });
        } else {
            matched.extend(group.into_iter().map(|pair| Matched { case: words(pair.0, axes, &[]), pairs: vec![pair] }));
        }
    }
    matched
}

/// What the runs of either source differ in.
fn axes(first: &[Told], second: &[Told]) -> Vec<String> {
    let mut axes: Vec<String> = Vec::new();
    for runs in [first, second] {
        for setting in runs.iter().flat_map(|run| &run.case) {
            let varies = runs.iter().any(|run| run.was(&setting.name) != Some(&setting.value));
            if varies && !axes.contains(&setting.name) {
                axes.push(setting.name.clone());
            }
        }
    }
    axes
}

fn key<'a>(run: &'a Told, axes: &[String]) -> Vec<Option<&'a str>> {
    axes.iter().map(|axis| run.was(axis)).collect()
}

fn twice<'a>(runs: &'a [Told], axes: &[String]) -> Option<(&'a Told, &'a Told)> {
    runs.iter().enumerate().find_map(|(place, run)| {
        runs[..place].iter().find(|other| key(other, axes) == key(run, axes)).map(|other| (other, run))
    })
}

/// What a run is among those of its source.
fn words(run: &Told, axes: &[String], left_out: &[&str]) -> String {
    let told = axes.iter().filter(|axis| !left_out.contains(&axis.as_str()));
    told.map(|axis| format!("{axis} {}", run.was(axis).unwrap_or("-"))).collect::<Vec<_>>().join(", ")
}

/// The first of many, and how many more there are.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let more = if names.len() > SHOWN { format!("; and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", names[..names.len().min(SHOWN)].join("; "))
}
