//! Many lists over one vector: a slice hangs in one list at most, and is found in it, moved and taken out in O(1).

use super::super::slices::SliceId;
use alloc::vec::Vec;

/// Of one slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<T> {
    older: SliceId,
    newer: SliceId,
    list: u8, // NOWHERE: in none
    /// It may not go now.
    pub(super) pinned: bool,
    pub(super) tokens: u64,
    /// What else the policy knows of it.
    pub(super) with: T,
}

const NOWHERE: u8 = u8::MAX;

#[derive(Clone, Copy, Debug)]
struct List {
    oldest: SliceId,
    newest: SliceId,
    tokens: u64,
}

/// `N` lists of slices, each from the oldest to the newest.
#[derive(Debug)]
pub(super) struct Lists<T, const N: usize> {
    entries: Vec<Entry<T>>,
    lists: [List; N],
}

impl<T: Copy + Default, const N: usize> Lists<T, N> {
    pub(super) fn new() -> Self {
        let empty = List { oldest: SliceId::NONE, newest: SliceId::NONE, tokens: 0 };
        Self { entries: Vec::new(), lists: [empty; N] }
    }

    /// Tokens of the slices in a list.
    pub(super) fn tokens(&self, list: u8) -> u64 {
        self.lists[list as usize].tokens
    }

    /// Tokens of the slices in all lists.
    pub(super) fn all_tokens(&self) -> u64 {
        self.lists.iter().map(|list| list.tokens).sum()
    }

    pub(super) fn at(&mut self, slice: SliceId) -> &mut Entry<T> {
        &mut self.entries[slice.index()]
    }

    /// Which list a slice hangs in.
    pub(super) fn list_of(&self, slice: SliceId) -> u8 {
        self.entries[slice.index()].list
    }

    /// Makes a slice known, as the newest of a list.
    pub(super) fn enter(&mut self, list: u8, slice: SliceId, tokens: u64, pinned: bool) {
        self.make_known(slice, tokens, pinned);
        self.append(list, slice);
    }

    /// Makes a slice known that hangs in no list yet.
    pub(super) fn make_known(&mut self, slice: SliceId, tokens: u64, pinned: bool) {
        let (older, newer) = (SliceId::NONE, SliceId::NONE);
        let entry = Entry { older, newer, list: NOWHERE, pinned, tokens, with: T::default() };
        if slice.index() >= self.entries.len() {
            self.entries.resize(slice.index() + 1, Entry { pinned: true, tokens: 0, ..entry });
        }
        debug_assert_eq!(self.entries[slice.index()].list, NOWHERE, "a slice is in one list at most");
        self.entries[slice.index()] = entry;
    }

    /// Makes it the newest of a list.
    pub(super) fn move_to(&mut self, list: u8, slice: SliceId) {
        self.take_out(slice);
        self.append(list, slice);
    }

    /// Makes what hangs in no list the newest of one.
    pub(super) fn append(&mut self, list: u8, slice: SliceId) {
        self.link(list, slice, self.lists[list as usize].newest, SliceId::NONE);
    }

    fn link(&mut self, list: u8, slice: SliceId, older: SliceId, newer: SliceId) {
        let entry = self.at(slice);
        (entry.older, entry.newer, entry.list) = (older, newer, list);
        let tokens = entry.tokens;
        self.lists[list as usize].tokens += tokens;
        self.join(list, older, slice);
        self.join(list, slice, newer);
    }

    /// Makes two neighbours in a list, of which one may be its end.
    fn join(&mut self, list: u8, older: SliceId, newer: SliceId) {
        if older == SliceId::NONE {
            self.lists[list as usize].oldest = newer;
        } else {
            self.at(older).newer = newer;
        }
        if newer == SliceId::NONE {
            self.lists[list as usize].newest = older;
        } else {
            self.at(newer).older = older;
        }
    }

    pub(super) fn take_out(&mut self, slice: SliceId) {
        let Entry { older, newer, list, tokens, .. } = *self.at(slice);
        self.lists[list as usize].tokens -= tokens;
        self.join(list, older, newer);
        self.at(slice).list = NOWHERE;
    }

    pub(super) fn reweigh(&mut self, slice: SliceId, tokens: u64) {
        let entry = self.at(slice);
        let (list, before) = (entry.list, entry.tokens);
        entry.tokens = tokens;
        let list = &mut self.lists[list as usize];
        list.tokens = list.tokens + tokens - before;
    }

    /// `upper` comes to be, equal to `lower` and right behind it.
    pub(super) fn split(&mut self, lower: SliceId, lower_tokens: u64, upper: SliceId, upper_tokens: u64) {
        self.reweigh(lower, lower_tokens);
        let Entry { list, newer, pinned, with, .. } = *self.at(lower);
        self.make_known(upper, upper_tokens, pinned);
        self.at(upper).with = with;
        self.link(list, upper, lower, newer);
    }

    /// The oldest of a list that may go. O(pinned slices before it).
    pub(super) fn oldest(&self, list: u8) -> Option<SliceId> {
        let mut slice = self.lists[list as usize].oldest;
        while slice != SliceId::NONE {
            let entry = &self.entries[slice.index()];
            if !entry.pinned {
                return Some(slice);
            }
            slice = entry.newer;
        }
        None
    }

    /// Slices that may go. O(slices).
    pub(super) fn evictable(&self) -> usize {
        self.entries.iter().filter(|entry| entry.list != NOWHERE && !entry.pinned).count()
    }
}
