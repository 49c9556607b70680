//! The tree of runs: which blocks are resident, who holds them, and which goes next.
//!
//! A *run* is a stretch of consecutive blocks of one fate: the same holders, the same last release. A request of a
//! trace adds one run of hundreds of blocks, and a look-up costs the runs on its path, not its blocks.
//!
//! Invariants ([`Runs::check`] asserts them):
//! * a holder of a run holds the runs above it, so `refs` never grows on the way down;
//! * runs that nobody holds hang in one list, in order of their release, deeper first; hence the list's head is always
//!   a leaf, and eating it from its last block backwards *is* least-recently-used eviction block by block, leaf first;
//! * a holder remembers only its deepest run; a split gives the new number to the upper part, so this stays right;
//! * `first` finds a run by its first block and nothing else: a key names its whole past, so one map serves all runs;
//! * runs of one label lie on one way through the tree, each below the one before, so that the last of them ends it.

use crate::chain::{BlockKey, Chain};
use crate::event::StrandId;
use crate::keyed::KeyMap;
use crate::label::{LabelId, Labels};
use crate::units::{Blocks, Tokens};
use alloc::vec;
use alloc::vec::Vec;

/// A run's number. The root is a run of no blocks above all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId(u32);

impl RunId {
    pub(crate) const ROOT: Self = Self(0);
    const NONE: Self = Self(u32::MAX);
}

#[derive(Debug)]
struct Run {
    label: LabelId,
    start: Blocks, // the first block, counted from the start of the prompt
    len: Blocks,
    refs: u32,     // holders
    children: u32, // runs right below
    parent: RunId,
    newer: RunId, // neighbours in the list of idle runs
    older: RunId,
}

/// What a look-up found. Valid until the tree changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) blocks: Blocks,
    /// Found blocks that nobody holds: they count as available until they are pinned.
    pub(crate) idle: Blocks,
    run: RunId,
    inside: Blocks, // found blocks of `run`
}

impl Path {
    pub(crate) const NOTHING: Self =
        Self { blocks: Blocks::ZERO, idle: Blocks::ZERO, run: RunId::ROOT, inside: Blocks::ZERO };
}

/// What a commit did.
pub(crate) struct Committed {
    /// The holder's deepest run now.
    pub(crate) leaf: RunId,
    /// Blocks that were resident already: the holder's own are copies.
    pub(crate) copies: Blocks,
}

/// Blocks that came or went: `from..to` of the chain that `label` names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) label: LabelId,
    pub(crate) from: Blocks,
    pub(crate) to: Blocks,
}

#[derive(Debug)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    vacant: Vec<RunId>,
    first: KeyMap<RunId>,
    pub(crate) labels: Labels,
    oldest: RunId,
    newest: RunId,
    pub(crate) resident: Blocks,
    pub(crate) idle: Blocks,
    pub(crate) evicted: u64,
}

impl Runs {
    pub(crate) fn new(unit: Tokens) -> Self {
        let root = Run {
            label: LabelId::default(),
            start: Blocks::ZERO,
            len: Blocks::ZERO,
            refs: 1,
            children: 0,
            parent: RunId::ROOT,
            newer: RunId::NONE,
            older: RunId::NONE,
        };
        Self {
            runs: vec![root],
            vacant: Vec::new(),
            first: KeyMap::default(),
            labels: Labels::new(unit),
            oldest: RunId::NONE,
            newest: RunId::NONE,
            resident: Blocks::ZERO,
            idle: Blocks::ZERO,
            evicted: 0,
        }
    }

    fn at(&self, id: RunId) -> &Run {
        &self.runs[id.0 as usize]
    }

    fn at_mut(&mut self, id: RunId) -> &mut Run {
        &mut self.runs[id.0 as usize]
    }

    /// The child of `run` that begins with the block whose key is asked for, if it is one.
    fn child(&self, run: RunId, key: impl FnOnce() -> BlockKey) -> Option<RunId> {
        if self.at(run).children == 0 { None } else { self.first.get(&key().0).copied() }
    }

    /// The longest resident prefix of `chain` within its first `limit` blocks. Changes nothing.
    pub(crate) fn find(&self, chain: Chain<'_>, limit: Blocks) -> Path {
        let limit = limit.min(chain.tokens().full_blocks(chain.unit()));
        let (mut path, mut piece) = (Path::NOTHING, Some(0));
        while path.blocks < limit {
            let key = || piece.map_or_else(|| chain.key(path.blocks), |piece| chain.key_near(path.blocks, piece));
            let Some(id) = self.child(path.run, key) else { break };
            let run = self.at(id);
            let (inside, last) = self.labels.agree(run.label, chain, path.blocks, run.len.min(limit - path.blocks));
            piece = last;
            path = Path {
                blocks: path.blocks + inside,
                idle: if run.refs == 0 { path.idle + inside } else { path.idle },
                run: id,
                inside,
            };
            if inside < run.len {
                break;
            }
        }
        path
    }

