//! Time and work in units of 2^-44 ps.
//!
//! 44 bits: at 1 MB/s, a byte's work of 10^6 ps still fits 64 bits; 2^50 such bytes take 114 of 128 bits, 100 days 107;
//! and while fewer than 2^20 share a link, division takes machine words only.

use kvcache::Time;

/// Bits behind the point.
const FRACTION: u32 = 44;
const UNIT: u64 = 1 << FRACTION;

/// The work of a byte at `bytes_per_s`, rounded up: a link is never faster than said.
pub(super) fn per_byte(bytes_per_s: f64) -> u64 {
    // A double of at least 10^6 is a whole number of 2^-32, so that nothing is rounded but the quotient.
    let bytes = (bytes_per_s * (1_u64 << 32) as f64) as u128;
    let work = (1_000_000_000_000_u128 << (32 + FRACTION)).div_ceil(bytes);
    u64::try_from(work).expect("a byte at 1 MB/s or more")
}

#[inline]
pub(super) fn fine(at: Time) -> u128 {
    u128::from(at.0) << FRACTION
}

/// Whole picoseconds, rounded down.
pub(super) fn whole(fine: u128) -> u64 {
    u64::try_from(fine >> FRACTION).expect("a span within the run")
}

/// Whole picoseconds, rounded up; `None` where 64 bits do not hold them.
#[inline]
pub(super) fn whole_up(fine: u128) -> Option<u64> {
    let rest = fine as u64 & (UNIT - 1);
    u64::try_from((fine >> FRACTION) + u128::from(rest > 0)).ok()
}

/// What each of `sharing` gets of `elapsed`, rounded down.
pub(super) fn share(elapsed: u128, sharing: usize) -> u128 {
    let sharing = sharing as u64;
    if sharing == 1 {
        return elapsed;
    }
    let Ok(picoseconds) = u64::try_from(elapsed >> FRACTION) else { return elapsed / u128::from(sharing) };
    let (each, rest) = (picoseconds / sharing, picoseconds % sharing);
    // Long division: the rest of the whole picoseconds goes before the fraction.
    let fraction = elapsed as u64 & (UNIT - 1);
    let below = if rest < 1 << (u64::BITS - FRACTION) {
        ((rest << FRACTION | fraction) / sharing).into()
    } else {
        (u128::from(rest) << FRACTION | u128::from(fraction)) / u128::from(sharing)
    };
    (u128::from(each) << FRACTION) + below
}
