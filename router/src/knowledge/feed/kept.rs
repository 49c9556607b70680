//! Events that came behind a gap, in order. Only the latest are kept.

use alloc::collections::VecDeque;
use kvcache::{CacheEvent, Change, Epoch};

/// Events that are kept: what vLLM's publisher itself keeps (10,000 steps).
const EVENTS: usize = 10_000;
/// Pieces that they may speak of, all together: 1 MiB.
const PIECES: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Kept {
    events: VecDeque<CacheEvent>,
    pieces: usize,
}

const fn pieces(event: &CacheEvent) -> usize {
    match &event.change {
        Change::Stored { pieces, .. } | Change::Evicted { pieces, .. } => pieces.len(),
        Change::Cleared => 0,
    }
}

impl Kept {
    /// Says whether it is new.
    pub(super) fn insert(&mut self, event: CacheEvent) -> bool {
        let place = self.events.binary_search_by_key(&event.sequence, |kept| kept.sequence);
        if let Err(place) = place {
            self.pieces += pieces(&event);
            self.events.insert(place, event);
        }
        place.is_err()
    }

    /// Forgets the oldest where there are too many; says whether there were.
    pub(super) fn keep_within_bounds(&mut self) -> bool {
        let mut any = false;
        while (self.events.len() > EVENTS || self.pieces > PIECES) && self.pop_upto(u64::MAX).is_some() {
            any = true;
        }
        any
    }

    /// Takes the first, where its number is `most` or below.
    pub(super) fn pop_upto(&mut self, most: u64) -> Option<CacheEvent> {
        let event = self.events.pop_front_if(|event| event.sequence <= most)?;
        self.pieces -= pieces(&event);
        Some(event)
    }

    /// Forgets those of other lives.
    pub(super) fn keep_life(&mut self, epoch: Epoch) {
        self.events.retain(|event| event.epoch == epoch);
        self.pieces = self.events.iter().map(pieces).sum();
    }

    /// The number behind the last; 0 where there is none.
    pub(super) fn end(&self) -> u64 {
        self.events.back().map_or(0, |event| event.sequence + 1)
    }

    pub(super) fn into_events(self) -> impl Iterator<Item = CacheEvent> {
        self.events.into_iter()
    }
}