    /// Holds what `path` found; gives the deepest run held.
    pub(crate) fn pin(&mut self, path: Path) -> RunId {
        let cut = path.run != RunId::ROOT && path.inside < self.at(path.run).len;
        let leaf = if cut { self.split(path.run, path.inside) } else { path.run };
        let mut id = leaf;
        while id != RunId::ROOT {
            self.hold(id);
            id = self.at(id).parent;
        }
        leaf
    }

    /// Blocks `from..to` of `chain`, computed by a holder of `leaf` (which ends at `from`), become resident.
    /// `added` is told what is new, and the label of what it goes on.
    pub(crate) fn commit(
        &mut self,
        chain: Chain<'_>,
        mut leaf: RunId,
        from: Blocks,
        to: Blocks,
        mut added: impl FnMut(&Labels, Extent, Option<LabelId>),
    ) -> Committed {
        let mut done = from;
        while done < to {
            let Some(id) = self.child(leaf, || chain.key(done)) else { break };
            let run = self.at(id);
            let same = self.labels.common(run.label, chain, done, run.len.min(to - done));
            assert!(same > Blocks::ZERO, "two blocks share a key");
            leaf = if same < run.len { self.split(id, same) } else { id };
            self.hold(leaf);
            done += same;
        }
        let copies = done - from;
        if done < to {
            let behind = self.label_of(leaf);
            leaf = self.extend(chain, leaf, done, to);
            self.resident += to - done;
            added(&self.labels, Extent { label: self.at(leaf).label, from: done, to }, behind);
        }
        Committed { leaf, copies }
    }

    /// New blocks `from..to` behind `leaf`: its run grows where only their holder holds it, else they are a new run.
    fn extend(&mut self, chain: Chain<'_>, leaf: RunId, from: Blocks, to: Blocks) -> RunId {
        let run = self.at(leaf);
        if leaf == RunId::ROOT || run.refs > 1 || run.children > 0 {
            self.at_mut(leaf).children += 1;
            let label = self.labels.keep(chain, from);
            return self.add(
                chain.key(from),
                Run {
                    label,
                    start: from,
                    len: to - from,
                    refs: 1,
                    children: 0,
                    parent: leaf,
                    newer: RunId::NONE,
                    older: RunId::NONE,
                },
            );
        }
        let label = run.label;
        if self.labels.common(label, chain, from, to - from) < to - from {
            // It is the last of its label: what was below it has gone.
            self.labels.relabel(label, chain);
        }
        self.at_mut(leaf).len += to - from;
        leaf
    }

    /// A holder of `leaf` lets go of it and of all above it. What nobody holds now becomes the most recent.
    pub(crate) fn release(&mut self, leaf: RunId) {
        let mut id = leaf;
        while id != RunId::ROOT {
            let run = self.at_mut(id);
            run.refs -= 1;
            let (idle, len, parent) = (run.refs == 0, run.len, run.parent);
            if idle {
                self.idle += len;
                self.link_behind(id, self.newest);
            }
            id = parent;
        }
    }

    /// Evicts `count` idle blocks, least recently released first, of those the deepest first. `gone` is told which.
    pub(crate) fn evict(&mut self, mut count: Blocks, mut gone: impl FnMut(&Labels, Extent)) {
        assert!(count <= self.idle, "only idle blocks can be evicted");
        self.evicted += u64::from(count.0);
        self.idle -= count;
        self.resident -= count;
        while count > Blocks::ZERO {
            let id = self.oldest;
            let run = self.at_mut(id);
            debug_assert!(run.children == 0 && run.refs == 0, "the oldest idle run is a leaf");
            let taken = count.min(run.len);
            let end = run.start + run.len;
            run.len -= taken;
            count -= taken;
            let (label, empty) = (run.label, run.len == Blocks::ZERO);
            gone(&self.labels, Extent { label, from: end - taken, to: end });
            if empty {
                self.remove(id);
            }
        }
    }

    /// Of the root there is none.
    fn label_of(&self, id: RunId) -> Option<LabelId> {
        (id != RunId::ROOT).then(|| self.at(id).label)
    }

    fn remove(&mut self, id: RunId) {
        let (label, start, parent) = (self.at(id).label, self.at(id).start, self.at(id).parent);
        let key = self.labels.key(label, start);
        self.first.remove(&key.0);
        self.at_mut(parent).children -= 1;
        self.unlink(id);
        self.labels.drop_one(label);
        self.vacant.push(id);
    }

    /// All resident blocks, run by run, each run behind the one that it hangs below, whose label comes with it.
    pub(crate) fn extents(&self) -> Vec<(Extent, Option<LabelId>)> {
        let of = |run: &Run| {
            let extent = Extent { label: run.label, from: run.start, to: run.start + run.len };
            (extent, self.label_of(run.parent))
        };
        // The root has no blocks, and a run that is gone has none left.
        let mut extents: Vec<_> = self.runs.iter().filter(|run| run.len > Blocks::ZERO).map(of).collect();
        // A run begins where the one above it ends, so behind where that begins.
        extents.sort_by_key(|(extent, _)| extent.from);
        extents
    }

    fn hold(&mut self, id: RunId) {
        if self.at(id).refs == 0 {
            self.idle -= self.at(id).len;
            self.unlink(id);
        }
        self.at_mut(id).refs += 1;
    }

