//! The pool (L2) that all workers share: leases on what is there, puts in two phases, shards that come and go.
//!
//! The contract is that of HyperPod's `tieredstorage` as LMCache's client of it shows it (0.5.6): an object is put
//! whole or not at all and never changes, a lease pins it for a while, a miss is an answer. What the daemon does
//! inside is not published; here it is a flat store of objects on shards, of a prompt's range at a time: what a
//! client would ask object by object, one call answers, atomically. An unexpired lease is all that keeps an object
//! from being evicted.
//!
//! Objects stay on the shard where they were put, and a directory knows which that is: a shard that comes back gets new
//! objects, and what was put elsewhere while it was away is still found. A shard that is lost has lost its memory.
//!
//! Time only passes when the pool is told. Each call first does what was due by its `now`.

mod config; // which pool it is
mod answer; // what it answers
mod place; // which shard an object goes to
mod term; // what ends by itself: leases, puts under way

use crate::chain::{BlockKey, Chain};
use crate::shelf::{Eviction, Held, Shard, Shelf, Shelved};
use crate::time::Time;
use crate::units::{Blocks, Tokens};
use alloc::vec::Vec;
pub use answer::{Begun, LeaseId, Leased, PoolCounts, PoolUsage, PutId, Unknown};
pub use config::{Backend, PoolConfig};
use place::Places;
use term::Terms;

/// The shared pool. Chains come in units of [`PoolConfig::chunk`].
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    shelf: Shelf,
    places: Places,
    ahead: Option<Ahead>,
    leases: Terms<Held>,
    puts: Terms<Held>,
    ages: Option<Time>, // when the time of some object is over that nobody holds
    counts: PoolCounts,
}

/// Evicting ahead of need, in tokens of a shard.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    watermark: u64, // where there is more
    evict: u64,     // this much goes
}

impl Pool {
    /// An empty pool, all shards up.
    ///
    /// # Panics Where the configuration has no shards, chunks or tokens of no size, or a time to live under a policy
    /// that does not order by time: anything but [`Eviction::Lru`] and [`Eviction::Fifo`].
    #[must_use]
    pub fn new(config: PoolConfig) -> Self {
        let by_time = matches!(config.eviction, Eviction::Lru | Eviction::Fifo);
        assert!(config.ttl.is_none() || by_time, "{} does not order by time", config.eviction);
        let capacity = config.shard_tokens();
        let shard = |n: u16| Shard::new(capacity, config.eviction.order(n, capacity, config.seed ^ u64::from(n)));
        let shelf = Shelf::new(config.chunk, (0..config.shards).map(shard).collect::<Vec<_>>());
        let ahead = Ahead::of(config);
        Self {
            config,
            shelf: if let Some(ahead) = ahead { shelf.with_watermark(ahead.watermark) } else { shelf },
            places: Places::new(config.shards, config.seed),
            ahead,
            leases: Terms::new(config.lease_ttl),
            puts: Terms::new(config.put_ttl),
            ages: None,
            counts: PoolCounts::default(),
        }
    }

    /// The same pool, which tells what comes and goes ([`Pool::take_told`]).
    #[must_use]
    pub fn telling(self) -> Self {
        Self { shelf: self.shelf.telling(), ..self }
    }

