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
    fn wants(&self, at: usize) -> bool {
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
        mut scores: impl FnMut(usize, usize, &[f32]),
    ) {
        let mut wave: Vec<(usize, core::ops::Range<usize>)> = Vec::new();
        let mut rows = 0;
        for (at, part) in batch.iter().enumerate() {
            let room = part.pages.len() * pages.shape().tokens;
            assert!(!part.tokens.is_empty() && part.start + part.tokens.len() <= room, "tokens have places");
            let mut from = 0;
            while from < part.tokens.len() {
                let upto = part.tokens.len().min(from + WAVE - rows);
                wave.push((at, from..upto));
                rows += upto - from;
                from = upto;
                if rows == WAVE {
                    self.wave(compute, pages, batch, &wave, &mut scores);
                    wave.clear();
                    rows = 0;
                }
            }
        }
        if rows > 0 {
            self.wave(compute, pages, batch, &wave, &mut scores);
        }
    }

    fn wave(
        &self,
        compute: &mut Compute,
        pages: &mut Pages,
        batch: &[Part<'_>],
        wave: &[(usize, core::ops::Range<usize>)],
        scores: &mut impl FnMut(usize, usize, &[f32]),
    ) {
        let mut sequences = Vec::with_capacity(wave.len());
        let mut tables = Vec::with_capacity(wave.len());
        let (mut places, mut wanted, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        for (at, range) in wave {
            let part = &batch[*at];
            let start = part.start + range.start;
            sequences.push(Rows { rows: tokens.len()..tokens.len() + range.len(), start });
            tables.push(part.pages);
            for token in range.clone() {
                let position = part.start + token;
                let size = pages.shape().tokens;
                if part.wants(token) {
                    wanted.push((tokens.len(), *at, token));
                }
                places.push((part.pages[position / size], position % size));
                tokens.push((part.tokens[token], position));
            }
        }
        compute.begin(self, &tokens);
        for (at, layer) in self.layers.iter().enumerate() {
            let rows = Batch { at, layer, sequences: &sequences, tables: &tables, places: &places };
            compute.layer(self, pages, &rows);
        }
        // As many rows at a time as a tile takes: scores of a whole prompt would be large.
        for wanted in wanted.chunks(16) {
            let rows: Vec<usize> = wanted.iter().map(|(row, ..)| *row).collect();
            compute.scores(self, &rows);
            for (row, (_, part, token)) in wanted.iter().enumerate() {
                scores(*part, *token, &compute.scores.row(row)[..self.shape.vocab]);
            }
        }
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

    fn layer(&mut self, model: &Model, pages: &mut Pages, batch: &Batch<'_>) {
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
        kernel::attend(level, team, shape.layout(), (qkv, attended), batch.sequences, &kv, scratch);
        kernel::quantise(level, team, attended, rows, heads, acts);
        layer.out.apply(level, team, acts, x, true);
        kernel::norm(level, team, x, &every, &layer.inner_norm, shape.eps, acts);
        gates.reshape(rows, 2 * shape.inner);
        layer.gate_up.apply(level, team, acts, gates, false);
        kernel::gate(level, team, gates, rows, shape.inner, acts);
        layer.down.apply(level, team, acts, x, true);
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
