//! Kubernetes quantities: `6`, `500m`, `30Gi`, `1e3`.

use crate::suggest;
use crate::yaml::{Node, Value, quoted};

/// Suffixes and what they multiply by, in thousandths; `n` and `u` are below that and divide instead.
const SUFFIXES: &[(&str, i128)] = &[
    ("m", 1),
    ("", 1_000),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000),
    ("Ki", 1_000 << 10),
    ("Mi", 1_000 << 20),
    ("Gi", 1_000 << 30),
    ("Ti", 1_000 << 40),
    ("Pi", 1_000 << 50),
    ("Ei", 1_000 << 60),
];

/// Kubernetes keeps quantities in 64 bits; nothing above is a quantity of anything.
const LARGEST_MILLIS: i128 = (i64::MAX as i128) * 1_000;

/// The value of a field in thousandths of its unit, rounded up as Kubernetes does. The error says what is wrong.
pub(super) fn millis_of(node: &Node) -> Result<i128, String> {
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Whole(number) => number.to_string(),
        Value::Real => {
            let shown = node.shown();
            return Err(format!(
                "{shown} is {}, which the schema does not take as a quantity; allowed: a string or a whole number; \
                 did you mean \"{shown}\"?",
                node.type_name().unwrap_or_default()
            ));
        }
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Object(_) => {
            return Err(format!("{} is not a quantity; allowed: such as 6, 500m, 30Gi", node.shown()));
        }
    };
    let millis = millis(&text).ok_or_else(|| {
        let meant = meant(&text).map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
        format!(
            "{} is not a quantity; allowed: a number with an optional suffix n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, \
             Ti, Pi, Ei{meant}",
            quoted(&text)
        )
    })?;
    if millis < 0 {
        return Err(format!("{} is negative; allowed: 0 or more", quoted(&text)));
    }
    Ok(millis)
}

/// `text` in thousandths, rounded up.
fn millis(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 24 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, mut divisor) = scale(suffix)?;
    divisor = divisor.checked_mul(10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let scaled = digits.checked_mul(factor)?;
    let millis = scaled / divisor + i128::from(scaled % divisor != 0);
    (millis <= LARGEST_MILLIS).then_some(if negative { -millis } else { millis })
}

/// What a suffix multiplies and divides by, to thousandths.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    match suffix {
        "n" => return Some((1, 1_000_000)),
        "u" => return Some((1, 1_000)),
        _ => {}
    }
    if let Some((_, factor)) = SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some((*factor, 1));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs()).filter(|power| *power <= LARGEST_MILLIS)?;
    Some(if exponent < 0 { (1_000, power) } else { (power.checked_mul(1_000)?, 1) })
}

/// The nearest quantity: `30GB` and `30gb` are `30G`, `30gib` is `30Gi`.
fn meant(text: &str) -> Option<String> {
    let compact: String = text.chars().take(40).filter(|c| !c.is_whitespace()).collect();
    let digits = compact.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, suffix) = compact.split_at(digits);
    let unit = suffix.strip_suffix(['b', 'B']).unwrap_or(suffix);
    let known = SUFFIXES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
    let nearest =
        known.clone().find(|name| name.eq_ignore_ascii_case(unit)).or_else(|| suggest::nearest(unit, known))?;
    let proposal = format!("{number}{nearest}");
    millis(&proposal).map(|_| proposal)
}