    /// Which objects came and went since this was asked last, in order.
    pub fn take_told(&mut self) -> Vec<Shelved> {
        self.shelf.take_told()
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// How far consecutive objects of `chain` are there from `from` on, at most to `to`. Pins nothing, counts
    /// nothing, changes nothing. What a client learns by a lease and its release for each object, one by one or all
    /// at once; what that costs is the caller's to say. O(strips on the path).
    ///
    /// Where `now` is past [`Pool::deadline`], [`Pool::timeout`] comes first, else what is over may still be seen.
    #[must_use]
    pub fn probe(&self, chain: Chain<'_>, from: Blocks, to: Blocks, _now: Time) -> Blocks {
        debug_assert_eq!(chain.unit(), self.config.chunk, "a chain in units of chunks");
        self.shelf.find(chain, from, to)
    }

    /// Pins what is there of objects `from..to`, as far as it is consecutive from `from` on: one atomic look-up. Says
    /// up to where; `None` where there is nothing. `by_shard` is told what is to be copied from which shard; a shard
    /// may come several times. O(strips on the path).
    pub fn lease(
        &mut self,
        chain: Chain<'_>,
        from: Blocks,
        to: Blocks,
        now: Time,
        by_shard: impl FnMut(u16, Tokens),
    ) -> Option<(LeaseId, Blocks)> {
        let to = to.min(chain.objects());
        let leased = self.pin(chain, from, to, now, by_shard);
        let end = leased.map_or(from, |(_, end)| end);
        self.counts.misses += tokens_between(chain, end, to);
        leased
    }

    /// The same for who may wait for an object that is being put, which counts as neither hit nor miss.
    pub fn lease_or_wait(
        &mut self,
        chain: Chain<'_>,
        from: Blocks,
        to: Blocks,
        now: Time,
        by_shard: impl FnMut(u16, Tokens),
    ) -> Leased {
        let to = to.min(chain.objects());
        let leased = self.pin(chain, from, to, now, by_shard);
        if leased.is_none() && from < to && self.shelf.is_pending(chain, from) {
            return Leased::Pending;
        }
        let end = leased.map_or(from, |(_, end)| end);
        self.counts.misses += tokens_between(chain, end, to);
        leased.map_or(Leased::Absent, |(id, end)| Leased::Got { id, end })
    }

    fn pin(
        &mut self,
        chain: Chain<'_>,
        from: Blocks,
        to: Blocks,
        now: Time,
        by_shard: impl FnMut(u16, Tokens),
    ) -> Option<(LeaseId, Blocks)> {
        self.timeout(now);
        let end = self.probe(chain, from, to, now);
        if end <= from {
            return None;
        }
        let held = self.shelf.pin(chain, from, end);
        self.shelf.spread(&held, by_shard);
        self.counts.hits += tokens_between(chain, from, end);
        self.age(now);
        Some((LeaseId(self.leases.start(held, now)), end))
    }

    /// Whether a lease still pins what it covers, and all of that is still there. To be asked *after* the copy: what was
    /// copied under a lease that has ended since, or from a shard that was lost, may be anything, and is a miss.
    /// O(strips it covers).
    #[must_use]
    pub fn is_live(&self, lease: LeaseId, now: Time) -> bool {
        self.leases.get(lease.0, now).is_some_and(|held| self.shelf.is_whole(held))
    }

    /// Ends a lease. This is a use of what it covered.
    ///
    /// # Errors
    /// Where there is none: unknown, released already, or expired.
    pub fn release(&mut self, lease: LeaseId, now: Time) -> Result<(), Unknown> {
        self.timeout(now);
        let held = self.leases.end(lease.0, now).ok_or(Unknown)?;
        self.shelf.unpin(held);
        self.age(now);
        Ok(())
    }

    /// Begins to put objects `from..to`: room is made for what is new of them, which nobody sees yet. What is there
    /// already, or being put by others, is left alone: a success. A full pool in which nothing may go takes no more,
    /// and blocks nobody. `by_shard` is told how much is to be written to which shard. O(strips on the path + new
    /// objects), as long as most shards are up.
    pub fn begin_put(
        &mut self,
        chain: Chain<'_>,
        from: Blocks,
        to: Blocks,
        now: Time,
        by_shard: impl FnMut(u16, Tokens),
    ) -> Begun {
        debug_assert_eq!(chain.unit(), self.config.chunk, "a chain in units of chunks");
        self.timeout(now);
        let to = to.min(chain.objects());
        if from >= to {
            return Begun { put: None, end: from, new: Tokens::ZERO };
        }
        let places = &self.places;
        if !places.any_up() {
            self.counts.skipped += tokens_between(chain, from, to);
            return Begun { put: None, end: from, new: Tokens::ZERO };
        }
        let reserved = self.shelf.reserve(chain, from, to, |key| places.of(key), by_shard);
        let new = u64::from(reserved.new.0);
        self.counts.puts += new;
        self.counts.present += tokens_between(chain, from, reserved.end) - new;
        self.counts.skipped += u64::from(reserved.skipped.0);
        let put = if new > 0 {
            Some(PutId(self.puts.start(reserved.held, now)))
        } else {
            self.shelf.publish(reserved.held, from);
            None
        };
        self.evict_ahead();
        self.age(now);
        Begun { put, end: reserved.end, new: reserved.new }
    }

    /// Whether a put is under way: not ended, and not discarded for lasting too long.
    #[must_use]
    pub fn is_putting(&self, put: PutId, now: Time) -> bool {
        self.puts.get(put.0, now).is_some()
    }

    /// Ends a put: its objects before `upto` can be seen from now on, the others are forgotten.
    ///
    /// # Errors
    /// Where there is none: unknown, ended already, or discarded.
    pub fn end_put(&mut self, put: PutId, upto: Blocks, now: Time) -> Result<(), Unknown> {
        self.timeout(now);
        let held = self.puts.end(put.0, now).ok_or(Unknown)?;
        self.shelf.publish(held, upto);
        self.age(now);
        Ok(())
    }

    fn evict_ahead(&mut self) {
        if let Some(Ahead { evict, .. }) = self.ahead {
            self.shelf.evict_ahead(evict, |shard| self.places.is_up(shard));
        }
    }

    /// When something ends by itself next: a lease, a put, an object's time.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        first_of(first_of(self.leases.deadline(), self.puts.deadline()), self.ages)
    }

