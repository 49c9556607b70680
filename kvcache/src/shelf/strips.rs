//! The tree of strips: who is where.
//!
//! A *strip* is a stretch of at most 64 consecutive objects of one chain, or one tail. A strip's parent ends where it
//! begins, and the root is a strip of no objects above all others. `first` finds a strip by its first object and
//! nothing else: a key names its whole past, so one map serves all strips.

use super::slices::SliceId;
use crate::chain::{BlockKey, Chain};
use crate::keyed::KeyMap;
use crate::label::{LabelId, Labels};
use crate::units::{Blocks, Tokens};
use alloc::vec;
use alloc::vec::Vec;

/// A strip's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StripId(u32);

impl StripId {
    pub(super) const ROOT: Self = Self(0);

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of objects of one strip: object `i` of the strip is bit `i`.
pub(super) type Mask = u64;

/// The objects a strip can have: the bits of a [`Mask`].
pub(super) const LONGEST: Blocks = Blocks(Mask::BITS);

/// The first `count` objects of a strip.
pub(super) const fn below(count: Blocks) -> Mask {
    if count.0 >= Mask::BITS { Mask::MAX } else { (1 << count.0) - 1 }
}

/// The first `most` objects of a set.
pub(super) fn lowest(set: Mask, most: u64) -> Mask {
    let count = u64::from(set.count_ones());
    if most >= count {
        return set;
    }
    // Most sets have no gaps: take the first ones at once, and look whether that is right.
    let close = set & below(Blocks(set.trailing_zeros() + most as u32));
    if u64::from(close.count_ones()) == most {
        return close;
    }
    let mut rest = set;
    for _ in 0..most {
        rest &= rest - 1;
    }
    set & !rest
}

#[derive(Debug)]
pub(super) struct Strip {
    pub(super) key: BlockKey,  // of its first object
    last: BlockKey,            // of its last object
    pub(super) label: LabelId, // a tail has none
    pub(super) start: Blocks,  // the first object, counted from the start of the prompt
    pub(super) len: Blocks,
    pub(super) tail: Tokens, // what the object weighs where it is a tail, else zero
    pub(super) pins: u32,
    pub(super) children: u32,
    pub(super) parent: StripId,
    pub(super) slices: SliceId,
    pub(super) writer: u64, // whose objects are pending
    pub(super) ready: Mask,
    pub(super) pending: Mask,
    pub(super) doomed: Mask, // of the ready or pending ones: lost, they go when nobody holds them
}

impl Strip {
    /// Objects that are neither ready nor pending.
    pub(super) const fn absent(&self) -> Mask {
        !(self.ready | self.pending) & below(self.len)
    }

    /// Whether nothing needs it.
    const fn is_bare(&self) -> bool {
        self.ready | self.pending == 0 && self.pins == 0 && self.children == 0
    }
}

/// Ends of strips that are remembered: a power of two, and more than there are prompts under way.
const ENDS: usize = 1024;

#[derive(Debug)]
pub(super) struct Strips {
    strips: Vec<Strip>,
    vacant: Vec<StripId>,
    first: KeyMap<StripId>,
    ends: Vec<StripId>, // by their last object's key, of all that share a place the one that came last
    pub(super) labels: Labels,
}

impl Strips {
    pub(super) fn new(unit: Tokens) -> Self {
        let mut root = blank(BlockKey(0), LabelId::default(), Blocks::ZERO, Blocks::ZERO);
        root.pins = 1; // it is never removed
        let ends = vec![StripId::ROOT; ENDS];
        Self { strips: vec![root], vacant: Vec::new(), first: KeyMap::default(), ends, labels: Labels::new(unit) }
    }

    #[inline]
    pub(super) fn at(&self, id: StripId) -> &Strip {
        &self.strips[id.index()]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, id: StripId) -> &mut Strip {
        &mut self.strips[id.index()]
    }

    /// Where to begin a walk of `chain` to its object `at`: a strip above it, and where that ends. Prompts grow, and a
    /// key names its whole past: who goes on where a strip ends need not be led there from the root.
    pub(super) fn start(&self, chain: Chain<'_>, at: Blocks) -> (StripId, Blocks) {
        if at > Blocks::ZERO && at < chain.objects() {
            let last = chain.key(at - Blocks(1));
            let id = self.ends[last.0 as usize % ENDS];
            let strip = self.at(id);
            if strip.last == last && self.is_live(id) {
                debug_assert_eq!(strip.start + strip.len, at, "a key names its place");
                return (id, at);
            }
        }
        (StripId::ROOT, Blocks::ZERO)
    }

