//! What a router knows of who holds what, by tier.
//!
//! The device tier is known by the workers' own account, or where they give none approximately; the tiers below, of which
//! no router is told, by what was sent where and how much they hold. A request that was sent counts at once.

use crate::config::RouterConfig;
use crate::index::{IndexConfig, Matches};
use crate::score::TierTokens;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{CacheEvent, Chain, Change, Span, Time, Tokens, WorkerId};

mod feed; // events, in order
mod speculative; // what will soon be told
mod approximate; // what nobody tells

use approximate::Approximate;
pub use approximate::Kept;
pub(crate) use feed::Feed;
pub use feed::{FeedCount, Snapshot, Wanted};
use speculative::Speculative;

/// The tiers below the device, as far as a router knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowerTiers {
    /// Tokens in an object of theirs.
    pub chunk: Tokens,
    /// Tokens that each worker's host memory holds; `None`: there is no such tier.
    pub l1: Option<u64>,
    /// Tokens that the pool holds; `None`: there is no such tier.
    pub l2: Option<u64>,
}

#[derive(Debug)]
enum Device {
    Told(Box<Feed>),
    Guessed(Approximate),
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Knowledge {
    device: Device,
    speculative: Speculative,
    hosts: Option<Approximate>,
    pool: Option<Approximate>,
    block: Tokens,
    matches: Matches,
    device_tokens: Vec<Tokens>,
    tiers: Vec<TierTokens>,
}

impl Knowledge {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        let index = IndexConfig { limit: config.index_limit, ..IndexConfig::new(config.workers, config.block) };
        let part = |of: u64| config.index_limit / of;
        let lower = config.lower;
        let approximate = |stores, tokens| {
            let kept = Kept { tokens, ttl: None };
            Approximate::new(stores, lower.map_or(config.block, |lower| lower.chunk), kept, part(8))
        };
        Self {
            device: match config.guessed {
                None => {
                    let feed = Feed::new(IndexConfig { limit: part(2), ..index });
                    Device::Told(Box::new(feed.with_silence(config.silence)))
                }
                Some(kept) => Device::Guessed(Approximate::new(config.workers, config.block, kept, part(2))),
            },
            speculative: Speculative::new(IndexConfig { limit: part(4), ..index }, config.speculative),
            hosts: lower.and_then(|lower| lower.l1).map(|tokens| approximate(config.workers, tokens)),
            pool: lower.and_then(|lower| lower.l2).map(|tokens| approximate(1, tokens)),
            block: config.block,
            matches: Matches::new(),
            device_tokens: Vec::new(),
            tiers: vec![TierTokens::default(); usize::from(config.workers)],
        }
    }

    /// The feed, where workers tell.
    pub(crate) const fn feed(&self) -> Option<&Feed> {
        match &self.device {
            Device::Told(feed) => Some(feed),
            Device::Guessed(_) => None,
        }
    }

    pub(crate) const fn feed_mut(&mut self) -> Option<&mut Feed> {
        match &mut self.device {
            Device::Told(feed) => Some(feed),
            Device::Guessed(_) => None,
        }
    }

    /// Tokens that `worker` holds on its device, as far as is known.
    pub(crate) fn held(&self, worker: WorkerId) -> u64 {
        match &self.device {
            Device::Told(feed) => feed.index().held(worker),
            Device::Guessed(stores) => stores.held(worker),
        }
    }

    /// Looks up what each worker has of `chain`; what was found counts as used. O(runs on the way + workers), and where
    /// there is an L1, or nobody tells, O(workers * runs on the way).
    /// Signals take `lag`.
    pub(crate) fn look(&mut self, chain: Chain<'_>, now: Time, lag: Span) {
        self.device_tokens.clear();
        match &mut self.device {
            Device::Told(feed) => {
                feed.timeout(now);
                feed.index().matches(chain, &mut self.matches);
                feed.index_mut().touch_matched(&self.matches);
                self.device_tokens.extend_from_slice(self.matches.tokens());
            }
            Device::Guessed(stores) => {
                let of = |worker| stores.of(WorkerId(worker), chain, now);
                self.device_tokens.extend((0..self.tiers.len() as u16).map(of));
            }
        }
        self.speculative.raise(chain, &mut self.device_tokens, now, lag);
        // The last token is computed in any case, and with it its block.
        let most = Tokens(chain.tokens().0.saturating_sub(1)).full_blocks(self.block).tokens(self.block);
        let pool = self.pool.as_mut().map_or(Tokens::ZERO, |pool| pool.of(WorkerId(0), chain, now));
        for ((known, l0), worker) in self.tiers.iter_mut().zip(&self.device_tokens).zip((0..).map(WorkerId)) {
            let l1 = match &mut self.hosts {
                Some(hosts) => hosts.of(worker, chain, now),
                None => Tokens::ZERO,
            };
            let (l1, l2) = (l1.saturating_sub(*l0), pool.saturating_sub((*l0).max(l1)));
            *known = TierTokens { l0: *l0, l1, l2 }.within(most);
        }
    }

    /// What was found by the latest [`Knowledge::look`], of each worker.
    pub(crate) fn tiers(&self) -> &[TierTokens] {
        &self.tiers
    }

    /// `worker` was sent `chain`: it will hold it. Signals take `lag`.
    pub(crate) fn sent(&mut self, worker: WorkerId, chain: Chain<'_>, now: Time, lag: Span) {
        self.speculative.sent(worker, chain, now, lag);
        if let Device::Guessed(stores) = &mut self.device {
            stores.sent(worker, chain, now);
        }
        if let Some(hosts) = &mut self.hosts {
            hosts.sent(worker, chain, now);
        }
        if let Some(pool) = &mut self.pool {
            pool.sent(WorkerId(0), chain, now);
        }
    }

    /// Takes events that left their worker at `as_of`.
    #[inline]
    pub(crate) fn hear(&mut self, worker: WorkerId, events: &[CacheEvent], as_of: Time, now: Time) {
        let Device::Told(feed) = &mut self.device else { return };
        feed.hear(worker, events, as_of, now);
        if events.iter().any(|event| event.change == Change::Cleared) {
            // What was on its way there may have come before that.
            self.speculative.clear(worker);
        }
    }

    /// `worker` restarted, or is gone: what was thought to be on its device and in its host's memory is not there. (What it
    /// told is the feed's.)
    pub(crate) fn restarted(&mut self, worker: WorkerId) {
        self.speculative.clear(worker);
        if let Some(hosts) = &mut self.hosts {
            hosts.clear(worker);
        }
        if let Device::Guessed(stores) = &mut self.device {
            stores.clear(worker);
        }
    }

    /// Bytes that all of it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let device = match &self.device {
            Device::Told(feed) => feed.index().bytes(),
            Device::Guessed(stores) => stores.bytes(),
        };
        let lower = [&self.hosts, &self.pool].into_iter().flatten().map(Approximate::bytes).sum::<u64>();
        device + self.speculative.bytes() + lower
    }
}
