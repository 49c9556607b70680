//! Caches that drop what was used least recently: Che's approximation, stack distances, and what must be missed.
//!
//! Prompts are one block long, and one request is served at a time. A device of n + 1 blocks keeps n of them: a prompt's last
//! token, which is always computed, needs one. Where L1 is looked at, the device keeps the latest prompt only, which is the last
//! that L1 would drop: together they hit what L1 alone would.

use super::input::{Independent, one_by_one};
use super::law::{Bench, Law, Seen, Subject, by_chance, exact};
use super::links::{BLOCK, host_link, tiers};
use super::stage::Stage;
use kvcache::{StoreMode, Tokens};
use router::Strategy;
use sim::ledger::Record;
use sim::theory::cache;
use std::collections::BTreeMap;

/// Of a prompt, its question and its reply.
pub(super) const LONGEST: Tokens = Tokens(2 * BLOCK.0);

/// Workers whose devices keep so many prompts each.
fn devices(bench: &Bench, workers: u16, prompts: u32) -> Stage {
    Stage::caches(workers, bench.capacity(prompts) + 1, BLOCK, LONGEST)
}

/// Workers whose hosts keep so many, and whose devices keep the latest.
fn hosts(bench: &Bench, workers: u16, prompts: u32) -> Stage {
    let lower = kvcache::TierConfig { store: StoreMode::Blocking, ..tiers(Some(bench.capacity(prompts)), false) };
    Stage { tiers: Some((lower, host_link(1e12))), ..Stage::caches(workers, 2, BLOCK, LONGEST) }
}

pub(super) fn is_hit(record: &Record) -> bool {
    record.found().is_some_and(|found| found > Tokens::ZERO)
}

fn hit_rate(records: &[Record]) -> f64 {
    records.iter().filter(|record| is_hit(record)).count() as f64 / records.len() as f64
}

/// A cache of 100 of 2,000 objects by Zipf's law.
fn che(name: &'static str, skew: f64, stage: fn(&Bench, u16, u32) -> Stage) -> Law {
    const WARM_UP: u32 = 2_000;
    let shares = cache::zipf(2_000, skew);
    let expected = cache::lru(&shares, 100.0);
    Law::new([by_chance(name)], move |bench| {
        let mut objects = Independent::new(bench, &shares);
        let workload = one_by_one(WARM_UP + bench.requests(64_000), BLOCK, || objects.draw());
        let ledger = stage(bench, 1, 100).serve(bench, &workload);
        vec![Seen { expected, simulated: hit_rate(&ledger.records()[WARM_UP as usize..]) }]
    })
}

const WORKERS: u16 = 4;
const OF_EACH: u32 = 200;

/// Four caches of 200 of 2,000 objects. By turns each sees all of them, and is a cache of 200. By prefix each sees its own, and
/// together they are nearly one of 800. All are asked for once before anything is drawn, so that each has its worker.
fn spread() -> Law {
    const OBJECTS: u32 = 2_000;
    const WARM_UP: u32 = 10_000;
    let names = ["che.round_robin", "che.affinity", "che.affinity_as_one"];
    let shares = cache::zipf(OBJECTS, 0.8);
    let each = cache::lru(&shares, f64::from(OF_EACH));
    let as_one = cache::lru(&shares, f64::from(OF_EACH) * f64::from(WORKERS));
    Law::new(names.map(by_chance), move |bench| {
        let mut objects = Independent::new(bench, &shares);
        let mut asked = Vec::new();
        let workload = one_by_one(WARM_UP + bench.requests(32_000), BLOCK, || {
            let first = Some(asked.len() as u64).filter(|first| *first < u64::from(OBJECTS));
            asked.push(first.unwrap_or_else(|| objects.draw()));
            asked[asked.len() - 1]
        });
        let stage = devices(bench, WORKERS, OF_EACH);
        let serve = |strategy| stage.routed(strategy).serve(bench, &workload);
        let [by_turns, by_prefix] = [Strategy::RoundRobin, Strategy::PrefixAware].map(serve);
        let settled = |records: &[Record]| hit_rate(&records[WARM_UP as usize..]);
        let affine = settled(by_prefix.records());
        // Whoever was sent an object first has it ever after; which that is was drawn.
        let mut owners = BTreeMap::new();
        for (object, record) in asked.iter().zip(by_prefix.records()) {
            owners.entry(*object as usize).or_insert(record.worker);
        }
        let of_worker = |worker: u16| -> f64 {
            let own = owners.iter().filter(|(_, owner)| **owner == Some(kvcache::WorkerId(worker)));
            cache::lru(&own.map(|(object, _)| shares[*object]).collect::<Vec<_>>(), f64::from(OF_EACH))
        };
        vec![
            Seen { expected: each, simulated: settled(by_turns.records()) },
            Seen { expected: (0..WORKERS).map(of_worker).sum(), simulated: affine },
            Seen { expected: as_one, simulated: affine },
        ]
    })
}

