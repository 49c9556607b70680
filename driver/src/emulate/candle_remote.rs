//! Workers' bytes in an L2 elsewhere: what the core hands out of look-ups, loads and puts goes there, and its answers come
//! back by way of the engine, which tells the core first.
//!
//! A worker is handed a load when its bytes are here. Its request may have let go of its blocks by then: nothing is
//! carried, since those pages may be somebody else's.

use super::executor::{self, Reports};
use crate::l2::{Named, Remote};
use kvcache::{BlockHash, BlockKey, OpId, RequestId, Tokens, WorkerId};
use sim::transport::Move;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::mpsc;
use std::time::Duration;
use tokio::time::Instant;
use worker::depot::{Bytes, Parcel};
use worker::engine::Worker;

/// An operation without a deadline has this long.
const LONGEST: Duration = Duration::from_secs(30);

/// Values that came, of which load.
type Fetched = (WorkerId, OpId, Vec<Vec<u8>>);

/// What an answer brought.
#[derive(Debug)]
pub(super) enum Brought {
    /// A load, to be carried onto the device.
    Load(Move, Vec<Parcel>),
    /// No bytes.
    Nothing,
    /// A load that nobody waits for any more.
    TooLate,
}

/// A load whose bytes are on their way here.
#[derive(Debug)]
struct Loading {
    asked: Move,
    parcels: Vec<Parcel>,
    let_go: bool,
}

#[derive(Debug)]
pub(super) struct Elsewhere {
    l2: Remote,
    reports: Reports,
    /// What names of this model's objects begin with.
    space: String,
    /// Bytes and tokens of a block.
    block: (usize, Tokens),
    loading: BTreeMap<(WorkerId, OpId), Loading>,
    fetched: (mpsc::Sender<Fetched>, mpsc::Receiver<Fetched>),
}

impl Elsewhere {
    /// For workers that are all like `worker`.
    pub(super) fn new(l2: Remote, worker: &Worker, block: Tokens, reports: Reports) -> Self {
        let block = (worker.block_bytes(), block);
        Self { l2, reports, space: space(worker.root()), block, loading: BTreeMap::new(), fetched: mpsc::channel() }
    }

    /// Objects of a prompt. All are as long as the first: only full chunks are stored.
    fn named(&self, objects: impl Iterator<Item = (BlockKey, Tokens)>) -> Named {
        let (bytes, block) = self.block;
        let mut length = 0;
        let names = objects.map(|(key, tokens)| {
            length = tokens.blocks(block).0 as usize * bytes;
            format!("{}:{}:{:016x}", self.space, tokens.0, key.0)
        });
        let names = names.collect();
        Named { names, length }
    }

    pub(super) fn probe(&self, asked: &Move, until: Option<Instant>) {
        let of = self.named(asked.objects.iter().map(|object| (object.key, object.upto - object.from)));
        let (reports, worker, op) = (self.reports.clone(), asked.worker, asked.op);
        self.l2.probe(of, by(until), move |answer| reports.answered(worker, op, answer));
    }

    pub(super) fn fetch(&mut self, asked: Move, parcels: Vec<Parcel>, until: Option<Instant>) {
        let wanted = parcels.iter().filter(|(carried, _)| !carried.host);
        let of = self.named(wanted.map(|(carried, _)| (carried.key, carried.upto - carried.from)));
        let (reports, values, worker, op) = (self.reports.clone(), self.fetched.0.clone(), asked.worker, asked.op);
        self.loading.insert((worker, op), Loading { asked, parcels, let_go: false });
        self.l2.fetch(of, by(until), move |answer, came| {
            // Values are sent before the word of them; where nobody hears it, the engine has stopped.
            let _ = values.send((worker, op, came));
            reports.answered(worker, op, answer);
        });
    }

    pub(super) fn put(&self, asked: &Move, parcels: Vec<Parcel>, until: Option<Instant>) {
        let of = self.named(parcels.iter().map(|(carried, _)| (carried.key, carried.upto - carried.from)));
        let bytes: Vec<Bytes> = parcels.into_iter().filter_map(|(_, bytes)| bytes).collect();
        let (reports, worker, op) = (self.reports.clone(), asked.worker, asked.op);
        self.l2.put(of, bytes, by(until), move |answer| reports.answered(worker, op, answer));
    }

    /// A request gave up its blocks.
    pub(super) fn let_go(&mut self, worker: WorkerId, request: RequestId) {
        for loading in self.loading.values_mut() {
            loading.let_go |= (loading.asked.worker, loading.asked.request) == (worker, request);
        }
    }

    /// The word of an answer.
    pub(super) fn answered(&mut self, worker: WorkerId, op: OpId) -> Brought {
        while let Ok((worker, op, values)) = self.fetched.1.try_recv() {
            let Some(loading) = self.loading.get_mut(&(worker, op)) else { continue };
            let wanted = loading.parcels.iter_mut().filter(|(carried, _)| !carried.host);
            for ((_, bytes), value) in wanted.zip(values) {
                *bytes = Some(Bytes::from(value));
            }
        }
        match self.loading.remove(&(worker, op)) {
            None => Brought::Nothing,
            Some(Loading { let_go: true, .. }) => Brought::TooLate,
            Some(Loading { asked, parcels, .. }) => Brought::Load(asked, parcels),
        }
    }

    /// A worker took the first `came` of these. What it did not take though it was there is not what it should be, and goes.
    pub(super) fn carried(&self, came: u32, asked: &[Parcel]) {
        let Some((carried, Some(_))) = asked.get(came as usize) else { return };
        if !carried.host {
            let named = self.named([(carried.key, carried.upto - carried.from)].into_iter());
            named.names.into_iter().for_each(|name| self.l2.refuse(name));
        }
    }

    pub(super) fn counts(&self) -> executor::Elsewhere {
        let crate::l2::Counts { fetched, put, refused, failed } = self.l2.counts();
        executor::Elsewhere { fetched, put, refused, failed }
    }
}

fn by(until: Option<Instant>) -> Instant {
    until.unwrap_or_else(|| Instant::now() + LONGEST)
}

/// Objects of another model, of weights in another mode or of blocks of another size have other names: half of a SHA-256 says
/// so. Within, a name is a chain's key, which holds the tenant's salt; that it is this chain's, the header in the value says.
fn space(root: BlockHash) -> String {
    let mut space = "podlab:kv:1:".to_owned();
    for byte in &root.0[..16] {
        // A string takes whatever is written to it.
        let _ = write!(space, "{byte:02x}");
    }
    space
}
