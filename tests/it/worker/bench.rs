//! Sequences on pages, computed in parts of any size.

use std::sync::{Arc, OnceLock};
use worker::kernel::Level;
use worker::model::{Compute, Model, Part, Want, tiny};
use worker::pages::{PageId, PageShape, Pages};

/// The model of seed 1.
pub(super) fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| Arc::new(tiny(1))))
}

/// So many tokens, always the same for a seed.
pub(super) fn prompt(n: usize, vocab: usize, seed: u64) -> Vec<u32> {
    let mut draws = sim::streams::Streams::new(seed).named("prompt");
    (0..n).map(|_| draws.below(vocab as u64) as u32).collect()
}

/// A worker's memory and threads.
pub(super) struct Bench {
    pub(super) model: Arc<Model>,
    pub(super) compute: Compute,
    pub(super) pages: Pages,
}

/// A sequence and its pages.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) tokens: Vec<u32>,
    pub(super) pages: Vec<PageId>,
    pub(super) computed: usize,
}

impl Bench {
    pub(super) fn new(model: &Arc<Model>, block: usize, pages: usize, threads: usize) -> Self {
        let shape = &model.shape;
        let shape = PageShape { layers: shape.layers, heads: shape.kv_heads, dim: shape.dim, tokens: block };
        let compute = Compute::new(Level::detect(), threads).expect("threads start");
        Self { model: Arc::clone(model), compute, pages: Pages::new(shape, pages) }
    }

    /// Computes so many further tokens of each, together; gives the bits of the scores after each one's last.
    pub(super) fn pass(&mut self, batch: &mut [(&mut Sequence, usize)]) -> Vec<Vec<u32>> {
        let parts: Vec<Part<'_>> = batch
            .iter()
            .map(|(sequence, n)| Part {
                tokens: &sequence.tokens[sequence.computed..sequence.computed + n],
                start: sequence.computed,
                pages: &sequence.pages,
                want: Want::Last,
            })
            .collect();
        let mut scores = vec![Vec::new(); parts.len()];
        self.model.forward(&mut self.compute, &mut self.pages, &parts, |part, _, values| {
            scores[part] = values.iter().map(|value| value.to_bits()).collect();
        });
        for (sequence, n) in batch {
            sequence.computed += *n;
        }
        scores
    }

    /// The bits of the scores after each token, computed at once.
    pub(super) fn all(&mut self, sequence: &Sequence) -> Vec<Vec<u32>> {
        let part = Part { tokens: &sequence.tokens, start: 0, pages: &sequence.pages, want: Want::All };
        let mut scores = Vec::new();
        self.model.forward(&mut self.compute, &mut self.pages, &[part], |_, token, values| {
            assert_eq!(token, scores.len());
            scores.push(values.iter().map(|value| value.to_bits()).collect());
        });
        scores
    }
}

impl Sequence {
    pub(super) fn new(tokens: Vec<u32>, pages: impl IntoIterator<Item = u32>) -> Self {
        Self { tokens, pages: pages.into_iter().map(PageId).collect(), computed: 0 }
    }
}
