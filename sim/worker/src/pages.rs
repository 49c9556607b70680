//! The KV cache of one worker: pages of halves in one piece of memory.
//!
//! A page holds the keys and values of some tokens (a block) in all layers, and lies in one piece, so that a block leaves
//! or enters as plain bytes: for each layer and head, keys by dimension, then values by token. Keys and values are rounded
//! to halves once, when written, and so a copy of a page is as good as the page.

use crate::kernel::{self, Kv, Level, Matrix};

/// Number of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId(pub u32);

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageShape {
    /// Layers.
    pub layers: usize,
    /// Heads of keys and values per layer.
    pub heads: usize,
    /// Values of a head.
    pub dim: usize,
    /// Tokens per page: the block size, a multiple of 8.
    pub tokens: usize,
}

impl PageShape {
    /// Halves of one head of one layer.
    fn head(&self) -> usize {
        2 * self.dim * self.tokens
    }

    /// Halves of a page.
    #[must_use]
    pub fn halves(&self) -> usize {
        self.layers * self.heads * self.head()
    }

    /// Bytes of a page.
    #[must_use]
    pub fn bytes(&self) -> usize {
        2 * self.halves()
    }
}

/// Pages, and what is in them.
#[derive(Debug)]
pub struct Pages {
    shape: PageShape,
    halves: Vec<u16>,
}

impl Pages {
    /// `count` pages of zeros. Memory is taken when a page is first written.
    ///
    /// # Panics
    /// Where a page has a number of tokens that is no multiple of 8.
    #[must_use]
    pub fn new(shape: PageShape, count: usize) -> Self {
        assert!(shape.tokens > 0 && shape.tokens.is_multiple_of(8), "pages hold a multiple of 8 tokens");
        Self { shape, halves: vec![0; shape.halves() * count] }
    }

    /// What a page holds.
    #[must_use]
    pub fn shape(&self) -> PageShape {
        self.shape
    }

    /// Pages.
    #[must_use]
    pub fn count(&self) -> usize {
        self.halves.len() / self.shape.halves()
    }

    /// All of a page.
    #[must_use]
    pub fn page(&self, page: PageId) -> &[u16] {
        &self.halves[page.0 as usize * self.shape.halves()..][..self.shape.halves()]
    }

    /// All of a page, to write.
    pub fn page_mut(&mut self, page: PageId) -> &mut [u16] {
        &mut self.halves[page.0 as usize * self.shape.halves()..][..self.shape.halves()]
    }

    fn place(&self, page: PageId, layer: usize, head: usize) -> usize {
        let PageShape { layers, heads, .. } = self.shape;
        ((page.0 as usize * layers + layer) * heads + head) * self.shape.head()
    }

    /// Writes keys and values of one token: `kv` is the keys of all heads, then the values of all heads; `halves` is room
    /// for as many.
    pub(crate) fn write(
        &mut self,
        level: Level,
        layer: usize,
        (page, slot): (PageId, usize),
        kv: &[f32],
        halves: &mut [u16],
    ) {
        let PageShape { heads, dim, tokens, .. } = self.shape;
        kernel::halve(level, kv, halves);
        let (keys, values) = halves.split_at(heads * dim);
        for (head, (keys, values)) in keys.chunks_exact(dim).zip(values.chunks_exact(dim)).enumerate() {
            let place = self.place(page, layer, head);
            let (by_dim, by_token) = self.halves[place..place + self.shape.head()].split_at_mut(dim * tokens);
            for (to, key) in by_dim[slot..].iter_mut().step_by(tokens).zip(keys) {
                *to = *key;
            }
            by_token[slot * dim..][..dim].copy_from_slice(values);
        }
    }

    /// One layer of what the sequences of a batch have in their pages.
    pub(crate) fn layer<'a>(&'a self, layer: usize, tables: &'a [&'a [PageId]]) -> impl Kv {
        Layer { pages: self, layer, tables }
    }
}

struct Layer<'a> {
    pages: &'a Pages,
    layer: usize,
    tables: &'a [&'a [PageId]],
}

impl Kv for Layer<'_> {
    fn page(&self) -> usize {
        self.pages.shape.tokens
    }

    fn head(&self, sequence: usize, page: usize, head: usize) -> &[u16] {
        let place = self.pages.place(self.tables[sequence][page], self.layer, head);
        &self.pages.halves[place..place + self.pages.shape.head()]
    }
}

/// Rows of `x` from column `from` on go to the pages of their positions.
pub(crate) fn write_rows(
    level: Level,
    pages: &mut Pages,
    layer: usize,
    (x, from): (&Matrix, usize),
    places: &[(PageId, usize)],
    halves: &mut Vec<u16>,
) {
    let PageShape { heads, dim, .. } = pages.shape;
    halves.resize(2 * heads * dim, 0);
    for (row, place) in places.iter().enumerate() {
        pages.write(level, layer, *place, &x.row(row)[from..][..2 * heads * dim], halves);
    }
}
