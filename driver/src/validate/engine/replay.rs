//! The same requests through a simulated engine, and what it would have said of itself.

use super::recorded::{Recorded, Sample};
use kvcache::{RequestId, Span, Time, Tokens};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::{Cluster, Event};
use sim::cost::CostModel;
use sim::replica::{Output, Work};
use sim::simulate::{Path, simulate};
use sim::workload::{Pacing, Segment, Workload};
use std::collections::BTreeMap;

/// When what happened to a request, in seconds after the first arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Times {
    /// The engine saw it: it looks for arrivals where it plans a pass.
    pub(super) queued: f64,
    /// It was planned.
    pub(super) scheduled: f64,
    pub(super) first_token: f64,
    pub(super) last_token: f64,
}

/// A simulated run.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    /// In order of arrival.
    pub(super) requests: Vec<Times>,
    /// After each pass.
    pub(super) series: Vec<Sample>,
    pub(super) passes: u64,
    /// Of these, passes beyond what was measured, by what they have more of.
    pub(super) beyond: BTreeMap<&'static str, u64>,
    pub(super) preemptions: u64,
}

/// What the engine told of a pass.
struct Pass {
    began: f64,
    ended: f64,
    work: Work,
    /// Who lost their blocks when the pass behind it was planned, and who was admitted then.
    preempted: Vec<RequestId>,
    /// Who ended with it.
    finished: Vec<RequestId>,
}

/// Sends the recorded requests through an engine of the recorded settings whose passes `model` prices.
pub(super) fn replay(recorded: &Recorded, model: Box<dyn CostModel>) -> Result<Replay, String> {
    let began = recorded.requests[0].arrival;
    let mut workload = Workload::new(Pacing::Open);
    for (id, request) in recorded.requests.iter().enumerate() {
        let at = Time::ZERO + Span::from_secs_f64(request.arrival - began);
        workload.push(
            at,
            None,
            &[Segment { id: id as u64, tokens: Tokens(request.input_toks) }],
            Tokens(request.output_toks),
        );
    }
    let engine = recorded.engine.config;
    let router = Router::new(RouterConfig {
        block: engine.cache.block,
        chunk: engine.cache.block,
        ..RouterConfig::new(Strategy::RoundRobin, 1)
    });
    let mut cluster = Cluster::new(1, engine, router, model, None).map_err(|problem| problem.to_string())?;
    let path = Path { latency: Span::ZERO, api: Api::Completions, names_session: false };
    let mut passes: Vec<Pass> = Vec::new();
    let (mut preempted, mut preemptions) = (Vec::new(), 0);
    let ledger = simulate(&workload, &mut cluster, path, |event| match event {
        Event::Output { output: Output::Preempted { request }, .. } => {
            preemptions += 1;
            preempted.push(*request);
        }
        Event::Output { output: Output::Finished { request, .. }, .. } => {
            if let Some(pass) = passes.last_mut() {
                pass.finished.push(*request);
            }
        }
        Event::Ran { stretch, work, .. } => {
            passes.push(Pass {
                began: seconds(stretch.started),
                ended: seconds(stretch.ends()),
                work: work.as_deref().cloned().unwrap_or_default(),
                preempted: core::mem::take(&mut preempted),
                finished: Vec::new(),
            });
        }
        _ => {}
    })
    .map_err(|problem| problem.to_string())?;
    let mut times = Vec::new();
    for (place, record) in ledger.records().iter().enumerate() {
        let (Some(scheduled), Some(first), Some(last)) = (record.admitted, record.first_token, record.last_token)
        else {
            return Err(format!("{} is not served: {:?}", recorded.requests[place].request_id, record.refusal));
        };
        let arrived = seconds(record.arrived);
        let next = passes.partition_point(|pass| pass.began < arrived);
        let queued = passes.get(next).map_or(arrived, |pass| pass.began);
        let (scheduled, first_token, last_token) = (seconds(scheduled), seconds(first), seconds(last));
        // Where the engine was idle it plans at once.
        times.push(Times { queued: queued.min(scheduled), scheduled, first_token, last_token });
    }
    let beyond = ledger.passes_beyond().map(|(axis, passes)| (axis.as_str(), passes)).collect();
    let series = series(recorded, &passes, &times);
    Ok(Replay { requests: times, series, passes: passes.len() as u64, beyond, preemptions })
}

fn seconds(at: Time) -> f64 {
    at.since(Time::ZERO).as_secs_f64()
}

/// What the engine says of itself at the end of each pass. Under asynchronous scheduling the pass behind it is planned by then,
/// its blocks taken; who arrived since that plan is not yet counted as waiting.
fn series(recorded: &Recorded, passes: &[Pass], times: &[Times]) -> Vec<Sample> {
    let block = recorded.engine.config.cache.block;
    let all = f64::from(recorded.engine.config.cache.capacity.0);
    let ahead = usize::from(recorded.engine.config.async_scheduling);
    let mut queued: Vec<f64> = times.iter().map(|times| times.queued).collect();
    queued.sort_by(f64::total_cmp);
    let mut running: BTreeMap<u64, Tokens> = BTreeMap::new();
    let (mut finished, mut planned) = (0, 0);
    let mut samples = Vec::with_capacity(passes.len());
    for (place, pass) in passes.iter().enumerate() {
        while planned < passes.len() && planned <= place + ahead {
            // Told with the pass in flight when this one was planned.
            if let Some(before) = planned.checked_sub(ahead) {
                for request in &passes[before].preempted {
                    running.remove(&request.0);
                }
            }
            let Work { chunks, decoding } = &passes[planned].work;
            for (request, from, new) in chunks {
                running.insert(request.0, *from + *new);
            }
            for request in decoding {
                *running.entry(request.0).or_default() += Tokens(1);
            }
            planned += 1;
        }
        for request in &pass.finished {
            running.remove(&request.0);
            finished += 1;
        }
        let known = queued.partition_point(|queued| *queued <= pass.began);
        let blocks: u32 = running.values().map(|tokens| tokens.blocks(block).0).sum();
        samples.push(Sample {
            at: pass.ended,
            running: running.len() as f64,
            waiting: known.saturating_sub(running.len() + finished) as f64,
            kv_use: f64::from(blocks) / all * 100.0,
        });
    }
    samples
}
