//! A model that needs no file: random weights from a seed, two layers, a token per byte.

use super::weights::Identifier;
use super::{Layer, Linear, Model, Rope, Shape, Unreadable};
use crate::kernel::{BLOCK, Eight, Four, Packed};
use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Tokens: 256 bytes, and one that ends a text.
const VOCAB: usize = 257;

/// The model of a seed: 2 layers, 256 wide, 4 query heads that share 2 of keys and values. Both kinds of weights occur.
#[must_use]
pub fn tiny(seed: u64) -> Model {
    let shape = Shape {
        layers: 2,
        hidden: 256,
        inner: 512,
        heads: 4,
        kv_heads: 2,
        dim: 64,
        vocab: VOCAB,
        eps: 1e-5,
        context: 8192,
        rope: Rope::plain(10_000.0, 64),
    };
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
    let layer = |draw: &mut Draw| Layer {
        attention_norm: draw.norm(256),
        qkv: Linear::new(vec![draw.four(256, 256), draw.four(128, 256), draw.four(128, 256)], None),
        out: Linear::new(vec![draw.eight(256, 256)], None),
        inner_norm: draw.norm(256),
        gate_up: Linear::new(vec![draw.four(512, 256), draw.four(512, 256)], None),
        down: Linear::new(vec![draw.eight(256, 512)], None),
    };
    let embedding = draw.eight(VOCAB, 256);
    let layers = vec![layer(&mut draw), layer(&mut draw)];
    let norm = draw.norm(256);
    let mut seen = Identifier::default();
    seen.saw("tiny", "seed", &seed.to_le_bytes());
    seen.held("q4_1");
    seen.held("q8_0");
    let identity = seen.finish("tiny".into(), &shape);
    Model { shape, identity, embedding, layers, norm, output: None }
}

/// A model of any sizes with random weights of 8 bits: what a file of that shape would cost to compute, without the file.
/// Its scores mean nothing.
///
/// # Errors
/// Where the kernels cannot take the sizes.
pub fn random(shape: Shape, seed: u64) -> Result<Model, Unreadable> {
    let shape = shape.checked()?;
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
    let (hidden, inner, heads, kv) = (shape.hidden, shape.inner, shape.heads * shape.dim, shape.kv_width() / 2);
    let layer = |draw: &mut Draw| Layer {
        attention_norm: draw.norm(hidden),
        qkv: Linear::new(vec![draw.bytes(heads, hidden), draw.bytes(kv, hidden), draw.bytes(kv, hidden)], None),
        out: Linear::new(vec![draw.bytes(hidden, heads)], None),
        inner_norm: draw.norm(hidden),
        gate_up: Linear::new(vec![draw.bytes(inner, hidden), draw.bytes(inner, hidden)], None),
        down: Linear::new(vec![draw.bytes(hidden, inner)], None),
    };
    let embedding = draw.bytes(shape.vocab, hidden);
    let layers = (0..shape.layers).map(|_| layer(&mut draw)).collect();
    let norm = draw.norm(hidden);
    let mut seen = Identifier::default();
    seen.saw("random", "seed", &seed.to_le_bytes());
    seen.held("q8_0");
    let identity = seen.finish("random".into(), &shape);
    Ok(Model { shape, identity, embedding, layers, norm, output: None })
}

struct Draw(ChaCha8Rng);

impl Draw {
    /// About normal, deviation 1: a sum of uniform values.
    fn one(&mut self) -> f32 {
        let uniform = (0..3).map(|_| self.0.next_u32() as f32 / u32::MAX as f32).sum::<f32>();
        2.0 * (uniform - 1.5)
    }

    fn norm(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| 1.0 + 0.1 * self.one()).collect()
    }

    fn floats(&mut self, n: usize, deviation: f32) -> Vec<f32> {
        (0..n).map(|_| deviation * self.one()).collect()
    }

    /// Weights that keep the size of what they are applied to.
    fn eight(&mut self, cols: usize, depth: usize) -> Packed {
        let floats = self.floats(cols * depth, 1.5 / (depth as f32).sqrt());
        Packed::eight(cols, depth, |col, at| {
            Eight::nearest(&core::array::from_fn(|k| floats[col * depth + at * BLOCK + k]))
        })
    }

    /// The same, uniform, at eight weights a draw.
    fn bytes(&mut self, cols: usize, depth: usize) -> Packed {
        // A uniform byte deviates by 74 steps.
        let scale = f16::from_f32(1.5 / 74.0 / (depth as f32).sqrt());
        let blocks = depth.div_ceil(BLOCK);
        let mut drawn = vec![0; cols * blocks * BLOCK];
        for eight in drawn.as_chunks_mut::<8>().0 {
            *eight = self.0.next_u64().to_le_bytes();
        }
        Packed::eight(cols, depth, |col, at| {
            let from = &drawn[(col * blocks + at) * BLOCK..][..BLOCK];
            Eight { scale, q: core::array::from_fn(|k| from[k].cast_signed().max(-127)) }
        })
    }

    fn four(&mut self, cols: usize, depth: usize) -> Packed {
        let floats = self.floats(cols * depth, 1.5 / (depth as f32).sqrt());
        Packed::four(cols, depth, true, |col, at| {
            let block: [f32; BLOCK] = core::array::from_fn(|k| floats[col * depth + at * BLOCK + k]);
            let (low, high) = block.iter().fold((0f32, 0f32), |(low, high), w| (low.min(*w), high.max(*w)));
            let half = |x: f32| f16::from_f32(x).to_f32();
            let (scale, least) = (half((high - low) / 15.0), half(low));
            Four { scale, least, q: block.map(|w| ((w - least) / scale).round().clamp(0.0, 15.0) as u8) }
        })
    }
}
