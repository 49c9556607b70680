//! A naive store: lists, searched from the front. It knows no blocks, only how many there are.

use kvcache::{Hold, NodeConfig, ObjectName, PutRefusal, Time};
use std::collections::BTreeMap;

/// An object that is there.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) len: u64,
    pub(super) seal: u32,
    pub(super) used: u64, // its last use
    pub(super) condemned: bool,
    pub(super) name: ObjectName,
}

/// A put whose writer has not let go.
#[derive(Clone, Debug)]
pub(super) struct Put {
    pub(super) name: ObjectName,
    pub(super) len: u64,
    pub(super) ends: Time,
    pub(super) discarded: bool,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) config: NodeConfig,
    pub(super) objects: BTreeMap<u64, Object>,     // by number
    pub(super) leases: BTreeMap<u64, (u64, Time)>, // number of the object, end
    pub(super) puts: BTreeMap<u64, Put>,
    pub(super) waits: BTreeMap<u64, (ObjectName, Time, kvcache::Span)>,
    /// Answers of waits: a lease (its number in the model), or none.
    pub(super) answers: Vec<(u64, Option<u64>)>,
    turn: u64,
    next: u64,
    pub(super) evicted: u64,
}

impl Model {
    pub(super) fn new(config: NodeConfig) -> Self {
        Self {
            config,
            objects: BTreeMap::new(),
            leases: BTreeMap::new(),
            puts: BTreeMap::new(),
            waits: BTreeMap::new(),
            answers: Vec::new(),
            turn: 0,
            next: 0,
            evicted: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    pub(super) fn blocks(&self, len: u64) -> u64 {
        len.div_ceil(u64::from(self.config.block))
    }

    pub(super) fn pins(&self, object: u64) -> usize {
        self.leases.values().filter(|(covered, _)| *covered == object).count()
    }

    pub(super) fn find(&self, name: ObjectName) -> Option<u64> {
        self.objects.iter().find(|(_, object)| object.name == name && !object.condemned).map(|(number, _)| *number)
    }

    pub(super) fn pending(&self, name: ObjectName) -> bool {
        self.puts.values().any(|put| put.name == name && !put.discarded)
    }

    pub(super) fn free(&self) -> u64 {
        let used = self.objects.values().map(|object| self.blocks(object.len)).sum::<u64>();
        let writing = self.puts.values().map(|put| self.blocks(put.len)).sum::<u64>();
        u64::from(self.config.blocks()) - used - writing
    }

    fn evictable(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.objects.keys().copied().filter(|number| self.pins(*number) == 0).collect();
        numbers.sort_by_key(|number| self.objects[number].used);
        numbers
    }

    pub(super) fn timeout(&mut self, now: Time) {
        let ended = |ends: &Time| *ends <= now;
        let mut leases: Vec<(Time, u64)> =
            self.leases.iter().map(|(id, (_, ends))| (*ends, *id)).filter(|(ends, _)| ended(ends)).collect();
        leases.sort_unstable();
        leases.into_iter().for_each(|(_, id)| self.unpin(id));
        let mut puts: Vec<(Time, u64)> = self
            .puts
            .iter()
            .filter(|(_, put)| !put.discarded && ended(&put.ends))
            .map(|(id, put)| (put.ends, *id))
            .collect();
        puts.sort_unstable();
        for (_, id) in puts {
            let put = self.puts.get_mut(&id).expect("it is listed");
            put.discarded = true;
            let name = put.name;
            self.nobody_brings(name);
        }
        let mut waits: Vec<(Time, u64)> =
            self.waits.iter().map(|(id, (_, until, _))| (*until, *id)).filter(|(until, _)| ended(until)).collect();
        waits.sort_unstable();
        for (_, id) in waits {
            self.waits.remove(&id);
            self.answers.push((id, None));
        }
    }

    fn nobody_brings(&mut self, name: ObjectName) {
        if self.config.hold == Hold::Pending {
            let waits: Vec<u64> = self.waits.iter().filter(|(_, wait)| wait.0 == name).map(|(id, _)| *id).collect();
            for id in waits {
                self.waits.remove(&id);
                self.answers.push((id, None));
            }
        }
    }

    /// Ends a lease.
    pub(super) fn unpin(&mut self, lease: u64) {
        let (object, _) = self.leases.remove(&lease).expect("it is under way");
        let turn = self.turn();
        if self.pins(object) == 0 {
            let entry = self.objects.get_mut(&object).expect("what is leased is there");
            entry.used = turn;
            if entry.condemned {
                self.objects.remove(&object);
            }
        }
    }

    /// What a put needs of room is made, by `evict`, which is told how many blocks are to be free.
    pub(super) fn begin(
        &mut self,
        name: ObjectName,
        len: u64,
        now: Time,
        mut evict: impl FnMut(&mut Self, u64),
    ) -> Result<u64, PutRefusal> {
        let capacity = u64::from(self.config.blocks());
        let needed = self.blocks(len);
        if len == 0 {
            return Err(PutRefusal::Empty);
        }
        if needed > capacity {
            return Err(PutRefusal::TooLarge { most: capacity * u64::from(self.config.block) });
        }
        if self.find(name).is_some() || self.pending(name) {
            return Err(PutRefusal::Present);
        }
        let can_go: u64 = self.evictable().iter().map(|number| self.blocks(self.objects[number].len)).sum();
        if needed > self.free() + can_go {
            return Err(PutRefusal::NoRoom);
        }
        evict(self, needed);
        let number = self.number();
        self.puts.insert(number, Put { name, len, ends: now + self.config.put_ttl, discarded: false });
        let share = |thousandths: u16| capacity * u64::from(thousandths) / 1000;
        if self.config.watermark < 1000 && capacity - self.free() > share(self.config.watermark) {
            let free = self.free() + share(self.config.evict).max(1);
            evict(self, free);
        }
        Ok(number)
    }

    /// The least recently used first, until so many blocks are free.
    pub(super) fn evict_oldest(&mut self, free: u64) {
        for number in self.evictable() {
            if self.free() >= free {
                break;
            }
            self.objects.remove(&number);
            self.evicted += 1;
        }
    }

    pub(super) fn finish(&mut self, put: u64, seal: u32, now: Time) -> Result<(), ()> {
        let Put { name, len, discarded, .. } = self.puts.remove(&put).ok_or(())?;
        if discarded {
            return Err(());
        }
        let (number, used) = (self.number(), self.turn());
        self.objects.insert(number, Object { len, seal, used, condemned: false, name });
        let waits: Vec<(u64, kvcache::Span)> =
            self.waits.iter().filter(|(_, wait)| wait.0 == name).map(|(id, wait)| (*id, wait.2)).collect();
        for (id, ttl) in waits {
            self.waits.remove(&id);
            let lease = self.grant(number, ttl, now);
            self.answers.push((id, lease));
        }
        Ok(())
    }

    pub(super) fn abort(&mut self, put: u64) -> Result<(), ()> {
        let put = self.puts.remove(&put).ok_or(())?;
        if put.discarded {
            return Err(());
        }
        self.nobody_brings(put.name);
        Ok(())
    }

    /// A lease on an object, if there may be one more.
    pub(super) fn grant(&mut self, object: u64, ttl: kvcache::Span, now: Time) -> Option<u64> {
        if self.leases.len() >= self.config.leases as usize {
            return None;
        }
        let number = self.number();
        self.leases.insert(number, (object, now + ttl));
        Some(number)
    }

    pub(super) fn wait(&mut self, name: ObjectName, until: Time, ttl: kvcache::Span) -> u64 {
        let number = self.number();
        self.waits.insert(number, (name, until, ttl));
        number
    }

    pub(super) fn condemn(&mut self, name: ObjectName) -> bool {
        let Some(number) = self.find(name) else { return false };
        if self.pins(number) == 0 {
            self.objects.remove(&number);
        } else {
            self.objects.get_mut(&number).expect("it was found").condemned = true;
        }
        true
    }
}
