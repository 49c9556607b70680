//! Values with units, as people write them: `250ms`, `2000`, `0.9`, `1e2`, `on`.

use kvcache::Span;

/// Reads a span of time: a number and `ns`, `us`, `ms`, `s`, `min` or `h`; `0` needs no unit.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn span(text: &str) -> Result<Span, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ns" => number * 1e-9,
        "us" | "µs" => number * 1e-6,
        "ms" => number * 1e-3,
        "s" => number,
        "min" => number * 60.0,
        "h" => number * 3600.0,
        "" if number == 0.0 => 0.0,
        "" => return Err(format!("\"{text}\" needs a unit: ns, us, ms, s, min or h, such as {text}ms")),
        _ => return Err(format!("\"{unit}\" is no unit of time: use ns, us, ms, s, min or h")),
    };
    if seconds > 3600.0 {
        return Err(format!("\"{text}\" is longer than an hour"));
    }
    Ok(Span::from_secs_f64(seconds))
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
