//! Random histories. The store decides where bytes go; here they really go there, into a segment of one word per block,
//! those of puts that are over included. After every step store and model agree on everything that can be asked, the
//! store's laws hold, and each object that is leased is what its writer wrote.
//!
//! A failure names the world and the step.

use super::model::Model;
use crate::cache::histories::{self, History, rounds};
use crate::cache::prompts::Chance;
use kvcache::{
    Asked, Eviction, Fragment, Grant, GrantId, Hold, NodeConfig, NodeStore, ObjectName, PutRefusal, Span, Time, WaitId,
    WriteId,
};
use std::collections::BTreeMap;

const STEPS: u32 = 4000;
const BLOCK: u32 = 16;

struct World {
    store: NodeStore,
    model: Model,
    segment: Vec<u64>,
    puts: Vec<(WriteId, u64, Vec<Fragment>)>, // with the number in the model
    leases: BTreeMap<u64, (GrantId, Vec<Fragment>, u64)>, // by the number in the model; what is read there
    waits: Vec<(WaitId, u64)>,
    over: Vec<GrantId>,          // leases that ended
    content: BTreeMap<u64, u64>, // of objects and puts by their number in the model
    now: Time,
    chance: Chance,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    steps: u64,
    present: u64,
    no_room: u64,
    evicted: u64,
    expired: u64,
    discarded: u64,
    late: u64,
    woken: u64,
    missed: u64,
    fragmented: u64,
    condemned: u64,
    too_many: u64,
}

impl World {
    fn new(seed: u64, config: NodeConfig) -> Self {
        Self {
            store: NodeStore::new(config),
            model: Model::new(config),
            segment: vec![0; config.blocks() as usize],
            puts: Vec::new(),
            leases: BTreeMap::new(),
            waits: Vec::new(),
            over: Vec::new(),
            content: BTreeMap::new(),
            now: Time::ZERO,
            chance: Chance::new(seed),
            seen: Seen::default(),
        }
    }

    fn name(&mut self) -> ObjectName {
        ObjectName::of(b"lmcache", &[self.chance.below(40) as u8])
    }

    fn pass_time(&mut self) {
        self.now += match self.chance.below(10) {
            0..4 => Span::ZERO,
            4..9 => Span::from_millis(u64::from(self.chance.below(120))),
            _ => {
                let due = self.store.deadline().unwrap_or(self.now).max(self.now);
                Span(due.since(self.now).0.saturating_sub(u64::from(self.chance.percent(50))))
            }
        };
        self.model.timeout(self.now);
    }

    fn write(&mut self, fragments: &[Fragment], word: u64) {
        for fragment in fragments {
            let first = (fragment.offset / u64::from(BLOCK)) as usize;
            let blocks = fragment.len.div_ceil(u64::from(BLOCK)) as usize;
            self.segment[first..first + blocks].fill(word);
        }
    }

    fn read(&self, fragments: &[Fragment]) -> Option<u64> {
        let block = |fragment: &Fragment| {
            let first = (fragment.offset / u64::from(BLOCK)) as usize;
            first..first + fragment.len.div_ceil(u64::from(BLOCK)) as usize
        };
        let mut words = fragments.iter().flat_map(block).map(|block| self.segment[block]);
        let word = words.next()?;
        words.all(|other| other == word).then_some(word)
    }

    fn begin(&mut self) {
        let name = self.name();
        let most = u64::from(self.model.config.blocks()) * u64::from(BLOCK);
        let len = match self.chance.below(50) {
            0 => 0,
            1 => most + 1,
            2 => most,
            _ => u64::from(self.chance.within(1, BLOCK * 9)),
        };
        let got = self.store.begin_put(name, len, self.now);
        let store = &self.store;
        let by_order = self.model.config.eviction != Eviction::Lru;
        let wanted = self.model.begin(name, len, self.now, |model, free| {
            if by_order {
                // Which ones is the order's to say; that nobody held them, the model knows.
                let gone: Vec<u64> = model
                    .objects
                    .iter()
                    .filter(|(_, o)| !o.condemned && !store.has(&o.name))
                    .map(|(n, _)| *n)
                    .collect();
                for number in gone {
                    assert_eq!(model.pins(number), 0, "only what nobody holds is evicted");
                    model.objects.remove(&number);
                    model.evicted += 1;
                }
            } else {
                model.evict_oldest(free);
            }
        });
        match (got, wanted) {
            (Ok(write), Ok(number)) => {
                self.seen.fragmented += u64::from(write.fragments.len() > 1);
                self.content.insert(number, number);
                self.puts.push((write.id, number, write.fragments));
            }
            (Err(got), Err(wanted)) => {
                assert_eq!(got, wanted);
                self.seen.present += u64::from(got == PutRefusal::Present);
                self.seen.no_room += u64::from(got == PutRefusal::NoRoom);
            }
            other => panic!("a put of {len} bytes: store and model say {other:?}"),
        }
    }