    /// Cuts the first `at` blocks off a run into a new run above it, and gives that one's number.
    fn split(&mut self, lower: RunId, at: Blocks) -> RunId {
        let run = self.at_mut(lower);
        let (label, start, refs, parent) = (run.label, run.start, run.refs, run.parent);
        run.start += at;
        run.len -= at;
        self.labels.share(label);
        let key = self.labels.key(label, start);
        let upper = self
            .add(key, Run { label, start, len: at, refs, children: 1, parent, newer: RunId::NONE, older: RunId::NONE });
        self.at_mut(lower).parent = upper;
        let below = self.labels.key(label, start + at);
        self.first.insert(below.0, lower);
        if refs == 0 {
            // Both parts were released at one moment: the upper one goes right after the lower one.
            self.link_behind(upper, lower);
        }
        upper
    }

    fn add(&mut self, key: BlockKey, run: Run) -> RunId {
        let id = if let Some(id) = self.vacant.pop() {
            self.runs[id.0 as usize] = run;
            id
        } else {
            self.runs.push(run);
            RunId(self.runs.len() as u32 - 1)
        };
        self.first.insert(key.0, id);
        id
    }

    /// Hangs an idle run into the list, right behind `older`.
    fn link_behind(&mut self, id: RunId, older: RunId) {
        let newer = if older == RunId::NONE { self.oldest } else { self.at(older).newer };
        let run = self.at_mut(id);
        (run.older, run.newer) = (older, newer);
        if older == RunId::NONE {
            self.oldest = id;
        } else {
            self.at_mut(older).newer = id;
        }
        if newer == RunId::NONE {
            self.newest = id;
        } else {
            self.at_mut(newer).older = id;
        }
    }

    fn unlink(&mut self, id: RunId) {
        let (older, newer) = (self.at(id).older, self.at(id).newer);
        if older == RunId::NONE {
            self.oldest = newer;
        } else {
            self.at_mut(older).newer = newer;
        }
        if newer == RunId::NONE {
            self.newest = older;
        } else {
            self.at_mut(newer).older = older;
        }
    }

    /// Asserts the invariants of the module. O(runs).
    pub(crate) fn check(&self) {
        let mut live = vec![true; self.runs.len()];
        for id in &self.vacant {
            live[id.0 as usize] = false;
        }
        let mut children = vec![0; self.runs.len()];
        let (mut count, mut resident, mut idle) = (0, Blocks::ZERO, Blocks::ZERO);
        for (index, run) in self.runs.iter().enumerate().skip(1).filter(|(index, _)| live[*index]) {
            let parent = self.at(run.parent);
            assert!(live[run.parent.0 as usize], "a run hangs below a vacant one");
            assert!(run.len > Blocks::ZERO, "a run is not empty");
            assert!(run.refs <= parent.refs || run.parent == RunId::ROOT, "a holder holds all above");
            assert_eq!(run.start, parent.start + parent.len, "a run begins where its parent ends");
            let key = self.labels.key(run.label, run.start);
            assert_eq!(self.first.get(&key.0), Some(&RunId(index as u32)), "a run is found by its first block");
            children[run.parent.0 as usize] += 1;
            count += 1;
            resident += run.len;
            if run.refs == 0 {
                idle += run.len;
            }
        }
        assert_eq!((count, resident, idle), (self.first.len(), self.resident, self.idle), "counters");
        assert!(self.runs.iter().zip(&children).zip(&live).all(|((run, n), live)| !live || run.children == *n));
        assert_eq!(self.labels.count().1 as usize, count, "each run has one label");
        self.check_labels(&live);
        self.check_list(&live, children);
    }

    /// Of the runs of one label each but the uppermost hangs below another, and no two below the same.
    fn check_labels(&self, live: &[bool]) {
        let mut seen = vec![(0, 0); self.runs.len()]; // runs of a label, and those below another of it
        let mut above = vec![false; self.runs.len()];
        for (_, run) in self.runs.iter().enumerate().skip(1).filter(|(index, _)| live[*index]) {
            let label = StrandId::from(run.label).0 as usize;
            seen[label].0 += 1;
            if self.label_of(run.parent) == Some(run.label) {
                seen[label].1 += 1;
                assert!(!core::mem::replace(&mut above[run.parent.0 as usize], true), "a label does not branch");
            }
        }
        assert!(seen.iter().all(|(runs, below)| *runs == 0 || runs - below == 1), "a label is one way");
    }

    /// The list holds each idle run once, children before parents, linked both ways.
    fn check_list(&self, live: &[bool], mut waiting: Vec<u32>) {
        let (mut id, mut older, mut listed) = (self.oldest, RunId::NONE, Blocks::ZERO);
        while id != RunId::NONE {
            let run = self.at(id);
            assert!(live[id.0 as usize] && run.refs == 0 && run.older == older, "the list holds idle runs");
            assert_eq!(waiting[id.0 as usize], 0, "children come before their parents");
            waiting[run.parent.0 as usize] -= 1;
            listed += run.len;
            (older, id) = (id, run.newer);
        }
        assert_eq!((older, listed), (self.newest, self.idle), "the list holds every idle run");
    }
}
