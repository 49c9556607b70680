//! One tensor as a GGUF file has it, packed for the kernels: 4-bit types and Q8_0 exactly, all others as the nearest Q8_0.
//!
//! Block layouts are those of ggml (`ggml-common.h`, `dequantize_row_q4_K`).

use super::Unreadable;
use super::weights::Identifier;
use crate::kernel::{BLOCK, Eight, Four, Packed};
use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor};
use half::f16;

/// In which order rows become columns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// As they are.
    Kept,
    /// Heads of so many rows, whose pairs for the rotation are neighbours: halves are put one behind the other.
    Interleaved(usize),
}

impl Order {
    /// Which row of the file becomes a column.
    pub(super) fn row(self, col: usize) -> usize {
        match self {
            Self::Kept => col,
            Self::Interleaved(dim) => {
                let (head, at) = (col / dim * dim, col % dim);
                head + at % (dim / 2) * 2 + at / (dim / 2)
            }
        }
    }
}

/// Packs a tensor of two dimensions.
pub(super) fn pack(tensor: &QTensor, order: Order, seen: &mut Identifier) -> Result<Packed, Unreadable> {
    let (cols, depth) = tensor.shape().dims2()?;
    let kind = tensor.dtype();
    let bytes = kind.type_size();
    let per_row = depth / kind.block_size();
    let data = tensor.data()?;
    let block = |col: usize, at: usize| &data[(order.row(col) * per_row + at) * bytes..][..bytes];
    let exact = format!("{kind:?}").to_lowercase();
    let packed = match kind {
        GgmlDType::Q4_0 => Packed::four(cols, depth, true, |col, at| {
            let block = block(col, at);
            let scale = half_at(block, 0);
            Four { scale, least: -8.0 * scale, q: halves_of_bytes(&block[2..]) }
        }),
        GgmlDType::Q4_1 => Packed::four(cols, depth, true, |col, at| {
            let block = block(col, at);
            Four { scale: half_at(block, 0), least: half_at(block, 2), q: halves_of_bytes(&block[4..]) }
        }),
        GgmlDType::Q4K => Packed::four(cols, depth, false, |col, at| q4k(block(col, at / 8), at % 8)),
        GgmlDType::Q8_0 => Packed::eight(cols, depth, |col, at| {
            let block = block(col, at);
            let q = core::array::from_fn(|k| block[2 + k].cast_signed());
            Eight { scale: f16::from_le_bytes([block[0], block[1]]), q }
        }),
        _ => {
            seen.held(format!("{exact}>q8_0"));
            let floats = tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            return Ok(nearest(cols, depth, |col| &floats[order.row(col) * depth..][..depth]));
        }
    };
    seen.held(exact);
    Ok(packed)
}

/// The nearest 8-bit weights of rows of floats.
pub(super) fn nearest<'a>(cols: usize, depth: usize, row: impl Fn(usize) -> &'a [f32]) -> Packed {
    Packed::eight(cols, depth, |col, at| {
        let row = row(col);
        let from = &row[at * BLOCK..depth.min((at + 1) * BLOCK)];
        let mut block = [0.0; BLOCK];
        block[..from.len()].copy_from_slice(from);
        Eight::nearest(&block)
    })
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The low halves of 16 bytes, then the high ones.
fn halves_of_bytes(bytes: &[u8]) -> [u8; BLOCK] {
    core::array::from_fn(|k| if k < 16 { bytes[k] & 15 } else { bytes[k - 16] >> 4 })
}

/// The `part`-th 32 weights of a block of 256: scale and least are 6-bit multiples of the block's two.
fn q4k(block: &[u8], part: usize) -> Four {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    let packed = &block[4..16];
    let (s, m) = if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let high = |x: u8| x >> 6 << 4;
        (packed[part + 4] & 15 | high(packed[part - 4]), packed[part + 4] >> 4 | high(packed[part]))
    };
    let bytes = &block[16 + part / 2 * 32..][..32];
    let q = core::array::from_fn(|k| if part.is_multiple_of(2) { bytes[k] & 15 } else { bytes[k] >> 4 });
    Four { scale: scale * f32::from(s), least: -(least * f32::from(m)), q }
}