    /// Some put ends, written to its last byte, whether or not it is too late.
    fn end_put(&mut self, finish: bool) {
        if self.puts.is_empty() {
            return;
        }
        let at = self.chance.below(self.puts.len() as u32) as usize;
        let (id, number, fragments) = self.puts.swap_remove(at);
        self.write(&fragments, number);
        let name = self.model.puts[&number].name;
        let (got, wanted) = if finish {
            (self.store.finish_put(id, number as u32, self.now), self.model.finish(number, number as u32, self.now))
        } else {
            (self.store.abort_put(id, self.now), self.model.abort(number))
        };
        assert_eq!(got.is_ok(), wanted.is_ok(), "ending a put");
        self.seen.late += u64::from(got.is_err());
        assert!(self.store.finish_put(id, 0, self.now).is_err(), "a put ends once");
        if finish && wanted.is_ok() {
            let object = self.model.find(name).expect("it is there");
            self.content.insert(object, number);
        }
    }

    fn lease(&mut self) {
        let name = self.name();
        let ttl = Span::from_millis(u64::from(self.chance.within(1, 3000)));
        let until =
            self.now + Span::from_millis(if self.chance.percent(50) { 0 } else { u64::from(self.chance.below(2500)) });
        let asked = self.store.lease(name, ttl, until, self.now);
        let (found, pending) = (self.model.find(name), self.model.pending(name));
        match asked {
            Asked::Granted(grant) => {
                let object = found.expect("only what is there is leased");
                let lease = self.model.grant(object, ttl, self.now).expect("there may be one more");
                self.granted(lease, grant);
            }
            Asked::Waiting(id) => {
                assert!(found.is_none() && until > self.now);
                assert!(pending || self.model.config.hold == Hold::Always);
                let wait = self.model.wait(name, until, ttl);
                self.waits.push((id, wait));
            }
            Asked::Absent => {
                assert!(found.is_none());
                assert!(until == self.now || (!pending && self.model.config.hold == Hold::Pending));
            }
            Asked::TooMany => {
                let most = self.model.config.leases as usize;
                assert!(self.model.leases.len() == most || (found.is_none() && self.model.waits.len() == most));
                self.seen.too_many += 1;
            }
        }
    }

    fn granted(&mut self, lease: u64, grant: Grant) {
        let object = self.model.leases[&lease].0;
        let known = &self.model.objects[&object];
        assert_eq!((grant.len, grant.seal), (known.len, known.seal), "what was put");
        assert_eq!(grant.fragments.iter().map(|fragment| fragment.len).sum::<u64>(), grant.len);
        self.leases.insert(lease, (grant.id, grant.fragments, self.content[&object]));
    }

    fn release(&mut self) {
        if self.chance.percent(10) && !self.over.is_empty() {
            let at = self.chance.below(self.over.len() as u32) as usize;
            assert!(self.store.release(self.over[at], self.now).is_err(), "a lease ends once");
            return;
        }
        let Some(at) = (self.leases.len() as u32).checked_sub(1) else { return };
        let nth = self.chance.below(at + 1) as usize;
        let (lease, id) = self.leases.iter().nth(nth).map(|(lease, (id, ..))| (*lease, *id)).expect("it is counted");
        self.store.release(id, self.now).expect("it is under way");
        self.model.unpin(lease);
        self.leases.remove(&lease);
        self.over.push(id);
    }

    fn cancel(&mut self) {
        if !self.waits.is_empty() {
            let at = self.chance.below(self.waits.len() as u32) as usize;
            let (id, wait) = self.waits.swap_remove(at);
            self.model.waits.remove(&wait).expect("it is under way");
            self.store.cancel(id, self.now).expect("it is under way");
            assert!(self.store.cancel(id, self.now).is_err(), "once");
        }
    }

    /// Leases and waits that are over in the model are over.
    fn forget(&mut self) {
        for (wait, lease) in std::mem::take(&mut self.model.answers) {
            let (id, grant) = self.store.poll_answer().expect("it is answered");
            let at = self.waits.iter().position(|(_, number)| *number == wait).expect("it waited");
            assert_eq!(self.waits.swap_remove(at).0, id, "in the same order");
            match (grant, lease) {
                (Some(grant), Some(lease)) => {
                    self.seen.woken += 1;
                    self.granted(lease, grant);
                }
                (None, None) => self.seen.missed += 1,
                other => panic!("an answer: {other:?}"),
            }
        }
        assert_eq!(self.store.poll_answer(), None, "no other answers");
        let over: Vec<u64> =
            self.leases.keys().copied().filter(|lease| !self.model.leases.contains_key(lease)).collect();
        for lease in over {
            let (id, ..) = self.leases.remove(&lease).expect("it is listed");
            assert!(!self.store.holds(id, self.now), "it has expired");
            self.over.push(id);
        }
    }
}