    /// The child of `above`, which ends at object `at` of `chain`, and how many of its objects, at most `most`, the
    /// chain has.
    #[inline]
    pub(super) fn step(&self, above: StripId, chain: Chain<'_>, at: Blocks, most: Blocks) -> Option<(StripId, Blocks)> {
        if self.at(above).children == 0 {
            return None;
        }
        let id = *self.first.get(&chain.key(at).0)?;
        let strip = self.at(id);
        // A key names its whole past: where the last object is the same, all are.
        if strip.len == Blocks(1)
            || (strip.len <= most
                && chain.reaches(at + strip.len)
                && chain.key(at + strip.len - Blocks(1)) == strip.last)
        {
            return Some((id, strip.len));
        }
        let inside = self.labels.common(strip.label, chain, at, strip.len.min(most));
        assert!(inside > Blocks::ZERO, "two objects share a key");
        Some((id, inside))
    }

    /// A new strip of objects `start..start + len` of `chain` below `parent`, with nothing in it. `label` is that of a
    /// strip above it on the same chain, if one was made for it.
    pub(super) fn grow(
        &mut self,
        chain: Chain<'_>,
        parent: StripId,
        start: Blocks,
        len: Blocks,
        label: &mut Option<LabelId>,
    ) -> StripId {
        let end = (start + len).tokens(chain.unit());
        let is_tail = end > chain.tokens();
        let kept = match *label {
            _ if is_tail => LabelId::default(),
            Some(label) => {
                self.labels.share(label);
                label
            }
            None if parent != StripId::ROOT && self.labels.is_of(self.at(parent).label, chain) => {
                let above = self.at(parent).label;
                self.labels.share(above);
                *label.insert(above)
            }
            None => *label.insert(self.labels.keep(chain, start)),
        };
        let mut strip = blank(chain.key(start), kept, start, len);
        if len > Blocks(1) {
            strip.last = chain.key(start + len - Blocks(1));
        }
        strip.parent = parent;
        if is_tail {
            strip.tail = chain.tokens() - start.tokens(chain.unit());
        }
        self.at_mut(parent).children += 1;
        self.add(strip)
    }

    /// The strip ends after `len` objects; nothing is behind them.
    pub(super) fn shorten(&mut self, id: StripId, chain: Chain<'_>, len: Blocks) {
        let strip = self.at_mut(id);
        debug_assert!(strip.children == 0 && (strip.ready | strip.pending) & !below(len) == 0, "nothing is cut off");
        strip.len = len;
        let last = chain.key(strip.start + len - Blocks(1));
        strip.last = last;
        self.ends[last.0 as usize % ENDS] = id;
    }

    /// Joins two strips of `chain`, of which one is the other's only child. The lower one's number stays. Whose slices
    /// are whose is left to the caller.
    pub(super) fn join(&mut self, chain: Chain<'_>, upper: StripId, lower: StripId) {
        let Strip { key, label, start, len, parent, ready, doomed, .. } = *self.at(upper);
        let below = self.at(lower);
        debug_assert!(below.parent == upper && below.pending == 0, "neighbours, in which nothing is pending");
        let (below_key, below_label, whole) = (below.key, below.label, len + below.len);
        let label = if label == below_label || self.labels.common(label, chain, start, whole) == whole {
            label
        } else {
            self.labels.drop_one(label);
            self.labels.keep(chain, start)
        };
        self.labels.drop_one(below_label);
        let strip = self.at_mut(lower);
        (strip.key, strip.label, strip.start, strip.len, strip.parent) = (key, label, start, whole, parent);
        strip.ready = ready | strip.ready << len.0;
        strip.doomed = doomed | strip.doomed << len.0;
        self.first.remove(&below_key.0);
        self.first.insert(key.0, lower);
        self.at_mut(upper).len = Blocks::ZERO;
        self.vacant.push(upper);
    }

    /// Cuts the first `at` objects off a strip into a new one above it, and gives that one's number. Whose slices are
    /// whose is left to the caller.
    pub(super) fn split(&mut self, lower: StripId, at: Blocks) -> StripId {
        let Strip { key, label, start, parent, .. } = *self.at(lower);
        let below_key = self.labels.key(label, start + at);
        let last = self.labels.key(label, start + at - Blocks(1));
        self.labels.share(label);
        let strip = self.at_mut(lower);
        debug_assert!(at > Blocks::ZERO && at < strip.len, "a strip is cut inside");
        let mut upper = blank(key, label, start, at);
        upper.last = last;
        (upper.pins, upper.children, upper.parent, upper.writer) = (strip.pins, 1, parent, strip.writer);
        let above = below(at);
        (upper.ready, upper.pending, upper.doomed) = (strip.ready & above, strip.pending & above, strip.doomed & above);
        strip.ready >>= at.0;
        strip.pending >>= at.0;
        strip.doomed >>= at.0;
        strip.start += at;
        strip.len -= at;
        strip.key = below_key;
        let upper = self.add(upper);
        self.at_mut(lower).parent = upper;
        self.first.insert(below_key.0, lower);
        upper
    }

