//! Which page holds which block: the decisions of the cache, carried out.
//!
//! The core counts blocks and knows them by keys; it tells what it stores and evicts, and whom it admits. This follows
//! it, so that each page is free, private to one request, or resident under a key, and in exactly one of the three, as
//! the core's blocks are: there is a page for every block that the core says there is room for.

use crate::pages::PageId;
use kvcache::{BlockKey, Blocks, CacheEvent, Chain, Change, Piece, RequestId, Tokens};
use std::collections::BTreeMap;

/// A page's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Private(RequestId),
    /// Under a key. Whose page it was, while that request computes on it: where several computed the same, the core may have
    /// stored another's block and count this one as private still.
    Resident(Option<RequestId>),
}

/// The pages of one worker.
#[derive(Debug)]
pub struct Tables {
    block: Tokens,
    places: Vec<Place>,
    free: Vec<PageId>,
    resident: BTreeMap<BlockKey, PageId>,
    requests: BTreeMap<RequestId, Table>,
    /// Private pages whose blocks are full and computed, by key, in the order in which they became so.
    computed: BTreeMap<BlockKey, Vec<(RequestId, PageId)>>,
}

#[derive(Debug)]
struct Table {
    pieces: Vec<Piece>,
    pages: Vec<PageId>,
    /// Full blocks that were told as computed.
    full: Blocks,
    /// Tokens whose keys and values are in the pages.
    filled: Tokens,
}

impl Tables {
    /// `pages` free pages of `block` tokens.
    #[must_use]
    pub fn new(block: Tokens, pages: u32) -> Self {
        Self {
            block,
            places: vec![Place::Free; pages as usize],
            free: (0..pages).rev().map(PageId).collect(),
            resident: BTreeMap::new(),
            requests: BTreeMap::new(),
            computed: BTreeMap::new(),
        }
    }

    /// A request is here; `pieces` name its prompt and its reply.
    pub fn submit(&mut self, request: RequestId, pieces: Vec<Piece>) {
        self.requests.insert(request, Table { pieces, pages: Vec::new(), full: Blocks::ZERO, filled: Tokens::ZERO });
    }

    /// What its prompt and its reply are called from now on. Of its full blocks, none is called otherwise than before.
    pub fn name(&mut self, request: RequestId, pieces: Vec<Piece>) {
        if let Some(table) = self.requests.get_mut(&request) {
            table.pieces = pieces;
        }
    }

    /// Pages of a request, from its beginning.
    ///
    /// # Panics
    /// Where it is not here.
    #[must_use]
    pub fn pages(&self, request: RequestId) -> &[PageId] {
        &self.requests[&request].pages
    }

    /// Tokens of a request whose keys and values are in its pages, from its beginning.
    ///
    /// # Panics
    /// Where it is not here.
    #[must_use]
    pub fn filled(&self, request: RequestId) -> Tokens {
        self.requests[&request].filled
    }

    /// Full blocks of a request that are computed, or were found.
    ///
    /// # Panics
    /// Where it is not here.
    #[must_use]
    pub fn full(&self, request: RequestId) -> Blocks {
        self.requests[&request].full
    }

    /// The cache changed.
    ///
    /// # Panics
    /// Where it stores what nobody has computed: a bug.
    pub fn hear(&mut self, event: &CacheEvent) {
        match &event.change {
            Change::Stored { start, upto, pieces, .. } => {
                for key in keys(pieces, self.block, *start, *upto) {
                    self.store(key);
                }
            }
            Change::Evicted { left, pieces, .. } => {
                let upto = pieces.last().map_or(*left, |piece| piece.end);
                // The last piece may go on behind what was resident of it.
                for key in keys(pieces, self.block, *left, upto) {
                    if let Some(page) = self.resident.remove(&key) {
                        self.evict(key, page);
                    }
                }
            }
            Change::Cleared => {
                self.resident.clear();
                self.computed.clear();
                self.requests.values_mut().for_each(|table| table.pages.clear());
                self.places.fill(Place::Free);
                self.free = (0..self.places.len() as u32).rev().map(PageId).collect();
            }
        }
    }

    fn store(&mut self, key: BlockKey) {
        if self.resident.contains_key(&key) {
            return;
        }
        let copies = self.computed.get_mut(&key).filter(|copies| !copies.is_empty());
        // All copies are alike, so it does not matter which one the core means; see `evict`.
        let (owner, page) = copies.expect("what is stored has been computed").remove(0);
        self.places[page.0 as usize] = Place::Resident(Some(owner));
        self.resident.insert(key, page);
    }

