//! Weights of a linear layer, laid out for the kernels.
//!
//! A matrix of `cols` outputs and `depth` inputs is cut into panels of 8 outputs and these into blocks of 32 inputs. A
//! block holds the scales of its 8 columns and then its weights, four inputs of one column side by side, so that one load
//! feeds eight columns and the whole panel is read front to back. 4-bit weights are `scale * q + least` with q from 0 to
//! 15, exactly what Q4_0, Q4_1 and Q4_K files hold; 8-bit weights are `scale * q`, exactly what Q8_0 holds.

use half::f16;

/// Inputs per block.
pub const BLOCK: usize = 32;
/// Outputs per panel.
pub const PANEL: usize = 8;

/// 32 weights of one column in 4 bits.
#[derive(Clone, Copy, Debug)]
pub struct Four {
    /// What a step is worth.
    pub scale: f32,
    /// What 0 stands for.
    pub least: f32,
    /// The steps, each below 16.
    pub q: [u8; BLOCK],
}

/// 32 weights of one column in 8 bits.
#[derive(Clone, Copy, Debug)]
pub struct Eight {
    /// What a step is worth, a half.
    pub scale: f16,
    /// The steps.
    pub q: [i8; BLOCK],
}

impl Eight {
    /// The nearest 8-bit weights, as Q8_0 has them: the greatest magnitude becomes 127 steps.
    #[must_use]
    pub fn nearest(weights: &[f32; BLOCK]) -> Self {
        let greatest = weights.iter().fold(0f32, |most, w| most.max(w.abs()));
        let step = greatest / 127.0;
        let per = if step > 0.0 { 1.0 / step } else { 0.0 };
        Self { scale: f16::from_f32(step), q: weights.map(|w| (w * per).round() as i8) }
    }
}

/// Scale and least of eight columns as halves, or where the file's products need more bits, as floats.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Block4<S> {
    pub(super) scale: [S; PANEL],
    pub(super) least: [S; PANEL],
    /// Byte `4 c + i` of word `j`: column c, inputs 8 j + i (low half) and 8 j + 4 + i (high half).
    pub(super) q: [[u8; 32]; 4],
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Block8 {
    pub(super) scale: [u16; PANEL],
    /// Byte `4 c + i` of word `j`: column c, input 4 j + i.
    pub(super) q: [[i8; 32]; 8],
}

/// A matrix, packed. Outputs beyond `cols`, up to a multiple of 8, and inputs beyond `depth`, up to one of 32, are zero.
#[derive(Debug)]
pub struct Packed {
    cols: usize,
    depth: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Four(Vec<Block4<u16>>),
    FourWide(Vec<Block4<f32>>),
    Eight(Vec<Block8>),
}

impl Packed {
    /// 4-bit weights: `block(column, block)` tells those of 32 inputs. Scales are kept as halves where `halves` says that all
    /// of them are ones.
    pub fn four(cols: usize, depth: usize, halves: bool, block: impl Fn(usize, usize) -> Four) -> Self {
        let kind = if halves {
            Kind::Four(pack(cols, depth, |columns| block4(columns, &block, |x| f16::from_f32(x).to_bits())))
        } else {
            Kind::FourWide(pack(cols, depth, |columns| block4(columns, &block, |x| x)))
        };
        Self { cols, depth, kind }
    }

    /// 8-bit weights: `block(column, block)` tells those of 32 inputs.
    pub fn eight(cols: usize, depth: usize, block: impl Fn(usize, usize) -> Eight) -> Self {
        let kind = Kind::Eight(pack(cols, depth, |(first, last, at)| {
            let mut packed = Block8 { scale: [0; PANEL], q: [[0; 32]; 8] };
            for col in first..last {
                let (c, from) = (col - first, block(col, at));
                packed.scale[c] = from.scale.to_bits();
                for (k, q) in from.q.into_iter().enumerate() {
                    packed.q[k / 4][4 * c + k % 4] = q;
                }
            }
            packed
        }));
        Self { cols, depth, kind }
    }

