//! The sizes of a model, and the angles of its positions.

use super::Unreadable;
use crate::kernel::Heads;

/// Sizes and constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Layers.
    pub layers: usize,
    /// Values of a token between layers.
    pub hidden: usize,
    /// Values inside a layer's second half.
    pub inner: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Values of a head.
    pub dim: usize,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// The epsilon of the norms.
    pub eps: f32,
    /// Tokens of context that it was trained for.
    pub context: usize,
    /// How positions turn heads.
    pub rope: Rope,
}

/// Rotary embedding: the angle of pair `i` at position `p` is `p` times `frequency[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Radians per position; half as many as a head has values.
    pub frequency: Vec<f64>,
}

impl Rope {
    /// `theta^(-2i/d)`, as in the RoFormer paper.
    #[must_use]
    pub fn plain(theta: f64, dim: usize) -> Self {
        Self { frequency: (0..dim / 2).map(|i| theta.powf(-2.0 * i as f64 / dim as f64)).collect() }
    }

    /// Each frequency divided by a factor.
    #[must_use]
    pub fn divided(mut self, factors: &[f32]) -> Self {
        for (frequency, factor) in self.frequency.iter_mut().zip(factors) {
            *frequency /= f64::from(*factor);
        }
        self
    }

    /// Llama 3.1's rule: waves longer than the trained context are slowed by `factor`, short ones are left, those between
    /// are mixed. (Hugging Face transformers, `rope_type: llama3`.)
    #[must_use]
    pub fn llama3(mut self, factor: f64, low: f64, high: f64, trained: f64) -> Self {
        for frequency in &mut self.frequency {
            let wave = 2.0 * std::f64::consts::PI / *frequency;
            let kept = ((trained / wave - low) / (high - low)).clamp(0.0, 1.0);
            *frequency = (1.0 - kept) * *frequency / factor + kept * *frequency;
        }
        self
    }

    /// The cosines, then the sines, of a position.
    pub fn angles(&self, position: usize, to: &mut [f32]) {
        let (cos, sin) = to.split_at_mut(self.frequency.len());
        for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(&self.frequency) {
            let (s, c) = (position as f64 * frequency).sin_cos();
            (*cos, *sin) = (c as f32, s as f32);
        }
    }
}

impl Shape {
    /// How heads are laid out.
    #[must_use]
    pub fn layout(&self) -> Heads {
        Heads { group: self.heads / self.kv_heads, kv: self.kv_heads, dim: self.dim }
    }

    /// Values of keys and values of a token in a layer.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        2 * self.kv_heads * self.dim
    }

    /// Refuses what the kernels cannot take.
    pub(super) fn checked(self) -> Result<Self, Unreadable> {
        let refuse = |what: String| Err(Unreadable::Unsupported(what));
        if self.layers == 0 || self.vocab == 0 || self.heads == 0 || self.kv_heads == 0 {
            return refuse("a model without layers, heads or vocabulary".into());
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return refuse(format!("{} query heads cannot share {} of keys and values", self.heads, self.kv_heads));
        }
        if !self.dim.is_multiple_of(16) || !self.hidden.is_multiple_of(32) || !self.inner.is_multiple_of(32) {
            return refuse(format!(
                "heads of {}, rows of {} and {}: kernels take heads in multiples of 16, rows in multiples of 32",
                self.dim, self.hidden, self.inner
            ));
        }
        if !(self.heads * self.dim).is_multiple_of(32) || self.rope.frequency.len() * 2 != self.dim {
            return refuse(format!("{} heads of {}", self.heads, self.dim));
        }
        Ok(self)
    }
}
