//! A pass: rows of several sequences, prompts and single tokens mixed, through all layers.

use super::{Layer, Model};
use crate::kernel::{self, Acts, BLOCK, Into, Level, Matrix, PANEL, Rows, Scratch, Team};
use crate::pages::{PageId, Pages, write_rows};

/// Rows that go through the layers together: their activations stay in the cache. Changes no result.
const WAVE: usize = 256;

/// Tokens of one sequence that a pass computes.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The tokens.
    pub tokens: &'a [u32],
    /// Position of the first: so many are in the pages already.
    pub start: usize,
    /// Pages of the sequence from its beginning, with room for the tokens.
    pub pages: &'a [PageId],
    /// Whose scores are wanted.
    pub want: Want,
}

/// Whose scores are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nobody's: more of the prompt follows.
    Nothing,
    /// Those after the last token.
    Last,
    /// Those after each token.
    All,
}

impl Part<'_> {
    pub(crate) fn wants(&self, at: usize) -> bool {
        match self.want {
            Want::Nothing => false,
            Want::Last => at + 1 == self.tokens.len(),
            Want::All => true,
        }
    }
}

/// What computes: threads, and memory between them.
#[derive(Debug)]
pub struct Compute {
    level: Level,
    team: Team,
    x: Matrix,
    qkv: Matrix,
    attended: Matrix,
    gates: Matrix,
    scores: Matrix,
    acts: Acts,
    angles: Vec<f32>,
    halves: Vec<u16>,
    scratch: Vec<Scratch>,
}

impl Compute {
    /// With so many threads, at least 1, of which the caller's is one.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn new(level: Level, threads: usize) -> std::io::Result<Self> {
        let team = Team::new(threads)?;
        let scratch = (0..team.threads()).map(|_| Scratch::default()).collect();
        Ok(Self {
            level,
            team,
            x: Matrix::default(),
            qkv: Matrix::default(),
            attended: Matrix::default(),
            gates: Matrix::default(),
            scores: Matrix::default(),
            acts: Acts::default(),
            angles: Vec::new(),
            halves: Vec::new(),
            scratch,
        })
    }
}

