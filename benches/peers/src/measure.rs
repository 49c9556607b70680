use crate::contender::BLOCK;
use crate::race::{EVENTS_PER_DECISION, Op, Runner, runners};
use crate::report::Samples;
use crate::stream::Stream;
use crate::workload::{Batch, Workload};
use fastrand::Rng;
use std::fmt;
use std::time::Duration;

/// Decisions between the events of a round.
const DECISIONS: usize = 50;

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Workers.
    pub workers: u16,
    /// Tokens of a sequence.
    pub length: usize,
    /// Rounds; each gives one figure for each contender and operation.
    pub rounds: usize,
    /// What everything random is drawn from.
    pub seed: u64,
}

/// What one setting gave.
#[derive(Debug)]
pub struct Cell {
    /// As measured.
    pub setting: Setting,
    /// What was timed.
    pub operations: Vec<&'static str>,
    /// What it gave, for each contender.
    pub rows: Vec<Row>,
}

/// The figures of one contender.
#[derive(Debug)]
pub struct Row {
    /// Whose.
    pub name: &'static str,
    /// For each operation; nothing where it was not timed.
    pub figures: Vec<Option<Samples>>,
}

impl Cell {
    fn new(
        setting: Setting,
        operations: &[&'static str],
        lanes: &[Box<dyn Runner>],
        took: impl IntoIterator<Item: IntoIterator<Item = Vec<f64>>>,
    ) -> Self {
        let rows = lanes.iter().zip(took).map(|(lane, took)| {
            let figures = took.into_iter().map(Samples::new).collect();
            Row { name: lane.name(), figures }
        });
        Self { setting, operations: operations.to_vec(), rows: rows.collect() }
    }
}

/// Two indexes gave different answers: nothing they took can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    what: &'static str,
    names: [&'static str; 2],
    at: usize,
    answers: [u32; 2],
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, names: [one, other], at, answers: [first, second] } = self;
        write!(f, "{what} {at}: {one} answers {first}, {other} {second}")
    }
}

impl std::error::Error for Disagreement {}

/// Times all operations of all contenders in one interleaved run; in microseconds.
///
/// # Errors
/// Where their answers differ.
pub fn measure(setting: Setting) -> Result<Cell, Disagreement> {
    let mut workload = Workload::new(setting.workers, setting.length, setting.seed);
    let mut lanes = filled(setting.workers, &workload);
    let mut orders = Orders::new(lanes.len(), setting.seed);
    let mut took = vec![[const { Vec::new() }; Op::ALL.len()]; lanes.len()];
    // The first round only warms up.
    for round in 0..=setting.rounds {
        let batch = workload.batch();
        for (op_at, op) in Op::ALL.into_iter().enumerate() {
            for &lane in orders.next() {
                let time = lanes[lane].time(op, &batch);
                if round > 0 && (op != Op::Insert || lanes[lane].is_inline()) {
                    took[lane][op_at].push(micros(time) / batch.prompts.len() as f64);
                }
            }
        }
        compare_choices(&lanes)?;
        compare_inserts(&mut lanes, &batch)?;
    }
    Ok(Cell::new(setting, &Op::ALL.map(Op::name), &lanes, took))
}

/// Tells events, with decisions between them. Gives events in a second, decisions included; and the time of an event
/// alone and of a decision alone, in microseconds.
///
/// # Errors
/// Where answers differ.
pub fn measure_events(setting: Setting) -> Result<Cell, Disagreement> {
    let mut workload = Workload::new(setting.workers, setting.length, setting.seed);
    let mut lanes = filled(setting.workers, &workload);
    lanes.retain(|lane| lane.is_inline());
    let mut orders = Orders::new(lanes.len(), setting.seed);
    let mut stream = Stream::new(setting.workers, setting.seed);
    let warm_up = stream.part(&mut workload, stream.warm_up());
    let batch = workload.batch();
    for lane in &mut lanes {
        lane.play(&warm_up, &batch);
    }
    let events = DECISIONS * EVENTS_PER_DECISION;
    let mut took = vec![[const { Vec::new() }; 3]; lanes.len()];
    for _ in 0..setting.rounds {
        let part = stream.part(&mut workload, events);
        let batch = workload.batch();
        for &lane in orders.next() {
            let played = lanes[lane].play(&part, &batch);
            let [rate, event, decision] = &mut took[lane];
            rate.push(events as f64 / played.all.as_secs_f64());
            event.push(micros(played.all - played.decisions) / events as f64);
            decision.push(micros(played.decisions) / DECISIONS as f64);
        }
        compare_choices(&lanes)?;
        let prompts = [stream.prompts(8), batch.prompts].concat();
        compare_overlaps(&mut lanes, &prompts, "overlap while events are told")?;
    }
    Ok(Cell::new(setting, &["events/s", "event", "decision"], &lanes, took))
}

fn filled(workers: u16, workload: &Workload) -> Vec<Box<dyn Runner>> {
    let mut lanes = runners(workers);
    for lane in &mut lanes {
        for (worker, tokens) in workload.held() {
            lane.fill(worker, tokens);
        }
    }
    lanes
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn compare_choices(lanes: &[Box<dyn Runner>]) -> Result<(), Disagreement> {
    let answers = lanes.iter().map(|lane| lane.choices().iter().copied().map(u32::from).collect());
    compare("choice", lanes, answers.collect())
}

fn compare_overlaps(
    lanes: &mut [Box<dyn Runner>],
    prompts: &[Vec<u32>],
    what: &'static str,
) -> Result<(), Disagreement> {
    let answers = lanes.iter_mut().map(|lane| lane.overlaps(prompts)).collect();
    compare(what, lanes, answers)
}

/// Compares with the inserts, takes them out, and compares again.
fn compare_inserts(lanes: &mut [Box<dyn Runner>], batch: &Batch) -> Result<(), Disagreement> {
    let inserted: Vec<Vec<u32>> = batch.inserts.iter().map(|(_, tokens)| tokens.clone()).collect();
    compare_overlaps(lanes, &inserted, "overlap with what was inserted")?;
    for lane in lanes.iter_mut() {
        lane.undo(batch);
    }
    compare_overlaps(lanes, &inserted, "overlap without what was inserted")?;
    compare_overlaps(lanes, &batch.prompts, "overlap")?;
    compare_overlaps(lanes, &batch.others, "overlap")
}

fn compare(what: &'static str, lanes: &[Box<dyn Runner>], answers: Vec<Vec<u32>>) -> Result<(), Disagreement> {
    for (lane, answer) in lanes.iter().zip(&answers) {
        assert_eq!(answer.len(), answers[0].len(), "all are asked the same");
        if let Some(at) = answer.iter().zip(&answers[0]).position(|(one, other)| one != other) {
            let names = [lanes[0].name(), lane.name()];
            return Err(Disagreement { what, names, at, answers: [answers[0][at], answer[at]] });
        }
    }
    Ok(())
}

/// In which order contenders take their turns: another one each time, so that none always runs after the same.
struct Orders {
    order: Vec<usize>,
    rng: Rng,
}

impl Orders {
    fn new(lanes: usize, seed: u64) -> Self {
        Self { order: (0..lanes).collect(), rng: Rng::with_seed(seed) }
    }

    fn next(&mut self) -> &[usize] {
        self.rng.shuffle(&mut self.order);
        &self.order
    }
}

impl Setting {
    /// As a table calls it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} workers, {} tokens ({} blocks)", self.workers, self.length, self.length / BLOCK)
    }
}