    /// What was due by `now` happens: leases expire and pin nothing more, unfinished puts are discarded, objects
    /// whose time is over go. In the order in which it was due, leases before puts, those before objects.
    pub fn timeout(&mut self, now: Time) {
        while let Some(due) = self.deadline().filter(|due| *due <= now) {
            self.shelf.tell(due);
            if let Some(held) = self.leases.pop_ended(due) {
                self.counts.expired_leases += 1;
                self.shelf.unpin(held);
            } else if let Some(held) = self.puts.pop_ended(due) {
                self.counts.discarded += 1;
                self.shelf.publish(held, Blocks::ZERO);
            }
            self.age(due);
        }
        self.shelf.tell(now);
    }

    /// Objects whose time is over by `now` go, and it is noted when the next one's is.
    fn age(&mut self, now: Time) {
        let Some(ttl) = self.config.ttl else { return };
        self.ages = None;
        for shard in 0..self.config.shards {
            if now.0 >= ttl.0 {
                self.counts.aged += self.shelf.expire(shard, Time(now.0 - ttl.0 + 1));
            }
            let next = self.shelf.oldest(shard).map(|used| used + ttl);
            self.ages = first_of(self.ages, next);
        }
    }

    /// A shard restarts, or its node goes: what was on it is lost. It gets nothing new until [`Pool::restore_shard`].
    /// Leases on it are no longer live, and still to be released; what is being put there will not be seen.
    pub fn lose_shard(&mut self, shard: u16, now: Time) {
        self.timeout(now);
        self.places.take_down(shard);
        self.shelf.lose(shard);
        self.age(now);
    }

    /// A shard is back, empty.
    ///
    /// # Panics
    /// Where the pool has no such shard, as in [`Pool::lose_shard`].
    pub fn restore_shard(&mut self, shard: u16) {
        self.places.bring_up(shard);
    }

    /// One object is gone: a Redis may lose any key at any time. Nothing happens where it was not there.
    pub fn lose_object(&mut self, chain: Chain<'_>, object: Blocks, now: Time) {
        self.timeout(now);
        self.shelf.lose_object(chain, object);
        self.age(now);
    }

    /// Where a new object of this key would go; `None` where no shard is up. O(1) where most are.
    #[must_use]
    pub fn shard_of(&self, key: BlockKey) -> Option<u16> {
        self.places.any_up().then(|| self.places.of(key))
    }

    /// How full a shard is.
    #[must_use]
    pub fn usage(&self, shard: u16) -> PoolUsage {
        PoolUsage {
            capacity: self.config.shard_tokens(),
            used: self.shelf.used(shard),
            pinned: self.shelf.usage(shard).pinned,
            up: self.places.is_up(shard),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        PoolCounts { evicted: self.shelf.evicted() - self.counts.aged, ..self.counts }
    }

    /// Asserts every law of the pool. O(strips + leases + puts).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        self.shelf.check();
        self.leases.check();
        self.puts.check();
        let held = self.leases.iter().chain(self.puts.iter());
        assert!(held.into_iter().all(|held| held.from() < held.to()), "a lease or put is of something");
        for shard in 0..self.config.shards {
            assert!(self.shelf.used(shard) <= self.config.shard_tokens(), "a shard holds what fits");
        }
    }
}

impl Ahead {
    /// `None` where the pool evicts on demand alone.
    fn of(config: PoolConfig) -> Option<Self> {
        let Backend::TieredStorage { watermark, evict } = config.backend else { return None };
        let permille = |share: u16| (u128::from(config.shard_tokens()) * u128::from(share) / 1000) as u64;
        Some(Self { watermark: permille(watermark), evict: permille(evict) })
    }
}

/// The earlier one, of those that will be.
const fn first_of(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if one.0 <= other.0 { one } else { other }),
        (None, any) | (any, None) => any,
    }
}

/// Tokens of objects `from..to` of a chain.
fn tokens_between(chain: Chain<'_>, from: Blocks, to: Blocks) -> u64 {
    u64::from(chain.tokens_before(to).saturating_sub(chain.tokens_before(from)).0)
}
