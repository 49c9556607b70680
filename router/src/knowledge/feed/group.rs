//! Events that belong together: one commit, or one eviction, told piece by piece.

use crate::index::Index;
use kvcache::{CacheEvent, Change, WorkerId};

/// How many of `events`, of which there is one, belong together and came in order.
#[inline]
pub(super) fn length(events: &[CacheEvent]) -> usize {
    let follow = |pair: &[CacheEvent]| {
        let [one, next] = pair else { return false };
        let linked = match (one.change, next.change) {
            (Change::Stored { piece, upto, .. }, Change::Stored { parent, start, upto: end, .. }) => {
                parent == piece && start == upto && end > start
            }
            (Change::Evicted { .. }, Change::Evicted { .. }) => true,
            _ => false,
        };
        linked && next.epoch == one.epoch && next.sequence == one.sequence + 1
    };
    1 + events.windows(2).take_while(|pair| follow(pair)).count()
}

/// Tells the index what `worker` told in a group.
#[inline]
pub(super) fn apply(index: &mut Index, worker: WorkerId, group: &[CacheEvent]) {
    match group[0].change {
        Change::Stored { parent, start, .. } => {
            let stored = group.iter().filter_map(|event| match event.change {
                Change::Stored { piece, upto, .. } => Some((piece, upto)),
                _ => None,
            });
            index.store_all(worker, parent, start, stored);
        }
        Change::Evicted { .. } => {
            let gone = group.iter().filter_map(|event| match event.change {
                Change::Evicted { piece, upto } => Some((piece, upto)),
                _ => None,
            });
            index.evict_all(worker, gone);
        }
        Change::Cleared => index.clear(worker),
    }
}
