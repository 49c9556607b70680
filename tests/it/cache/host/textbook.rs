//! S3-FIFO, ARC and LFU as their authors wrote them down, for objects of one size, with lists that are searched.

use std::collections::VecDeque;

pub(super) type Key = u64;

/// A cache of a number of objects.
pub(super) trait Book {
    /// Somebody asks for an object, and writes it if it is not there. Gives whether it was.
    fn ask(&mut self, key: Key) -> bool;
    fn has(&self, key: Key) -> bool;
}

/// Yang et al., SOSP 2023, algorithm 1. Queues begin with their tail, the oldest.
pub(super) struct S3Fifo {
    capacity: usize,
    small: VecDeque<(Key, u8)>,
    main: VecDeque<(Key, u8)>,
    ghost: VecDeque<Key>,
}

impl S3Fifo {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, small: VecDeque::new(), main: VecDeque::new(), ghost: VecDeque::new() }
    }

    fn evict(&mut self) {
        if 10 * self.small.len() >= self.capacity { self.evict_small() } else { self.evict_main() }
    }

    fn evict_small(&mut self) {
        while let Some((key, freq)) = self.small.pop_front() {
            if freq > 1 {
                self.main.push_back((key, 0));
            } else {
                self.ghost.push_back(key);
                // As many ghosts as the main queue has room for.
                while 10 * self.ghost.len() > 9 * self.capacity {
                    self.ghost.pop_front();
                }
                return;
            }
        }
    }

    fn evict_main(&mut self) {
        while let Some((key, freq)) = self.main.pop_front() {
            if freq == 0 {
                return;
            }
            self.main.push_back((key, freq - 1));
        }
    }
}

impl Book for S3Fifo {
    fn ask(&mut self, key: Key) -> bool {
        if let Some((_, freq)) = self.small.iter_mut().chain(&mut self.main).find(|(known, _)| *known == key) {
            *freq = 3.min(*freq + 1);
            return true;
        }
        while self.small.len() + self.main.len() >= self.capacity {
            self.evict();
        }
        if let Some(at) = self.ghost.iter().position(|ghost| *ghost == key) {
            self.ghost.remove(at);
            self.main.push_back((key, 0));
        } else {
            self.small.push_back((key, 0));
        }
        false
    }

    fn has(&self, key: Key) -> bool {
        self.small.iter().chain(&self.main).any(|(known, _)| *known == key)
    }
}

/// Megiddo and Modha, FAST 2003, figure 4. Lists begin with their least recent. `p` counts tokens, rounded down,
/// where the paper has real numbers of objects.
pub(super) struct Arc {
    capacity: usize,
    tokens: usize, // of an object
    p: usize,
    t1: VecDeque<Key>,
    t2: VecDeque<Key>,
    b1: VecDeque<Key>,
    b2: VecDeque<Key>,
}

fn remove(list: &mut VecDeque<Key>, key: Key) -> bool {
    let at = list.iter().position(|known| *known == key);
    at.is_some_and(|at| list.remove(at).is_some())
}

impl Arc {
    pub(super) fn new(capacity: usize, tokens: usize) -> Self {
        let [t1, t2, b1, b2] = [const { VecDeque::new() }; 4];
        Self { capacity, tokens, p: 0, t1, t2, b1, b2 }
    }

    fn replace(&mut self, in_b2: bool) {
        let t1 = self.t1.len() * self.tokens;
        if !self.t1.is_empty() && (t1 > self.p || (in_b2 && t1 == self.p)) {
            let key = self.t1.pop_front().expect("it is not empty");
            self.b1.push_back(key);
        } else if let Some(key) = self.t2.pop_front() {
            self.b2.push_back(key);
        }
    }
}

impl Book for Arc {
    fn ask(&mut self, key: Key) -> bool {
        let c = self.capacity;
        // Case I.
        if remove(&mut self.t1, key) || remove(&mut self.t2, key) {
            self.t2.push_back(key);
            return true;
        }
        let (b1, b2) = (self.b1.len(), self.b2.len());
        if self.b1.contains(&key) {
            // Case II.
            let delta = if b1 >= b2 { self.tokens } else { self.tokens * b2 / b1 };
            self.p = (c * self.tokens).min(self.p + delta);
            self.replace(false);
            remove(&mut self.b1, key);
            self.t2.push_back(key);
        } else if self.b2.contains(&key) {
            // Case III.
            let delta = if b2 >= b1 { self.tokens } else { self.tokens * b1 / b2 };
            self.p = self.p.saturating_sub(delta);
            self.replace(true);
            remove(&mut self.b2, key);
            self.t2.push_back(key);
        } else {
            // Case IV.
            let (l1, l2) = (self.t1.len() + b1, self.t2.len() + b2);
            if l1 == c {
                if self.t1.len() < c {
                    self.b1.pop_front();
                    self.replace(false);
                } else {
                    self.t1.pop_front();
                }
            } else if l1 + l2 >= c {
                if l1 + l2 == 2 * c {
                    self.b2.pop_front();
                }
                self.replace(false);
            }
            self.t1.push_back(key);
        }
        false
    }

    fn has(&self, key: Key) -> bool {
        self.t1.contains(&key) || self.t2.contains(&key)
    }
}

/// Redis' `evict.c`, which samples its table; here, a list to whose end a key goes when it is used.
pub(super) struct Lfu {
    capacity: usize,
    keys: Vec<(Key, u8, u64)>, // counter, minute of the last use
    pool: Vec<(u8, Key)>,
    chance: u64,
    pub(super) minute: u64,
}

impl Lfu {
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        Self { capacity, keys: Vec::new(), pool: Vec::new(), chance: seed, minute: 0 }
    }

    fn draw(&mut self, below: usize) -> usize {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * below as u128) >> 64) as usize
    }

    /// `LFUDecrAndReturn`.
    fn counter(&self, (_, counter, minute): (Key, u8, u64)) -> u8 {
        counter.saturating_sub((self.minute - minute).min(255) as u8)
    }

    /// `evictionPoolPopulate`, then the best candidate that is still there.
    fn evict(&mut self) {
        loop {
            for _ in 0..5 {
                let at = self.draw(self.keys.len());
                let drawn = self.keys[at];
                let idle = 255 - self.counter(drawn);
                let mut k = 0;
                while k < self.pool.len() && self.pool[k].0 < idle {
                    k += 1;
                }
                if self.pool.len() == 16 {
                    if k == 0 {
                        continue;
                    }
                    self.pool.remove(0);
                    k -= 1;
                }
                self.pool.insert(k, (idle, drawn.0));
            }
            while let Some((_, key)) = self.pool.pop() {
                if let Some(at) = self.keys.iter().position(|(known, _, _)| *known == key) {
                    self.keys.swap_remove(at);
                    self.pool.retain(|(_, known)| *known != key);
                    return;
                }
            }
        }
    }
}

impl Book for Lfu {
    fn ask(&mut self, key: Key) -> bool {
        if let Some(at) = self.keys.iter().position(|(known, _, _)| *known == key) {
            let known = self.keys.swap_remove(at);
            let counter = self.counter(known);
            // `LFULogIncr`.
            let grows = self.draw(10 * usize::from(counter.saturating_sub(5)) + 1) == 0;
            self.keys.push((key, counter.saturating_add(u8::from(grows)), self.minute));
            return true;
        }
        if self.keys.len() == self.capacity {
            self.evict();
        }
        self.keys.push((key, 5, self.minute));
        false
    }

    fn has(&self, key: Key) -> bool {
        self.keys.iter().any(|(known, _, _)| *known == key)
    }
}
