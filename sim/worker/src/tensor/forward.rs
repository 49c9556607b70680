//! A pass in tensors: linears once for all rows, attention per sequence.

use super::pages::{Slots, TensorPages};
use super::weights::{TensorLayer, TensorModel};
use crate::model::Part;
use candle_core::{DType, Result, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::rope_thd;

/// Query rows that attend together: their products with all keys are in memory at once.
const ROWS: usize = 256;

/// Some rows of a sequence that attend together.
struct Rows {
    /// The first, in the batch, and how many.
    first: usize,
    count: usize,
    /// Where the keys and values that the last of them sees lie.
    slots: Slots,
    /// `[rows, keys]`: 0 where a row sees a key, else minus infinity. `None`: a single row sees all.
    mask: Option<Tensor>,
}

impl TensorModel {
    /// As [`crate::model::Model::forward_while`], but that `wanted` is asked once a layer, and nothing of a batch is computed
    /// where no part is wanted any more.
    ///
    /// # Errors
    /// Where the device has not the memory, or fails.
    ///
    /// # Panics
    /// Where a part is empty, has too few pages, or holds tokens that the vocabulary lacks.
    pub fn forward_while(
        &self,
        pages: &TensorPages,
        batch: &[Part<'_>],
        wanted: impl Fn(usize) -> bool,
        mut scores: impl FnMut(usize, usize, &[f32]),
    ) -> Result<Vec<bool>> {
        if batch.is_empty() {
            return Ok(Vec::new()); // a GPU refuses to do nothing
        }
        let size = pages.shape().tokens;
        let (mut tokens, mut places, mut angles, mut sampled, mut rows) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (at, part) in batch.iter().enumerate() {
            let upto = part.start + part.tokens.len();
            assert!(!part.tokens.is_empty() && upto <= part.pages.len() * size, "tokens have places");
            assert!(part.tokens.iter().all(|token| (*token as usize) < self.shape.vocab), "tokens of the vocabulary");
            for first in (0..part.tokens.len()).step_by(ROWS) {
                let count = ROWS.min(part.tokens.len() - first);
                rows.push(self.rows(pages, part, first, count, tokens.len())?);
                for token in first..first + count {
                    let position = part.start + token;
                    if part.wants(token) {
                        sampled.push((tokens.len() as u32, at, token));
                    }
                    tokens.push(part.tokens[token]);
                    places.push((part.pages[position / size], position % size));
                    angles.push(position);
                }
            }
        }
        let any = || (0..batch.len()).any(&wanted);
        let mut x = self.embedding.index_select(&Tensor::new(tokens, &self.device)?, 0)?.to_dtype(DType::F32)?;
        let angles = self.angles(&angles)?;
        let slots = pages.slots_at(&places)?;
        for (at, layer) in self.layers.iter().enumerate() {
            if !any() {
                return Ok(vec![false; batch.len()]);
            }
            x = self.layer(pages, (at, layer), x, &angles, (&slots, &rows))?;
        }
        // As many rows at a time as in the CPU's pass: scores of a whole prompt would be large.
        for sampled in sampled.chunks(16) {
            let rows: Vec<u32> = sampled.iter().map(|(row, ..)| *row).collect();
            let rows = x.index_select(&Tensor::new(rows, &self.device)?, 0)?;
            let normed = rms_norm(&rows, &self.norm, self.shape.eps)?.to_dtype(self.dtype)?;
            let told = normed.matmul(&self.output.t()?)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
            for ((_, part, token), values) in sampled.iter().zip(told) {
                scores(*part, *token, &values);
            }
        }
        Ok(vec![true; batch.len()])
    }

    fn rows(&self, pages: &TensorPages, part: &Part<'_>, first: usize, count: usize, before: usize) -> Result<Rows> {
        let seen = part.start + first + count;
        let mask = (count > 1).then(|| {
            let row =
                |row: usize| (0..seen).map(move |key| if key + count > seen + row { f32::NEG_INFINITY } else { 0.0 });
            Tensor::from_iter((0..count).flat_map(row), &self.device)?.reshape((count, seen))
        });
        Ok(Rows { first: before, count, slots: pages.slots_of(part.pages, seen)?, mask: mask.transpose()? })
    }

    /// Cosines and sines of positions, `[rows, dim / 2]` each.
    fn angles(&self, positions: &[usize]) -> Result<(Tensor, Tensor)> {
        let half = self.shape.dim / 2;
        let mut of = vec![0.0; self.shape.dim];
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            self.shape.rope.angles(*position, &mut of);
            cos.extend_from_slice(&of[..half]);
            sin.extend_from_slice(&of[half..]);
        }
        let shape = (positions.len(), half);
        Ok((Tensor::from_vec(cos, shape, &self.device)?, Tensor::from_vec(sin, shape, &self.device)?))
    }

    /// One layer for all rows: `x` is `[rows, hidden]`, `slots` where keys and values go.
    fn layer(
        &self,
        pages: &TensorPages,
        (at, layer): (usize, &TensorLayer),
        x: Tensor,
        (cos, sin): &(Tensor, Tensor),
        (slots, parts): (&Slots, &[Rows]),
    ) -> Result<Tensor> {
        let (shape, rows) = (&self.shape, x.dim(0)?);
        let (heads, width) = (shape.heads * shape.dim, shape.kv_heads * shape.dim);
        let qkv = layer.qkv.apply(&rms_norm(&x, &layer.attention_norm, shape.eps)?)?;
        let turned = |from: usize, heads: usize| {
            let part = qkv.narrow(1, from, heads * shape.dim)?.contiguous()?.reshape((1, rows, heads, shape.dim))?;
            rope_thd(&part, cos, sin)?.reshape((rows, heads * shape.dim))
        };
        let (queries, keys) = (turned(0, shape.heads)?, turned(heads, shape.kv_heads)?);
        pages.write(at, slots, &keys, &qkv.narrow(1, heads + width, width)?.contiguous()?)?;
        let attended = parts.iter().map(|part| self.attend(pages, at, &queries, part)).collect::<Result<Vec<_>>>()?;
        let x = (x + layer.out.apply(&Tensor::cat(&attended, 0)?)?)?;
        let gates = layer.gate_up.apply(&rms_norm(&x, &layer.inner_norm, shape.eps)?)?;
        let (gate, up) = (gates.narrow(1, 0, shape.inner)?, gates.narrow(1, shape.inner, shape.inner)?);
        let inner = (silu(&gate.contiguous()?)? * up)?;
        x + layer.down.apply(&inner)?
    }

    /// `softmax(q k / sqrt(d)) v` of some rows of one sequence; `[rows, heads * dim]`.
    fn attend(&self, pages: &TensorPages, layer: usize, queries: &Tensor, part: &Rows) -> Result<Tensor> {
        let shape = &self.shape;
        let (kv, group, dim) = (shape.kv_heads, shape.heads / shape.kv_heads, shape.dim);
        let (keys, values) = pages.read(layer, &part.slots)?;
        let seen = keys.dim(0)?;
        // Query heads that share keys and values lie one below the other.
        let q = queries.narrow(0, part.first, part.count)?.reshape((part.count, kv, group, dim))?;
        let q = q.permute((1, 2, 0, 3))?.contiguous()?.reshape((kv, group * part.count, dim))?;
        let products = (q.matmul(&keys.permute((1, 2, 0))?.contiguous()?)? * (1.0 / (dim as f64).sqrt()))?;
        let products = match &part.mask {
            Some(mask) => products.reshape((kv, group, part.count, seen))?.broadcast_add(mask)?.reshape((
                kv,
                group * part.count,
                seen,
            ))?,
            None => products,
        };
        let attended = softmax_last_dim(&products)?.matmul(&values.permute((1, 0, 2))?.contiguous()?)?;
        let attended = attended.reshape((kv, group, part.count, dim))?.permute((2, 0, 1, 3))?.contiguous()?;
        attended.reshape((part.count, shape.heads * dim))
    }
}