    /// A page holds nothing that others may find any more. Whoever stored a block holds it, so nobody does here: a request
    /// that computes on this page has it for itself, as the core counts it, and may store it later.
    fn evict(&mut self, key: BlockKey, page: PageId) {
        match self.places[page.0 as usize] {
            Place::Resident(Some(owner)) => {
                self.places[page.0 as usize] = Place::Private(owner);
                self.computed.entry(key).or_default().push((owner, page));
            }
            _ => self.give_back(page),
        }
    }

    fn give_back(&mut self, page: PageId) {
        self.places[page.0 as usize] = Place::Free;
        self.free.push(page);
    }

    /// A request was admitted with its first `cached` tokens resident.
    ///
    /// # Panics
    /// Where they are not: a bug.
    pub fn admit(&mut self, request: RequestId, cached: Tokens) {
        let table = self.requests.get_mut(&request).expect("who is admitted is here");
        let found = keys(&table.pieces, self.block, Tokens::ZERO, cached);
        table.pages = found.map(|key| *self.resident.get(&key).expect("what is found is resident")).collect();
        table.full = Blocks(table.pages.len() as u32);
        table.filled = cached;
    }

    /// A request gets pages for its first `upto` tokens.
    ///
    /// # Panics
    /// Where there is none: a bug, since the core has counted.
    pub fn grow(&mut self, request: RequestId, upto: Tokens) {
        let table = self.requests.get_mut(&request).expect("who is computed is here");
        while table.pages.len() < upto.blocks(self.block).0 as usize {
            let page = self.free.pop().expect("the core has counted blocks");
            self.places[page.0 as usize] = Place::Private(request);
            table.pages.push(page);
        }
    }

    /// A request's tokens up to `upto` are computed, or were loaded. To be told in the order of the pass.
    pub fn computed(&mut self, request: RequestId, upto: Tokens) {
        let Some(table) = self.requests.get_mut(&request) else { return };
        let full = upto.full_blocks(self.block);
        let new = keys(&table.pieces, self.block, table.full.tokens(self.block), full.tokens(self.block));
        for (key, at) in new.zip(table.full.0..) {
            let page = table.pages[at as usize];
            self.computed.entry(key).or_default().push((request, page));
        }
        table.full = table.full.max(full);
        table.filled = table.filled.max(upto);
    }

    /// A request gave up its blocks, and may come again.
    pub fn preempt(&mut self, request: RequestId) {
        let Some(table) = self.requests.get_mut(&request) else { return };
        let pages = std::mem::take(&mut table.pages);
        for key in keys(&table.pieces, self.block, Tokens::ZERO, table.full.tokens(self.block)) {
            if let Some(copies) = self.computed.get_mut(&key) {
                copies.retain(|(other, _)| *other != request);
                if copies.is_empty() {
                    self.computed.remove(&key);
                }
            }
        }
        (table.full, table.filled) = (Blocks::ZERO, Tokens::ZERO);
        for page in pages {
            let place = &mut self.places[page.0 as usize];
            if *place == Place::Resident(Some(request)) {
                *place = Place::Resident(None);
            } else if *place == Place::Private(request) {
                self.give_back(page);
            }
        }
    }

    /// A request has ended.
    pub fn end(&mut self, request: RequestId) {
        self.preempt(request);
        self.requests.remove(&request);
    }

    /// Requests that are here.
    #[must_use]
    pub fn live(&self) -> usize {
        self.requests.len()
    }

    /// Asserts that each page is in one place, and that there are as many of each as the core counts.
    ///
    /// # Panics
    /// Where not: a bug.
    pub fn check(&self, usage: kvcache::Usage) {
        let count =
            |wanted: fn(&Place) -> bool| Blocks(self.places.iter().filter(|place| wanted(place)).count() as u32);
        assert_eq!(self.free.len(), count(|place| *place == Place::Free).0 as usize, "free pages are listed");
        let resident = count(|place| matches!(place, Place::Resident(_)));
        assert_eq!(self.resident.len(), resident.0 as usize, "resident ones are known");
        assert_eq!(resident, usage.held + usage.idle, "as many resident as the core says");
        // Between a plan and its pass the core has reserved what is not handed out here yet.
        assert!(
            count(|place| matches!(place, Place::Private(_))) <= usage.private,
            "no more private than the core says"
        );
    }
}

/// The keys of the blocks from token `from` up to token `upto`, which end in `pieces`.
fn keys(pieces: &[Piece], block: Tokens, from: Tokens, upto: Tokens) -> impl Iterator<Item = BlockKey> + use<'_> {
    let (first, last) = (from.0 / block.0, upto.0 / block.0);
    let chain = (first < last).then(|| Chain::new(pieces, block));
    chain.into_iter().flat_map(move |chain| (first..last).map(move |at| chain.key(Blocks(at))))
}
