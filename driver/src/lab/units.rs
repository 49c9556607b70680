//! Values with units, as people write them: `250ms`, `5GiB`, `25GB/s`, `400Gbit/s`, `2000`, `0.9`, `1e2`, `on`.

use kvcache::Span;

/// Picoseconds.
const SECOND: u64 = 1_000_000_000_000;

/// Units of time, in picoseconds.
pub(super) const TIMES: [(&str, u64); 7] = [
    ("ns", 1_000),
    ("us", 1_000_000),
    ("ms", 1_000_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("min", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// Reads a span of time: a number and `ns`, `us`, `ms`, `s`, `min` (or `m`) or `h`; `0` needs no unit.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn span(text: &str) -> Result<Span, String> {
    span_up_to(text, Span::from_secs(3600))
}

/// The same, of at most `most`.
///
/// # Errors
/// As [`span`].
pub fn span_up_to(text: &str, most: Span) -> Result<Span, String> {
    let (number, unit) = split(text)?;
    let named = TIMES.iter().find(|(name, _)| *name == if unit == "µs" { "us" } else { unit });
    let picos = match named {
        Some((_, picos)) => *picos,
        None if unit.is_empty() && number == 0.0 => SECOND,
        None if unit.is_empty() => {
            return Err(format!("\"{text}\" needs a unit: ns, us, ms, s, min (or m) or h, such as {text}ms"));
        }
        None => return Err(format!("\"{unit}\" is no unit of time: use ns, us, ms, s, min (or m) or h")),
    };
    let seconds = number * (picos as f64 / SECOND as f64);
    if seconds > most.as_secs_f64() {
        let hours = most.as_secs_f64() / 3600.0;
        let most = if hours > 24.0 { format!("{} days", hours / 24.0) } else { "an hour".to_owned() };
        return Err(format!("\"{text}\" is longer than {most}"));
    }
    // A float does not hold the picoseconds of many hours; a whole number of units is exact.
    if number.fract() == 0.0 {
        return Ok(Span(number as u64 * picos));
    }
    Ok(Span::from_secs_f64(seconds))
}

/// Reads a span of time of up to 100 days, as [`span`] does.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn long_span(text: &str) -> Result<Span, String> {
    span_up_to(text, Span::from_secs(8_640_000))
}

/// What a unit of bytes stands for: decimal as the International System of Units has it, binary as IEC 80000-13 does.
pub(super) const BYTES: [(&str, f64); 9] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// What a unit of bits stands for, in bytes.
pub(super) const BITS: [(&str, f64); 5] =
    [("bit", 0.125), ("kbit", 125.0), ("Mbit", 125e3), ("Gbit", 125e6), ("Tbit", 125e9)];

/// The most bytes that a setting takes: what a transfer may have (1 PiB).
const MOST_BYTES: u64 = 1 << 50;

/// Reads a number of bytes from 1 to 1 PiB, rounded to a whole one: a number and `B`, `kB`, `MB`, `GB`, `TB`, or `KiB`,
/// `MiB`, `GiB`, `TiB`. Case matters: a `b` is a bit to some.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let Some((_, factor)) = BYTES.iter().find(|(name, _)| *name == unit) else {
        return Err(no_unit(text, unit, "of bytes", "B, kB, MB, GB, TB, KiB, MiB, GiB or TiB", "GiB"));
    };
    let bytes = (number * factor).round();
    if !(1.0..=MOST_BYTES as f64).contains(&bytes) {
        return Err(format!("{text} lies outside 1B to 1024TiB"));
    }
    Ok(bytes as u64)
}

/// Reads bytes per second in `range`: a number and a unit of bytes or bits, both `/s`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn bandwidth(text: &str, range: (f64, f64)) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let named = unit.strip_suffix("/s").and_then(|unit| BYTES.iter().chain(&BITS).find(|(name, _)| *name == unit));
    let Some((_, factor)) = named else {
        return Err(no_unit(text, unit, "of bandwidth", "MB/s, GB/s, MiB/s, GiB/s, Mbit/s or Gbit/s", "GB/s"));
    };
    let per_second = number * factor;
    if !(range.0..=range.1).contains(&per_second) {
        return Err(format!("{text} lies outside {}GB/s to {}GB/s", range.0 / 1e9, range.1 / 1e9));
    }
    Ok(per_second)
}

fn no_unit(text: &str, unit: &str, what: &str, units: &str, such_as: &str) -> String {
    if unit.is_empty() {
        format!("\"{text}\" needs a unit: {units}, such as {text}{such_as}")
    } else {
        format!("\"{unit}\" is no unit {what}: use {units}")
    }
}

/// Reads a share from `least` to 1000 thousandths, written as a fraction: `0.05` is 50.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn permille(text: &str, least: u16) -> Result<u16, String> {
    let share = number(text, (f64::from(least) / 1000.0, 1.0))? * 1000.0;
    // Decimal fractions are not exact in binary.
    if (share - share.round()).abs() > 1e-6 {
        return Err(format!("{text} is finer than a thousandth"));
    }
    Ok(share.round() as u16)
}

/// Reads a whole number from `least` to `u32::MAX`; `k` and `m` multiply by 1,000 and 1,000,000, `Ki` and `Mi` by
/// 1,024 and its square.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn count(text: &str, least: u32) -> Result<u32, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        _ => return Err(format!("\"{unit}\" is no multiple: use k, m, Ki or Mi, or none")),
    };
    let value = number * factor;
    if value.fract() != 0.0 {
        return Err(format!("\"{text}\" is not a whole number"));
    }
    if !(f64::from(least)..=f64::from(u32::MAX)).contains(&value) {
        return Err(format!("{text} lies outside {least} to {}", u32::MAX));
    }
    Ok(value as u32)
}

/// Reads a number in `range`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn number(text: &str, range: (f64, f64)) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    if !unit.is_empty() {
        return Err(format!("\"{text}\" is not a plain number"));
    }
    if !(range.0..=range.1).contains(&number) {
        return Err(format!("{text} lies outside {} to {}", range.0, range.1));
    }
    Ok(number)
}

/// Reads a switch: `true` or `false`, `on` or `off`.
///
/// # Errors
/// What would be right.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(format!("\"{text}\" is neither true nor false")),
    }
}

/// A number as floats are written, exponent included, and what follows it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let end = end + exponent(&text[end..]);
    let (digits, unit) = text.split_at(end);
    let number: f64 = digits.parse().map_err(|_| format!("\"{text}\" does not begin with a number"))?;
    if number < 0.0 {
        return Err(format!("\"{text}\" is negative"));
    }
    Ok((number, unit.trim()))
}

/// The length of the exponent that `text` begins with: `e3`, `E+3`, `e-3`.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let digits = unsigned.len() - unsigned.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 { 0 } else { text.len() - unsigned.len() + digits }
}