/// Where all 40 objects fit, each is missed once by every worker that is asked for it, and never again.
fn compulsory() -> Law {
    const OBJECTS: u32 = 40;
    let subjects = vec![exact("compulsory.round_robin"), exact("compulsory.affinity")];
    let law = Law::new(subjects, |bench| {
        let mut objects = Independent::new(bench, &vec![1.0 / f64::from(OBJECTS); OBJECTS as usize]);
        let requests = bench.requests(64_000);
        let workload = one_by_one(requests, BLOCK, || objects.draw());
        let stage = devices(bench, WORKERS, OBJECTS);
        let simulated = |strategy| hit_rate(stage.routed(strategy).serve(bench, &workload).records());
        let missed = |times: u16| f64::from(OBJECTS * u32::from(times)) / f64::from(requests);
        vec![
            Seen { expected: 1.0 - missed(WORKERS), simulated: simulated(Strategy::RoundRobin) },
            Seen { expected: 1.0 - missed(1), simulated: simulated(Strategy::PrefixAware) },
        ]
    });
    law.times(2)
}

/// Each request of two workers, in caches of many sizes: whether it hits is told by its distance in its worker's stack, and a
/// larger cache has the hits of a smaller. The figures are of requests for which that is so.
fn mattson(names: &[&'static str], stage: fn(&Bench, u16, u32) -> Stage) -> Law {
    const SIZES: [u32; 6] = [20, 40, 60, 80, 120, 160];
    const PAIR: usize = 2;
    let subjects: Vec<Subject> = names.iter().copied().map(exact).collect();
    let asked_of = subjects.len();
    let law = Law::new(subjects, move |bench| {
        let mut objects = Independent::new(bench, &cache::zipf(400, 0.6));
        let mut asked = Vec::new();
        let workload = one_by_one(bench.requests(32_000), BLOCK, || {
            asked.push(objects.draw());
            asked[asked.len() - 1]
        });
        let mut distances = vec![None; asked.len()];
        for worker in 0..PAIR {
            let own = asked.iter().copied().skip(worker).step_by(PAIR);
            let places = (worker..).step_by(PAIR);
            places.zip(cache::stack_distances(own)).for_each(|(place, distance)| distances[place] = distance);
        }
        let (mut told, mut included) = (0, 0);
        let mut smaller = vec![false; asked.len()];
        for size in SIZES {
            let ledger = stage(bench, PAIR as u16, size).serve(bench, &workload);
            let hits: Vec<bool> = ledger.records().iter().map(is_hit).collect();
            let near = |distance: &Option<usize>| distance.is_some_and(|distance| distance < size as usize);
            told += hits.iter().zip(&distances).filter(|(hit, distance)| **hit == near(distance)).count();
            included += smaller.iter().zip(&hits).filter(|(small, large)| !**small || **large).count();
            smaller = hits;
        }
        let all = (asked.len() * SIZES.len()) as f64;
        let seen = [told, included].map(|count| Seen { expected: all, simulated: count as f64 });
        seen[..asked_of].to_vec()
    });
    law.times(2)
}

pub(super) fn laws() -> Vec<Law> {
    vec![
        che("che.l0.zipf_0.8", 0.8, devices),
        che("che.l0.zipf_1.0", 1.0, devices),
        che("che.l1.zipf_0.8", 0.8, hosts),
        spread(),
        compulsory(),
        mattson(&["mattson.l0.distances"], devices),
        mattson(&["mattson.l1.distances", "mattson.l1.inclusion"], hosts),
    ]
}
