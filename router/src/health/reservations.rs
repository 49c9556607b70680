//! What requests in flight have reserved: the router's own account of each worker's load, without anybody's report.
//!
//! Invariant: a worker's load is the sum of the live reservations there. A reservation begins once and is released once,
//! whatever else is said of its request. Counters that leak on an error path end as a worker that is never chosen, or a
//! gateway out of memory (production-stack #1072).

use alloc::vec;
use alloc::vec::Vec;
use kvcache::{KeyMap, RequestId, Tokens, WorkerId};

/// What a request takes at its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Tokens of the prompt to compute: those that the worker is not thought to have.
    pub new_tokens: Tokens,
    /// Tokens of the whole prompt.
    pub context_tokens: Tokens,
}

/// What all requests in flight have reserved at a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerLoad {
    /// Requests.
    pub requests: u32,
    /// Those of them that have no first token yet.
    pub prefilling: u32,
    /// Tokens to compute, of those that have no first token yet.
    pub new_tokens: u64,
    /// Tokens of the prompts of all.
    pub context_tokens: u64,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservationCounts {
    /// Requests that reserved, each once between two releases.
    pub reserved: u64,
    /// Live reservations that moved to where the request was tried again.
    pub moved: u64,
    /// Reservations released.
    pub released: u64,
    /// Releases of what was not there: unknown, released before, or moved away.
    pub stray_releases: u64,
    /// First tokens of what was not there, had moved away, or had its first token before.
    pub stray_first_tokens: u64,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    worker: WorkerId,
    reserved: Reserved,
    prefilling: bool,
}

/// The account. All operations are O(1) on average; memory is bounded by the most requests that ever were in flight.
#[derive(Clone, Debug)]
pub struct Reservations {
    loads: Vec<WorkerLoad>,
    slots: Vec<Option<Live>>,
    free: Vec<u32>,      // the slots that are empty
    places: KeyMap<u32>, // by request
    counts: ReservationCounts,
}

impl Reservations {
    /// Of an endpoint with `workers` workers, idle.
    #[must_use]
    pub fn new(workers: u16) -> Self {
        Self {
            loads: vec![WorkerLoad::default(); usize::from(workers)],
            slots: Vec::new(),
            free: Vec::new(),
            places: KeyMap::default(),
            counts: ReservationCounts::default(),
        }
    }

    /// `request` goes to `worker`. Where it has a reservation still, that one is over: it is tried again elsewhere, from
    /// the start. Gives the worker that had it.
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn reserve(&mut self, request: RequestId, worker: WorkerId, reserved: Reserved) -> Option<WorkerId> {
        let live = Live { worker, reserved, prefilling: true };
        self.loads[worker.index()].add(&live);
        if let Some(place) = self.places.get(&key(request)) {
            let before = self.slots[*place as usize].replace(live).expect("a place is of a live reservation");
            self.loads[before.worker.index()].subtract(&before);
            self.counts.moved += 1;
            return Some(before.worker);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[place as usize] = Some(live);
        self.places.insert(key(request), place);
        self.counts.reserved += 1;
        None
    }

    /// `request` got its first token: it computes no prompt any more. Whether that is news.
    pub fn first_token(&mut self, request: RequestId) -> bool {
        let live = self.places.get(&key(request)).and_then(|place| self.slots[*place as usize].as_mut());
        let Some(live) = live.filter(|live| live.prefilling) else {
            self.counts.stray_first_tokens += 1;
            return false;
        };
        let load = &mut self.loads[live.worker.index()];
        load.subtract(live);
        live.prefilling = false;
        load.add(live);
        true
    }

    /// The attempt of `request` at `worker` got its first token: as [`Reservations::first_token`], but where the request has
    /// moved on since, that says nothing of where it is. Whether it is news.
    pub fn first_token_from(&mut self, request: RequestId, worker: WorkerId) -> bool {
        if self.worker(request).is_some_and(|at| at != worker) {
            self.counts.stray_first_tokens += 1;
            return false;
        }
        self.first_token(request)
    }

    /// `request` came to its end, whichever. Gives the worker that had it; `None`, counted, where nobody did.
    pub fn release(&mut self, request: RequestId) -> Option<WorkerId> {
        let Some(place) = self.places.remove(&key(request)) else {
            self.counts.stray_releases += 1;
            return None;
        };
        let live = self.slots[place as usize].take().expect("a place is of a live reservation");
        self.free.push(place);
        self.loads[live.worker.index()].subtract(&live);
        self.counts.released += 1;
        Some(live.worker)
    }

    /// The attempt of `request` at `worker` came to its end: as [`Reservations::release`], but where the request has
    /// moved on since, it keeps what it reserved there. Whether it was released.
    pub fn release_from(&mut self, request: RequestId, worker: WorkerId) -> bool {
        if self.worker(request).is_some_and(|at| at != worker) {
            self.counts.stray_releases += 1;
            return false;
        }
        self.release(request).is_some()
    }

    /// Where `request` has its reservation.
    #[must_use]
    pub fn worker(&self, request: RequestId) -> Option<WorkerId> {
        let place = self.places.get(&key(request))?;
        self.slots[*place as usize].map(|live| live.worker)
    }

    /// What is reserved at `worker`.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[must_use]
    pub fn load(&self, worker: WorkerId) -> WorkerLoad {
        self.loads[worker.index()]
    }

    /// What is reserved at each worker, in order of their numbers.
    #[must_use]
    pub fn loads(&self) -> &[WorkerLoad] {
        &self.loads
    }

    /// How many reservations are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.places.len()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counts(&self) -> ReservationCounts {
        self.counts
    }

    /// Asserts the invariants. O(most requests ever in flight).
    ///
    /// # Panics
    /// Where one is broken.
    pub fn check(&self) {
        let mut loads = vec![WorkerLoad::default(); self.loads.len()];
        for live in self.slots.iter().flatten() {
            loads[live.worker.index()].add(live);
        }
        assert_eq!(self.loads, loads, "loads are the sums of what is live");
        let live = self.slots.iter().flatten().count();
        assert_eq!((self.live(), self.free.len()), (live, self.slots.len() - live), "a slot is live or free");
        assert_eq!(self.counts.reserved, self.counts.released + live as u64, "what was reserved is released once");
    }
}

impl WorkerLoad {
    const fn add(&mut self, live: &Live) {
        self.requests += 1;
        self.context_tokens += live.reserved.context_tokens.0 as u64;
        if live.prefilling {
            self.prefilling += 1;
            self.new_tokens += live.reserved.new_tokens.0 as u64;
        }
    }

    const fn subtract(&mut self, live: &Live) {
        self.requests -= 1;
        self.context_tokens -= live.reserved.context_tokens.0 as u64;
        if live.prefilling {
            self.prefilling -= 1;
            self.new_tokens -= live.reserved.new_tokens.0 as u64;
        }
    }
}

/// Requests are numbered in order: an odd factor (2^64 divided by the golden ratio) spreads them over all bits, and gives
/// no two of them the same key.
const fn key(request: RequestId) -> u64 {
    request.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
