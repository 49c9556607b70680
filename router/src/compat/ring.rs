//! Consistent hashing: a session stays with its worker while that is available, and only the sessions of a worker that
//! goes away move (Karger et al., "Consistent hashing and random trees", 1997).

use crate::available::Available;
use alloc::vec::Vec;
use kvcache::{SessionId, WorkerId};

/// Points on the ring per worker, as in vllm-project/router. A worker's share then varies by some 8 % (1 / sqrt(160));
/// the largest of 8 is 8 % above the mean, of 64 it is 29 %.
const POINTS: u64 = 160;

/// The ring. The same for every router and every seed, so that two gateways agree and a restart moves nobody.
#[derive(Debug)]
pub(crate) struct Ring {
    points: Vec<(u64, WorkerId)>,
}

impl Ring {
    /// Point k of worker w lies at `scatter(scatter(w) + k)`; of equal points the lower number wins.
    pub(crate) fn new(workers: u16) -> Self {
        let mut points: Vec<_> = (0..workers)
            .flat_map(|worker| {
                let base = scatter(u64::from(worker));
                (0..POINTS).map(move |point| (scatter(base.wrapping_add(point)), WorkerId(worker)))
            })
            .collect();
        points.sort_unstable();
        Self { points }
    }

    /// The owners of all points, from `scatter(session)` on; each comes many times. O(log points) for the first.
    pub(crate) fn owners(&self, session: SessionId) -> impl Iterator<Item = WorkerId> {
        let (before, from) = self.points.split_at(self.place(session));
        from.iter().chain(before).map(|(_, worker)| *worker)
    }

    fn place(&self, session: SessionId) -> usize {
        // Sessions are scattered from another start than workers, or session 0 would sit on a worker's seed.
        let place = scatter(session.0 ^ 0x7365_7373_696f_6e73);
        self.points.partition_point(|(point, _)| *point < place)
    }

    /// The owner of the first point at or after `scatter(session)` whose owner is available: what a ring without the
    /// others would say. O(log points), and a step for each point of an unavailable worker passed.
    pub(crate) fn owner(&self, session: SessionId, available: &Available) -> WorkerId {
        self.owners(session).find(|worker| available.has(*worker)).unwrap_or_default()
    }
}

/// A bijection of 64 bits in which each bit depends on all: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014),
/// after the golden gamma, so that neighbouring numbers land far apart.
const fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
