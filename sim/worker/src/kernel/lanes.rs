//! Eight numbers at a time: the one vocabulary in which every kernel is written, and its two dialects.
//!
//! A kernel is generic over [`Lanes`]; [`run`] compiles it once with AVX2, FMA and F16C and once portably, and picks by
//! what the processor has. Both dialects perform the very same operations in the same order (fused multiply-adds round
//! once in both), so both give the same bits: a test compares them.

use half::f16;

/// Eight lanes. A value of such a type is a proof that its instructions may be used.
pub(super) trait Lanes: Copy {
    /// Eight `f32`.
    type F: Copy;
    /// Thirty-two bytes.
    type B: Copy;
    /// Sixteen `i16`.
    type W: Copy;
    /// Eight `i32`.
    type I: Copy;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; 8]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; 8]);
    /// Eight halves, widened exactly.
    fn load_half(self, x: &[u16; 8]) -> Self::F;
    /// Rounds to the nearest half, ties to even.
    fn store_half(self, x: Self::F, to: &mut [u16; 8]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The greater; the second where one is not a number.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The less; the second where one is not a number.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// To the nearest whole number, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// 2 to the power of whole numbers from -126 to 127.
    fn exp2_whole(self, a: Self::F) -> Self::F;
    /// `a` where `x >= bound`, else zero.
    fn keep_at_least(self, a: Self::F, x: Self::F, bound: Self::F) -> Self::F;
    fn to_array(self, a: Self::F) -> [f32; 8];

    fn bytes(self, x: &[u8; 32]) -> Self::B;
    fn signed_bytes(self, x: &[i8; 32]) -> Self::B;
    /// The low and the high half of every byte.
    fn nibbles(self, x: Self::B) -> (Self::B, Self::B);
    /// The four bytes of a word, eight times.
    fn splat_bytes(self, word: i32) -> Self::B;
    fn zero_words(self) -> Self::W;
    fn zero_ints(self) -> Self::I;
    /// Adds to each `i16` the products of a pair of bytes: unsigned ones below 16 with signed ones. Sums must fit.
    fn dot_nibbles(self, sum: Self::W, a: Self::B, x: Self::B) -> Self::W;
    /// The sums of pairs of `i16`.
    fn pairs(self, a: Self::W) -> Self::I;
    /// Adds to each `i32` the products of four signed bytes with four others, of which none is -128.
    fn dot_bytes(self, sum: Self::I, w: Self::B, x: Self::B) -> Self::I;
    fn ints(self, a: Self::I) -> Self::F;
    /// Eight whole numbers from -127 to 127 as bytes.
    fn narrow(self, a: Self::F) -> [i8; 8];

    /// The sum of eight lanes, in one order.
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        let a = self.to_array(a);
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }

    /// The greatest of eight lanes.
    #[inline(always)]
    fn greatest(self, a: Self::F) -> f32 {
        let a = self.to_array(a);
        let pick = |x: f32, y: f32| if x > y { x } else { y };
        pick(pick(pick(a[0], a[4]), pick(a[2], a[6])), pick(pick(a[1], a[5]), pick(a[3], a[7])))
    }
}

/// A kernel: work that is written in lanes.
pub(super) trait Task {
    /// Does it. Implementations are `#[inline(always)]`, so that they are compiled with the features of their caller.
    fn run<L: Lanes>(self, lanes: L);
}

/// Which dialect computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// Whatever the compiler makes of arrays.
    Portable,
}

impl Level {
    /// The best that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(proof) = Avx2::detect() {
            return Self::Avx2(proof);
        }
        Self::Portable
    }
}

/// Runs a kernel.
#[inline]
pub(super) fn run(level: Level, task: impl Task) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(proof) => proof.run(task),
        Level::Portable => task.run(Portable),
    }
}

/// The portable dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; 8] {
    core::array::from_fn(f)
}

impl Lanes for Portable {
    type F = [f32; 8];
    type B = [u8; 32];
    type W = [i16; 16];
    type I = [i32; 8];

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> [f32; 8] {
        *x
    }
    #[inline(always)]
    fn store(self, x: [f32; 8], to: &mut [f32; 8]) {
        *to = x;
    }
    #[inline(always)]
    fn load_half(self, x: &[u16; 8]) -> [f32; 8] {
        each(|i| f16::from_bits(x[i]).to_f32())
    }
    #[inline(always)]
    fn store_half(self, x: [f32; 8], to: &mut [u16; 8]) {
        *to = core::array::from_fn(|i| f16::from_f32(x[i]).to_bits());
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        each(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn abs(self, a: [f32; 8]) -> [f32; 8] {
        each(|i| a[i].abs())
    }
    #[inline(always)]
    fn round(self, a: [f32; 8]) -> [f32; 8] {
        each(|i| a[i].round_ties_even())
    }
    #[inline(always)]
    fn exp2_whole(self, a: [f32; 8]) -> [f32; 8] {
        each(|i| f32::from_bits(((a[i] as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn keep_at_least(self, a: [f32; 8], x: [f32; 8], bound: [f32; 8]) -> [f32; 8] {
        each(|i| if x[i] >= bound[i] { a[i] } else { 0.0 })
    }
    #[inline(always)]
    fn to_array(self, a: [f32; 8]) -> [f32; 8] {
        a
    }
    #[inline(always)]
    fn bytes(self, x: &[u8; 32]) -> [u8; 32] {
        *x
    }
    #[inline(always)]
    fn signed_bytes(self, x: &[i8; 32]) -> [u8; 32] {
        x.map(i8::cast_unsigned)
    }
    #[inline(always)]
    fn nibbles(self, x: [u8; 32]) -> ([u8; 32], [u8; 32]) {
        (x.map(|b| b & 15), x.map(|b| b >> 4))
    }
    #[inline(always)]
    fn splat_bytes(self, word: i32) -> [u8; 32] {
        let word = word.to_le_bytes();
        core::array::from_fn(|i| word[i % 4])
    }
    #[inline(always)]
    fn zero_words(self) -> [i16; 16] {
        [0; 16]
    }
    #[inline(always)]
    fn zero_ints(self) -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    fn dot_nibbles(self, sum: [i16; 16], a: [u8; 32], x: [u8; 32]) -> [i16; 16] {
        let product = |i: usize| i16::from(a[i]) * i16::from(x[i].cast_signed());
        core::array::from_fn(|i| sum[i] + product(2 * i) + product(2 * i + 1))
    }
    #[inline(always)]
    fn pairs(self, a: [i16; 16]) -> [i32; 8] {
        core::array::from_fn(|i| i32::from(a[2 * i]) + i32::from(a[2 * i + 1]))
    }
    #[inline(always)]
    fn dot_bytes(self, sum: [i32; 8], w: [u8; 32], x: [u8; 32]) -> [i32; 8] {
        let product = |i: usize| i32::from(w[i].cast_signed()) * i32::from(x[i].cast_signed());
        core::array::from_fn(|i| sum[i] + (4 * i..4 * i + 4).map(product).sum::<i32>())
    }
    #[inline(always)]
    fn ints(self, a: [i32; 8]) -> [f32; 8] {
        each(|i| a[i] as f32)
    }
    #[inline(always)]
    fn narrow(self, a: [f32; 8]) -> [i8; 8] {
        a.map(|x| x as i8)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
#[path = "avx2.rs"]
mod avx2;