impl Model {
    /// Computes a batch: keys and values go to the pages; `scores(part, token, values)` is told those that are wanted, one
    /// value per token of the vocabulary, in the order of the batch. Parts of one batch are of different sequences.
    ///
    /// # Panics
    /// Where a part is empty, has too few pages, or holds tokens that the vocabulary lacks.
    pub fn forward(
        &self,
        compute: &mut Compute,
        pages: &mut Pages,
        batch: &[Part<'_>],
        scores: impl FnMut(usize, usize, &[f32]),
    ) {
        self.forward_while(compute, pages, batch, |_| true, scores);
    }

    /// The same, as long as somebody wants it: `wanted(part)` is asked four times in each layer, and where no part of the
    /// rows under way is wanted any more, they end there. Gives which parts were computed. What the pages hold of the others'
    /// tokens counts for nothing, and the scores after their last ones were not told; those that were computed have the bits
    /// that they would have had.
    ///
    /// # Panics
    /// As [`Model::forward`].
    pub fn forward_while(
        &self,
        compute: &mut Compute,
        pages: &mut Pages,
        batch: &[Part<'_>],
        wanted: impl Fn(usize) -> bool,
        mut scores: impl FnMut(usize, usize, &[f32]),
    ) -> Vec<bool> {
        let size = pages.shape().tokens;
        let mut computed = vec![true; batch.len()];
        let mut wave: Vec<(usize, core::ops::Range<usize>)> = Vec::new();
        let mut rows = 0;
        let mut run = |wave: &mut Vec<(usize, core::ops::Range<usize>)>, computed: &mut Vec<bool>| {
            let any = || wave.iter().any(|(at, _)| wanted(*at));
            if !self.wave(compute, pages, batch, wave, &any, &mut scores) {
                wave.iter().for_each(|(at, _)| computed[*at] = false);
            }
            wave.clear();
        };
        for (at, part) in batch.iter().enumerate() {
            assert!(
                !part.tokens.is_empty() && part.start + part.tokens.len() <= part.pages.len() * size,
                "tokens have places"
            );
            let mut from = 0;
            // Of whom some rows were given up, the others are of no use.
            while from < part.tokens.len() && computed[at] {
                let upto = part.tokens.len().min(from + WAVE - rows);
                wave.push((at, from..upto));
                rows += upto - from;
                from = upto;
                if rows == WAVE {
                    run(&mut wave, &mut computed);
                    rows = 0;
                }
            }
        }
        if rows > 0 {
            run(&mut wave, &mut computed);
        }
        computed
    }

    /// Says whether the rows were computed: where they are not wanted any more, they end within the layer.
    fn wave(
        &self,
        compute: &mut Compute,
        pages: &mut Pages,
        batch: &[Part<'_>],
        wave: &[(usize, core::ops::Range<usize>)],
        wanted: &dyn Fn() -> bool,
        scores: &mut impl FnMut(usize, usize, &[f32]),
    ) -> bool {
        let mut sequences = Vec::with_capacity(wave.len());
        let mut tables = Vec::with_capacity(wave.len());
        let (mut places, mut sampled, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        for (at, range) in wave {
            let part = &batch[*at];
            let start = part.start + range.start;
            sequences.push(Rows { rows: tokens.len()..tokens.len() + range.len(), start });
            tables.push(part.pages);
            for token in range.clone() {
                let position = part.start + token;
                let size = pages.shape().tokens;
                if part.wants(token) {
                    sampled.push((tokens.len(), *at, token));
                }
                places.push((part.pages[position / size], position % size));
                tokens.push((part.tokens[token], position));
            }
        }
        compute.begin(self, &tokens);
        for (at, layer) in self.layers.iter().enumerate() {
            let rows = Batch { at, layer, sequences: &sequences, tables: &tables, places: &places };
            if !compute.layer(self, pages, &rows, wanted) {
                return false;
            }
        }
        // As many rows at a time as a tile takes: scores of a whole prompt would be large.
        for wanted in sampled.chunks(16) {
            let rows: Vec<usize> = wanted.iter().map(|(row, ..)| *row).collect();
            compute.scores(self, &rows);
            for (row, (_, part, token)) in wanted.iter().enumerate() {
                scores(*part, *token, &compute.scores.row(row)[..self.shape.vocab]);
            }
        }
        true
    }
}

struct Batch<'a> {
    at: usize,
    layer: &'a Layer,
    sequences: &'a [Rows],
    tables: &'a [&'a [PageId]],
    places: &'a [(PageId, usize)],
}

impl Compute {
    fn begin(&mut self, model: &Model, tokens: &[(u32, usize)]) {
        let shape = &model.shape;
        self.x.reshape(tokens.len(), shape.hidden);
        self.angles.resize(tokens.len() * shape.dim, 0.0);
        for (row, (token, position)) in tokens.iter().enumerate() {
            model.embedding.column(*token as usize, &mut self.x.row_mut(row)[..shape.hidden]);
            shape.rope.angles(*position, &mut self.angles[row * shape.dim..][..shape.dim]);
        }
    }

    /// Says whether it was computed to its end.
    fn layer(&mut self, model: &Model, pages: &mut Pages, batch: &Batch<'_>, wanted: &dyn Fn() -> bool) -> bool {
        let Self { level, team, x, qkv, attended, gates, acts, angles, halves, scratch, .. } = self;
        let (level, shape, layer) = (*level, &model.shape, batch.layer);
        let rows = x.rows();
        let every: Vec<usize> = (0..rows).collect();
        let heads = shape.heads * shape.dim;
        kernel::norm(level, team, x, &every, &layer.attention_norm, shape.eps, acts);
        qkv.reshape(rows, heads + shape.kv_width());
        layer.qkv.apply(level, team, acts, qkv, false);
        let angle = |row: usize| &angles[row * shape.dim..][..shape.dim];
        kernel::rotate(level, team, qkv, rows, (shape.heads + shape.kv_heads, shape.dim), angle);
        write_rows(level, pages, batch.at, (qkv, heads), batch.places, halves);
        attended.reshape(rows, heads);
        let kv = pages.layer(batch.at, batch.tables);
        if !wanted() {
            return false;
        }
        kernel::attend(level, team, shape.layout(), (qkv, attended), batch.sequences, &kv, scratch);
        kernel::quantise(level, team, attended, rows, heads, acts);
        layer.out.apply(level, team, acts, x, true);
        if !wanted() {
            return false;
        }
        kernel::norm(level, team, x, &every, &layer.inner_norm, shape.eps, acts);
        gates.reshape(rows, 2 * shape.inner);
        layer.gate_up.apply(level, team, acts, gates, false);
        kernel::gate(level, team, gates, rows, shape.inner, acts);
        if !wanted() {
            return false;
        }
        layer.down.apply(level, team, acts, x, true);
        wanted()
    }

    fn scores(&mut self, model: &Model, rows: &[usize]) {
        let Self { level, team, x, scores, acts, .. } = self;
        kernel::norm(*level, team, x, rows, &model.norm, model.shape.eps, acts);
        let output = model.output();
        debug_assert!(output.depth() <= output.blocks() * BLOCK);
        scores.reshape(rows.len(), output.panels() * PANEL);
        kernel::linear(*level, team, output, acts, scores, 0, Into::Set);
    }
}
