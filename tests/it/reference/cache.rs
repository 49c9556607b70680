//! One worker's device cache as its rules read: an entry per block, found by literally what is in it.

use kvcache::Duplicates;
use std::collections::{BTreeMap, HashMap};

/// Names the content of a block and of everything before it.
pub(super) type Name = usize;

/// A stretch of equal origin inside a block: the segment, the place of its first token there, how many tokens.
type Stretch = (u64, u32, u32);

/// Which literal block has which name: a block is the block before it, and its own tokens.
#[derive(Default)]
pub(super) struct Names(HashMap<(Option<Name>, Vec<Stretch>), Name>);

impl Names {
    /// The names of all full blocks of a prompt that consists of `segments` (id, tokens).
    pub(super) fn of(&mut self, segments: impl Iterator<Item = (u64, u32)>, block: u32) -> Vec<Name> {
        let (mut names, mut content, mut room) = (Vec::new(), Vec::new(), block);
        for (id, tokens) in segments {
            let mut place = 0;
            while place < tokens {
                let count = room.min(tokens - place);
                content.push((id, place, count));
                place += count;
                room -= count;
                if room == 0 {
                    let next = self.0.len();
                    names.push(*self.0.entry((names.last().copied(), std::mem::take(&mut content))).or_insert(next));
                    room = block;
                }
            }
        }
        names
    }
}

struct Entry {
    holders: u32,
    /// Its place in `idle`, where nobody holds it.
    released: u64,
}

/// What a sequence holds: its first blocks are resident, the others its own.
#[derive(Default)]
pub(super) struct Held {
    resident: Vec<Name>,
    own: u32,
}

pub(super) struct Cache {
    duplicates: Duplicates,
    prefix_caching: bool,
    /// An entry for each resident block, by its name.
    entries: Vec<Option<Entry>>,
    /// Resident blocks that nobody holds, the one to go next first.
    idle: BTreeMap<u64, Name>,
    free: u32,
    releases: u64,
    pub(super) evicted: u64,
    /// Blocks that became resident (true) or went since somebody looked.
    pub(super) told: Vec<(Name, bool)>,
}

impl Cache {
    pub(super) fn new(config: &kvcache::CacheConfig) -> Self {
        Self {
            duplicates: config.duplicates,
            prefix_caching: config.prefix_caching,
            entries: Vec::new(),
            idle: BTreeMap::new(),
            free: config.capacity.0,
            releases: 0,
            evicted: 0,
            told: Vec::new(),
        }
    }

    pub(super) fn available(&self) -> u32 {
        self.free + self.idle.len() as u32
    }

    fn entry(&self, name: Name) -> Option<&Entry> {
        self.entries.get(name)?.as_ref()
    }

    /// How many leading blocks of `names` are resident.
    pub(super) fn find(&self, names: &[Name]) -> usize {
        names.iter().take_while(|name| self.entry(**name).is_some()).count()
    }

    /// How many of `names`, all resident, nobody holds.
    pub(super) fn idle_among(&self, names: &[Name]) -> u32 {
        names.iter().filter(|name| self.entry(**name).is_some_and(|entry| entry.holders == 0)).count() as u32
    }

    fn hold(&mut self, name: Name) {
        let entry = self.entries[name].as_mut().expect("only what is resident can be held");
        if entry.holders == 0 {
            self.idle.remove(&entry.released);
        }
        entry.holders += 1;
    }

    pub(super) fn begin(&mut self, matched: &[Name]) -> Held {
        for name in matched {
            self.hold(*name);
        }
        Held { resident: matched.to_vec(), own: 0 }
    }

    /// Takes `count` blocks: free ones, then those that were let go of first.
    pub(super) fn take(&mut self, held: &mut Held, count: u32) {
        for _ in 0..count {
            if self.free == 0 {
                let (_, name) = self.idle.pop_first().expect("whoever takes a block has looked whether there is one");
                self.entries[name] = None;
                self.told.push((name, false));
                self.evicted += 1;
                self.free += 1;
            }
            self.free -= 1;
            held.own += 1;
        }
    }

    /// The blocks of `names`, all that are full so far, become resident unless they are.
    pub(super) fn commit(&mut self, held: &mut Held, names: &[Name]) {
        if !self.prefix_caching {
            return;
        }
        while held.resident.len() < names.len() {
            let name = names[held.resident.len()];
            if self.entry(name).is_some() {
                self.hold(name);
                if self.duplicates == Duplicates::Merge {
                    held.own -= 1;
                    self.free += 1;
                }
            } else {
                self.entries.resize_with(self.entries.len().max(name + 1), || None);
                self.entries[name] = Some(Entry { holders: 1, released: 0 });
                self.told.push((name, true));
                held.own -= 1;
            }
            held.resident.push(name);
        }
    }

    pub(super) fn release(&mut self, held: &mut Held) {
        self.free += held.own;
        for name in held.resident.drain(..).rev() {
            let entry = self.entries[name].as_mut().expect("held blocks stay");
            entry.holders -= 1;
            if entry.holders == 0 {
                self.releases += 1;
                entry.released = self.releases;
                self.idle.insert(self.releases, name);
            }
        }
        held.own = 0;
    }
}
