//! The dialect of AVX2, FMA and F16C.
//!
//! Every intrinsic here needs nothing but its instructions, and a value of [`Avx2`] exists only where the processor has
//! them: that is what each `unsafe` of this file rests upon. Loads and stores go through references to arrays of the
//! right length.

#![allow(unsafe_code)]

use super::{Lanes, Task};
use core::arch::x86_64::*;

/// A proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, where there is one.
    pub(super) fn detect() -> Option<Self> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    /// Runs a kernel, compiled with these instructions.
    #[inline]
    pub(super) fn run(self, task: impl Task) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled(task: impl Task, proof: Avx2) {
            task.run(proof);
        }
        // SAFETY: `self` proves that the processor has the features.
        unsafe { compiled(task, self) }
    }
}

/// Wraps calls of intrinsics that ask for nothing but the features that the proof is of.
macro_rules! simd {
    ($e:expr) => {
        // SAFETY: `self` proves that the processor has the features; pointers come from references to whole arrays.
        unsafe { $e }
    };
}

impl Lanes for Avx2 {
    type F = __m256;
    type B = __m256i;
    type W = __m256i;
    type I = __m256i;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        simd!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> __m256 {
        simd!(_mm256_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, x: __m256, to: &mut [f32; 8]) {
        simd!(_mm256_storeu_ps(to.as_mut_ptr(), x))
    }
    #[inline(always)]
    fn load_half(self, x: &[u16; 8]) -> __m256 {
        simd!(_mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn store_half(self, x: __m256, to: &mut [u16; 8]) {
        simd!(_mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)))
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        simd!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        simd!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        simd!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        simd!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        simd!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        simd!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        simd!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        simd!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        simd!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn exp2_whole(self, a: __m256) -> __m256 {
        simd!({
            let biased = _mm256_add_epi32(_mm256_cvttps_epi32(a), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        })
    }
    #[inline(always)]
    fn keep_at_least(self, a: __m256, x: __m256, bound: __m256) -> __m256 {
        simd!(_mm256_and_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(x, bound), a))
    }
    #[inline(always)]
    fn to_array(self, a: __m256) -> [f32; 8] {
        let mut out = [0.0; 8];
        self.store(a, &mut out);
        out
    }
    #[inline(always)]
    fn bytes(self, x: &[u8; 32]) -> __m256i {
        simd!(_mm256_loadu_si256(x.as_ptr().cast()))
    }
    #[inline(always)]
    fn signed_bytes(self, x: &[i8; 32]) -> __m256i {
        simd!(_mm256_loadu_si256(x.as_ptr().cast()))
    }
    #[inline(always)]
    fn nibbles(self, x: __m256i) -> (__m256i, __m256i) {
        simd!({
            let low = _mm256_set1_epi8(15);
            (_mm256_and_si256(x, low), _mm256_and_si256(_mm256_srli_epi16::<4>(x), low))
        })
    }
    #[inline(always)]
    fn splat_bytes(self, word: i32) -> __m256i {
        simd!(_mm256_set1_epi32(word))
    }
    #[inline(always)]
    fn zero_words(self) -> __m256i {
        simd!(_mm256_setzero_si256())
    }
    #[inline(always)]
    fn zero_ints(self) -> __m256i {
        simd!(_mm256_setzero_si256())
    }
    #[inline(always)]
    fn dot_nibbles(self, sum: __m256i, a: __m256i, x: __m256i) -> __m256i {
        simd!(_mm256_add_epi16(sum, _mm256_maddubs_epi16(a, x)))
    }
    #[inline(always)]
    fn pairs(self, a: __m256i) -> __m256i {
        simd!(_mm256_madd_epi16(a, _mm256_set1_epi16(1)))
    }
    #[inline(always)]
    fn dot_bytes(self, sum: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // Products of an absolute value with what took its sign; pairs of them, at most 2 * 128 * 127, fit into 16 bits.
        simd!({
            let products = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
            _mm256_add_epi32(sum, _mm256_madd_epi16(products, _mm256_set1_epi16(1)))
        })
    }
    #[inline(always)]
    fn ints(self, a: __m256i) -> __m256 {
        simd!(_mm256_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn narrow(self, a: __m256) -> [i8; 8] {
        let words = simd!({
            let ints = _mm256_cvttps_epi32(a);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256::<1>(ints));
            _mm_cvtsi128_si64(_mm_packs_epi16(words, words))
        });
        words.to_le_bytes().map(u8::cast_signed)
    }
}