    fn add(&mut self, strip: Strip) -> StripId {
        let (key, last) = (strip.key, strip.last);
        let id = if let Some(id) = self.vacant.pop() {
            self.strips[id.index()] = strip;
            id
        } else {
            self.strips.push(strip);
            StripId(self.strips.len() as u32 - 1)
        };
        self.first.insert(key.0, id);
        self.ends[last.0 as usize % ENDS] = id;
        id
    }

    /// Removes the strip if nothing needs it, and those above that were needed only for its sake. Gives the lowest
    /// strip above it that stays.
    #[inline]
    pub(super) fn tidy(&mut self, id: StripId) -> StripId {
        let strip = self.at(id);
        if strip.is_bare() { self.remove(id) } else { strip.parent }
    }

    fn remove(&mut self, id: StripId) -> StripId {
        let mut above = self.at(id).parent;
        let mut strip = self.at(id);
        let mut bare = id;
        while strip.is_bare() {
            above = strip.parent;
            let (key, label, is_tail) = (strip.key, strip.label, strip.tail > Tokens::ZERO);
            debug_assert_eq!(strip.slices, SliceId::NONE, "a strip without objects has no slices");
            self.first.remove(&key.0);
            if !is_tail {
                self.labels.drop_one(label);
            }
            self.at_mut(bare).len = Blocks::ZERO;
            self.vacant.push(bare);
            self.at_mut(above).children -= 1;
            bare = above;
            strip = self.at(bare);
        }
        above
    }

    /// All strips but the root, in no order that means anything.
    pub(super) fn ids(&self) -> impl Iterator<Item = StripId> + use<> {
        (1..self.strips.len() as u32).map(StripId)
    }

    /// Whether it is one: numbers of strips that went are used again.
    pub(super) fn is_live(&self, id: StripId) -> bool {
        self.at(id).len > Blocks::ZERO
    }

    /// Asserts that the tree is one. O(strips).
    pub(super) fn check(&self) {
        let mut children = vec![0; self.strips.len()];
        let (mut count, mut labelled) = (0, 0);
        for id in self.ids().filter(|id| self.is_live(*id)) {
            let strip = self.at(id);
            let parent = self.at(strip.parent);
            assert!(strip.parent == StripId::ROOT || self.is_live(strip.parent), "a strip hangs below a vacant one");
            assert!(!strip.is_bare(), "what nothing needs is removed");
            assert_eq!(strip.start, parent.start + parent.len, "a strip begins where its parent ends");
            assert_eq!(self.first.get(&strip.key.0), Some(&id), "a strip is found by its first object");
            assert!(parent.tail == Tokens::ZERO, "nothing follows a tail");
            assert!(strip.len <= LONGEST && (strip.tail == Tokens::ZERO || strip.len == Blocks(1)));
            if strip.tail == Tokens::ZERO {
                let last = strip.start + strip.len - Blocks(1);
                let keys = (self.labels.key(strip.label, strip.start), self.labels.key(strip.label, last));
                assert_eq!((strip.key, strip.last), keys, "a label names its objects");
                labelled += 1;
            }
            children[strip.parent.index()] += 1;
            count += 1;
        }
        assert_eq!(
            (count, self.strips.len() - 1 - self.vacant.len()),
            (self.first.len(), count),
            "each has one number"
        );
        assert!(self.strips.iter().zip(&children).all(|(strip, n)| strip.len == Blocks::ZERO || strip.children == *n));
        assert_eq!(self.at(StripId::ROOT).children, children[0], "children of the root");
        assert_eq!(self.labels.count().1, labelled, "each strip but a tail has one label");
    }
}

fn blank(key: BlockKey, label: LabelId, start: Blocks, len: Blocks) -> Strip {
    Strip {
        key,
        last: key,
        label,
        start,
        len,
        tail: Tokens::ZERO,
        pins: 0,
        children: 0,
        parent: StripId::ROOT,
        slices: SliceId::NONE,
        writer: 0,
        ready: 0,
        pending: 0,
        doomed: 0,
    }
}
