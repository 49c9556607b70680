//! Real caches under random requests: what workers do while somebody listens.

use super::Chance;
use kvcache::{Blocks, CacheConfig, Chain, Duplicates, HoldId, Piece, Tokens, WorkerCache, WorkerId};

struct Live {
    worker: WorkerId,
    hold: HoldId,
    pieces: Vec<Piece>,
    reserved: Tokens,
    computed: Tokens,
}

/// Workers with small caches, and their requests.
pub(super) struct Fleet {
    pub(super) caches: Vec<WorkerCache>,
    block: Tokens,
    live: Vec<Live>,
}

impl Fleet {
    /// Three workers.
    pub(super) fn new(block: Tokens) -> Self {
        let cache = |blocks, duplicates| {
            let capacity = Blocks(blocks);
            WorkerCache::new(CacheConfig { capacity, block, prefix_caching: true, duplicates, events: true })
        };
        let caches = vec![cache(20, Duplicates::Keep), cache(33, Duplicates::Merge), cache(50, Duplicates::Keep)];
        Self { caches, block, live: Vec::new() }
    }

    /// Something happens at one worker; `prompt` says what is asked of it. Gives the worker that restarted, if one did.
    pub(super) fn step(
        &mut self,
        chance: &mut Chance,
        mut prompt: impl FnMut(&mut Chance, WorkerId) -> Vec<Piece>,
    ) -> Option<WorkerId> {
        let worker = WorkerId(chance.pick(self.caches.len()) as u16);
        match chance.below(1000) {
            0..300 => {
                let pieces = prompt(chance, worker);
                self.begin(worker, pieces, chance);
            }
            300..700 if !self.live.is_empty() => self.compute(chance),
            700..998 if !self.live.is_empty() => {
                let live = self.live.swap_remove(chance.pick(self.live.len()));
                self.caches[live.worker.index()].release(live.hold, live.reserved);
            }
            998.. => {
                self.restart(worker);
                return Some(worker);
            }
            _ => {}
        }
        None
    }

    fn restart(&mut self, worker: WorkerId) {
        let cache = &mut self.caches[worker.index()];
        for ended in self.live.extract_if(.., |live| live.worker == worker) {
            cache.release(ended.hold, ended.reserved);
        }
        cache.restart();
    }

    fn begin(&mut self, worker: WorkerId, pieces: Vec<Piece>, chance: &mut Chance) {
        let (chain, cache) = (Chain::new(&pieces, self.block), &mut self.caches[worker.index()]);
        let found = cache.find(chain, Tokens(chain.tokens().0 - 1).full_blocks(self.block));
        let cached = found.blocks().tokens(self.block);
        let reserved = cached + Tokens(1 + chance.tokens(chain.tokens().0 - cached.0));
        if let Ok(hold) = cache.begin(found, reserved) {
            self.live.push(Live { worker, hold, pieces, reserved, computed: cached });
        }
    }

    /// A request gets blocks for more of its tokens, if there are any, and a pass for some of them ends.
    fn compute(&mut self, chance: &mut Chance) {
        let index = chance.pick(self.live.len());
        let live = &mut self.live[index];
        let cache = &mut self.caches[live.worker.index()];
        let chain = Chain::new(&live.pieces, self.block);
        let upto = Tokens(live.reserved.0 + chance.tokens(chain.tokens().0 - live.reserved.0 + 1));
        if cache.reserve(upto.blocks(self.block) - live.reserved.blocks(self.block)).is_ok() {
            live.reserved = upto;
        }
        live.computed = Tokens(live.computed.0 + chance.tokens(live.reserved.0 - live.computed.0 + 1));
        cache.commit(live.hold, chain, live.computed);
    }
}