impl History for World {
    fn step(&mut self) -> &'static str {
        self.pass_time();
        match self.chance.below(100) {
            0..30 => {
                self.begin();
                "begin"
            }
            30..52 => {
                self.end_put(true);
                "finish"
            }
            52..57 => {
                self.end_put(false);
                "abort"
            }
            57..77 => {
                self.lease();
                "lease"
            }
            77..90 => {
                // What expired a moment ago is still listed.
                self.store.timeout(self.now);
                self.forget();
                self.release();
                "release"
            }
            90..94 => {
                self.store.timeout(self.now);
                self.forget();
                self.cancel();
                "cancel"
            }
            94..96 => {
                let name = self.name();
                let there = self.model.condemn(name);
                assert_eq!(self.store.condemn(&name, self.now), there);
                self.seen.condemned += u64::from(there);
                "condemn"
            }
            _ => {
                // A writer in the middle of its work, be its time over or not.
                if let Some((_, number, fragments)) = self.puts.last().cloned() {
                    self.write(&fragments, number);
                }
                "write"
            }
        }
    }

    fn compare(&mut self, _: u32) {
        self.store.timeout(self.now);
        self.forget();
        self.store.check();
        for (id, fragments, word) in self.leases.values() {
            assert!(self.store.holds(*id, self.now));
            assert_eq!(self.read(fragments), Some(*word), "what is leased is what was written");
        }
        let (usage, counts) = (self.store.usage(), self.store.counts());
        let there: Vec<_> = self.model.objects.values().filter(|object| !object.condemned).collect();
        assert!(there.iter().all(|object| self.store.has(&object.name)), "what is there");
        assert_eq!(usage.objects, there.len() as u64, "and nothing else");
        assert_eq!(usage.object_bytes, there.iter().map(|object| object.len).sum::<u64>());
        assert_eq!(usage.capacity - usage.used, self.model.free() * u64::from(BLOCK), "free room");
        let ends = self.model.leases.values().map(|(_, ends)| *ends);
        let puts = self.model.puts.values().filter(|put| !put.discarded).map(|put| put.ends);
        let waits = self.model.waits.values().map(|(_, until, _)| *until);
        assert_eq!(self.store.deadline(), ends.chain(puts).chain(waits).min(), "the deadline");
        assert_eq!(usage.leases, self.model.leases.len() as u64);
        assert_eq!(usage.writes, self.model.puts.len() as u64);
        assert_eq!(counts.evicted, self.model.evicted, "evictions");
        self.seen.steps += 1;
        (self.seen.evicted, self.seen.expired, self.seen.discarded) =
            (counts.evicted, counts.expired, counts.discarded);
    }
}

#[test]
fn store_and_model_agree() {
    let mut all = Seen::default();
    for round in 0..rounds() {
        for (place, eviction) in Eviction::ALL.into_iter().enumerate() {
            for (turn, (hold, watermark, blocks)) in [
                (Hold::Always, 900, 40),
                (Hold::Pending, 1000, 40),
                (Hold::Always, 1000, 7),
                (Hold::Pending, 700, 90),
                (Hold::Always, 800, 300),
            ]
            .into_iter()
            .enumerate()
            {
                let seed = round * 100 + place as u64 * 10 + turn as u64;
                let config = NodeConfig {
                    block: BLOCK,
                    eviction,
                    watermark,
                    hold,
                    leases: if turn >= 3 { 2 } else { 100 },
                    put_ttl: Span::from_secs(3),
                    ..NodeConfig::new(blocks * u64::from(BLOCK) + 5)
                };
                let mut world = World::new(seed, config);
                let _place = histories::live((seed, config), STEPS, &mut world);
                let seen = world.seen;
                all.steps += seen.steps;
                all.present += seen.present;
                all.no_room += seen.no_room;
                all.evicted += seen.evicted;
                all.expired += seen.expired;
                all.discarded += seen.discarded;
                all.late += seen.late;
                all.woken += seen.woken;
                all.missed += seen.missed;
                all.fragmented += seen.fragmented;
                all.condemned += seen.condemned;
                all.too_many += seen.too_many;
            }
        }
    }
    println!("{all:?}");
    assert!(all.steps >= 100_000);
    let seen = [all.present, all.no_room, all.evicted, all.expired, all.discarded, all.late, all.woken, all.missed];
    assert!(seen.into_iter().chain([all.fragmented, all.condemned, all.too_many]).all(|count| count > 100), "{all:?}");
}