    /// Outputs.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Inputs.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Blocks of 32 inputs.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.depth.div_ceil(BLOCK)
    }

    /// Panels of 8 outputs.
    #[must_use]
    pub fn panels(&self) -> usize {
        self.cols.div_ceil(PANEL)
    }

    /// Bytes that a pass reads of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Four(blocks) => size_of_val(blocks.as_slice()),
            Kind::FourWide(blocks) => size_of_val(blocks.as_slice()),
            Kind::Eight(blocks) => size_of_val(blocks.as_slice()),
        }
    }

    /// Bits of its weights: 4 or 8.
    #[must_use]
    pub fn bits(&self) -> u32 {
        if matches!(self.kind, Kind::Eight(_)) { 8 } else { 4 }
    }

    /// The weights of one output, as the kernels take them: what an embedding looks up. `row` has `depth` values.
    pub fn column(&self, col: usize, row: &mut [f32]) {
        assert!(col < self.cols && row.len() == self.depth, "a column of the matrix");
        let (first, c) = (col / PANEL * self.blocks(), col % PANEL);
        for (at, out) in row.chunks_mut(BLOCK).enumerate() {
            for (k, w) in out.iter_mut().enumerate() {
                *w = match &self.kind {
                    Kind::Four(blocks) => {
                        let block = &blocks[first + at];
                        let wide = |x: u16| f16::from_bits(x).to_f32();
                        wide(block.scale[c]).mul_add(nibble(&block.q, c, k), wide(block.least[c]))
                    }
                    Kind::FourWide(blocks) => {
                        let block = &blocks[first + at];
                        block.scale[c].mul_add(nibble(&block.q, c, k), block.least[c])
                    }
                    Kind::Eight(blocks) => {
                        let block = &blocks[first + at];
                        f16::from_bits(block.scale[c]).to_f32() * f32::from(block.q[k / 4][4 * c + k % 4])
                    }
                };
            }
        }
    }
}

fn nibble(q: &[[u8; 32]; 4], c: usize, k: usize) -> f32 {
    f32::from((q[k / 8][4 * c + k % 4] >> (k / 4 % 2 * 4)) & 15)
}

/// Panel after panel, block after block: `block` is told the columns, from and up to, and the block's number.
fn pack<B>(cols: usize, depth: usize, block: impl Fn((usize, usize, usize)) -> B) -> Vec<B> {
    let panels = (0..cols).step_by(PANEL).map(|first| (first, (first + PANEL).min(cols)));
    let block = &block;
    panels.flat_map(|(first, last)| (0..depth.div_ceil(BLOCK)).map(move |at| block((first, last, at)))).collect()
}

fn block4<S: Copy + Default>(
    (first, last, at): (usize, usize, usize),
    block: impl Fn(usize, usize) -> Four,
    narrow: impl Fn(f32) -> S,
) -> Block4<S> {
    let mut packed = Block4 { scale: [S::default(); PANEL], least: [S::default(); PANEL], q: [[0; 32]; 4] };
    for col in first..last {
        let (c, from) = (col - first, block(col, at));
        (packed.scale[c], packed.least[c]) = (narrow(from.scale), narrow(from.least));
        for (k, q) in from.q.into_iter().enumerate() {
            packed.q[k / 8][4 * c + k % 4] |= q << (k / 4 % 2 * 4);
        }
    }
    packed
}

impl Packed {
    /// Matrices of the same inputs side by side: neighbours of one kind become one, where no column is padding.
    #[must_use]
    pub fn join(parts: Vec<Self>) -> Vec<Self> {
        let mut joined: Vec<Self> = Vec::new();
        for part in parts {
            let rest = match joined.last_mut() {
                Some(last) if last.cols.is_multiple_of(PANEL) && last.depth == part.depth => last.append(part),
                _ => Some(part),
            };
            joined.extend(rest);
        }
        joined
    }

    fn append(&mut self, other: Self) -> Option<Self> {
        match (&mut self.kind, other.kind) {
            (Kind::Four(blocks), Kind::Four(more)) => blocks.extend(more),
            (Kind::FourWide(blocks), Kind::FourWide(more)) => blocks.extend(more),
            (Kind::Eight(blocks), Kind::Eight(more)) => blocks.extend(more),
            (_, kind) => return Some(Self { kind, ..other }),
        }
        self.cols += other.cols;
        None
    }
}
