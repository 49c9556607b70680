//! The lab file as a JSON schema, made from the table of settings, so that editors check what the parser checks.
//!
//! Ranges are asked of the settings themselves: there is one copy of them. What a schema cannot say, and the parser refuses all
//! the same: two spellings of one value in a list, a setting given in its section and by its dotted name. What the parser
//! takes and the schema does not offer: exponents and signs before a unit (`1e-3s`), fractions of a multiple (`1.5k`).

use super::Lab;
use super::settings::{SETTINGS, Setting};
use super::units::{BITS, BYTES, TIMES};
use serde_json::{Map, Value, json};

/// The dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema (draft 2020-12).
#[must_use]
pub fn schema() -> Value {
    let (mut sections, mut dotted, mut forms) = (Map::new(), Map::new(), Map::new());
    for setting in SETTINGS {
        let property = property(setting, &mut forms);
        dotted.insert(setting.key.to_owned(), property.clone());
        let (section, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        let entry = sections.entry(section).or_insert_with(|| json!({}));
        entry[name] = property;
    }
    let mut properties = Map::new();
    for (name, settings) in sections {
        let section = json!({ "type": "object", "properties": settings, "additionalProperties": false });
        properties.insert(name, section);
    }
    properties.extend(dotted);
    json!({
        "$schema": DIALECT,
        "title": "podlab lab file",
        "description": "What decides the physics and is not in the endpoint file. A list stands for one run per value.",
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
        "$defs": forms,
    })
}

/// A setting: one of its values, or a list of them. What values are is told once for all settings that take the same.
fn property(setting: &Setting, forms: &mut Map<String, Value>) -> Value {
    let value = value(setting);
    let known = forms.iter().find(|(_, form)| **form == value).map(|(name, _)| name.clone());
    let name = known.unwrap_or_else(|| {
        let kind = setting.takes.split(' ').next().unwrap_or_default();
        let kind = if setting.takes.contains('|') { "choice" } else { kind };
        let name = (1..).map(|number| format!("{kind}-{number}")).find(|name| !forms.contains_key(name));
        let name = name.unwrap_or_default();
        forms.insert(name.clone(), value);
        name
    });
    let value = json!({ "$ref": format!("#/$defs/{name}") });
    let list = json!({ "type": "array", "items": value, "minItems": 1, "uniqueItems": true });
    let means = format!("{}\ntakes: {}; default: {}", setting.means, setting.takes, setting.default);
    let mut property = json!({ "description": means, "anyOf": [value, list] });
    if let Some(default) = default(setting) {
        property["default"] = default;
    }
    property
}

/// Its default, where it is a value and not decided elsewhere.
pub(super) fn default(setting: &Setting) -> Option<Value> {
    let mut lab = Lab::default();
    let said = lab.describe()[setting.key].clone();
    let text = setting.default.split(" (").next().unwrap_or_default();
    let same = (setting.set)(&mut lab, text).is_ok() && lab == Lab::default();
    if !said.is_null() {
        return Some(said);
    }
    same.then(|| text.into())
}

fn value(setting: &Setting) -> Value {
    let takes = |text: &str| (setting.set)(&mut Lab::default(), text).is_ok();
    let mut forms = match setting.takes.split(' ').next().unwrap_or_default() {
        "count" | "tokens" | "blocks" => whole(&takes),
        "number" => vec![number(&takes)],
        // Some count in thousandths.
        "fraction" if takes("0.5004") => vec![number(&takes)],
        "fraction" => vec![fraction(&takes)],
        "switch" => vec![json!({ "type": "boolean" }), json!({ "enum": ["true", "false", "on", "off"] })],
        "time" => time(&takes),
        "size" => vec![with_units(&BYTES, "", &takes)],
        "bandwidth" => vec![with_units(&[&BYTES[..], &BITS[..]].concat(), "/s", &takes)],
        // Of counts only whole numbers: an `m` stands for minutes here.
        "count," => [vec![integer(&takes)], time(&takes), vec![percent()]].concat(),
        "schedule" => vec![json!({ "type": "string", "pattern": schedule() })],
        "list" => vec![json!({ "enum": ["constant"] }), json!({ "type": "string", "pattern": points() })],
        "name" => vec![json!({ "type": "string", "minLength": 1 })],
        _ => vec![json!({ "enum": setting.takes.split(" | ").collect::<Vec<_>>() })],
    };
    if setting.takes == "time" && takes("none") {
        forms.push(json!({ "const": "none" }));
    }
    if let [form] = forms.as_slice() { form.clone() } else { json!({ "anyOf": forms }) }
}

/// The largest whole number up to `most` that is taken, if that of `taken` is.
fn largest(taken: u64, most: u64, takes: impl Fn(u64) -> bool) -> u64 {
    let (mut good, mut bad) = (taken, most + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if takes(middle) { good = middle } else { bad = middle }
    }
    good
}

/// The smallest one that is taken, if that of `taken` is.
fn smallest(taken: u64, takes: impl Fn(u64) -> bool) -> u64 {
    taken - largest(0, taken, |less| less <= taken && takes(taken - less))
}

fn integer(takes: &dyn Fn(&str) -> bool) -> Value {
    let number = |value: u64| takes(&value.to_string());
    let (least, most) = (smallest(1, number), largest(1, u64::from(u32::MAX), number));
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

fn percent() -> Value {
    json!({ "type": "string", "pattern": "^[1-9]?[0-9](?:\\.[0-9]{1,3})?%$" })
}

/// A moment or a span of a schedule: nobody plans for longer than some months.
const MOMENT: &str = "(?:0s|[1-9][0-9]{0,5}(?:s|ms)|[1-9][0-9]{0,4}min|[1-9][0-9]{0,2}h)";

/// `fleet.events` as they are mostly written: an event a line, or `;` between them.
fn schedule() -> String {
    let (worker, lasts) = ("(?:[1-9][0-9]{0,2}|0)", format!("(?: for {MOMENT})?"));
    let what = [
        format!("crash {worker}{lasts}"),
        format!("replicas {worker}"),
        format!("slow {worker} by [1-9][0-9]{{0,2}}(?:\\.[0-9]{{1,3}})?{lasts}"),
        format!("l2 (?:refused|silent|loses {worker}){lasts}"),
    ];
    let event = format!("{MOMENT} +(?:{})", what.join("|"));
    let comment = "(?: *#[ -~]*)?";
    format!("^(?:none|{event}{comment}(?:(?:; ?|\n){event}{comment})*\n?)$")
}

/// Points of `arrivals.shape`; that their times are in order is not said here.
fn points() -> String {
    let point = format!("{MOMENT}:[0-9]{{1,2}}(?:\\.[0-9]{{1,3}})?");
    format!("^{point}(?:/{point}){{0,7}}$")
}

fn whole(takes: &dyn Fn(&str) -> bool) -> Vec<Value> {
    let number = |value: u64| takes(&value.to_string());
    let some = (1..100).find(|value| number(*value)).unwrap_or(1);
    let (least, most) = (smallest(some, number), largest(some, u64::from(u32::MAX), number));
    let multiples = [("", 1), ("k", 1000), ("m", 1_000_000), ("Ki", 1 << 10), ("Mi", 1 << 20)];
    let written = multiples.iter().filter_map(|(unit, factor)| {
        let (low, high) = (least.div_ceil(*factor), most / factor);
        (low <= high).then(|| format!("{}{unit}", between(low, high)))
    });
    let pattern = format!("^(?:{})$", written.collect::<Vec<_>>().join("|"));
    vec![
        json!({ "type": "integer", "minimum": least, "maximum": most }),
        json!({ "type": "string", "pattern": pattern }),
    ]
}

/// Positive floats are in the order of their bits.
fn number(takes: &dyn Fn(&str) -> bool) -> Value {
    let taken = |bits: u64| takes(&f64::from_bits(bits).to_string());
    let one = 1_f64.to_bits();
    let (least, most) = (smallest(one, taken), largest(one, 1e18_f64.to_bits(), taken));
    json!({ "type": "number", "minimum": f64::from_bits(least), "maximum": f64::from_bits(most) })
}

fn fraction(takes: &dyn Fn(&str) -> bool) -> Value {
    let thousandths = |share: u64| takes(&(share as f64 / 1000.0).to_string());
    let (least, most) = (smallest(1, thousandths), largest(1, 1000, thousandths));
    let share = |thousandths: u64| thousandths as f64 / 1000.0;
    json!({ "type": "number", "minimum": share(least), "maximum": share(most), "multipleOf": 0.001 })
}

/// Up to so many seconds; what is above nothing is at least the picosecond that times are counted in.
fn time(takes: &dyn Fn(&str) -> bool) -> Vec<Value> {
    let most = largest(1, 1 << 20, |seconds| takes(&format!("{seconds}s")));
    let zero = takes("0");
    let least = if takes("1ns") { 1.0 } else { smallest(3_600_000, |ms| takes(&format!("{ms}ms"))) as f64 * 1e9 };
    let written = TIMES
        .iter()
        .filter_map(|(unit, picos)| in_unit(unit, (least / *picos as f64, most as f64 * 1e12 / *picos as f64), zero));
    let pattern = format!("^(?:{})$", written.collect::<Vec<_>>().join("|"));
    let mut forms = vec![json!({ "type": "string", "pattern": pattern })];
    if zero {
        forms.push(json!({ "enum": [0, "0"] }));
    }
    forms
}

/// A number and a unit, within what is taken of the unit 1.
fn with_units(units: &[(&str, f64)], per: &str, takes: &dyn Fn(&str) -> bool) -> Value {
    let of_base = |count: u64| takes(&format!("{count}B{per}"));
    // 1 GiB is taken by every setting.
    let (least, most) = (smallest(1 << 30, of_base), largest(1 << 30, 1 << 60, of_base));
    let written = units.iter().filter_map(|(unit, factor)| {
        in_unit(&format!("{unit}{per}"), (least as f64 / factor, most as f64 / factor), false)
    });
    json!({ "type": "string", "pattern": format!("^(?:{})$", written.collect::<Vec<_>>().join("|")) })
}

/// Numbers from `low` to `high`, or 0, in this unit; `None`: there are none worth offering.
fn in_unit(unit: &str, (low, high): (f64, f64), zero: bool) -> Option<String> {
    // What a quotient misses a whole number by is no difference; all else is rounded inwards.
    let exact = |value: f64| Some(value.round()).filter(|round| (value - round).abs() < 1e-3);
    let most = exact(high).unwrap_or(high.floor()) as u64;
    let first = if low > 1.0 { exact(low).unwrap_or(low.ceil()) as u64 } else { 0 };
    // The decimals of the smallest number that is not 0.
    let decimals = if low > 1.0 { 3 } else { (-low.log10() + 1e-9).floor().clamp(0.0, 12.0) as usize };
    if most < first.max(1) {
        return None;
    }
    let not_zero = if first == 0 && !zero { "(?!0+(?:\\.0+)?[^0-9.])" } else { "" };
    let below = (most > first).then(|| match decimals {
        0 => between(first, most - 1),
        _ => format!("{}(?:\\.[0-9]{{1,{decimals}}})?", between(first, most - 1)),
    });
    let last = format!("{most}(?:\\.0+)?");
    let numbers: Vec<String> = below.into_iter().chain([last]).collect();
    Some(format!("{not_zero}(?:{}) ?{unit}", numbers.join("|")))
}

/// Whole numbers from `low` to `high` as a pattern, without leading zeros.
fn between(low: u64, high: u64) -> String {
    let mut parts = Vec::new();
    let mut from = low;
    while from <= high {
        // The longest stretch from here that differs in its last digits only, all of them.
        let mut size = 1;
        while size <= high / 10 && from.is_multiple_of(size * 10) && from + (size * 10 - 1) <= high && from >= size * 10
        {
            size *= 10;
        }
        // ... of which several stand side by side.
        let digit = (from / size) % 10;
        let mut count = 1;
        while digit + count <= 9 && from + (count + 1) * size - 1 <= high {
            count += 1;
        }
        parts.push(stretch(from / size, digit, count, size));
        from += count * size;
    }
    // Numbers of any length between two lengths are told at once.
    let any = |part: &str| part.strip_prefix("[1-9][0-9]{")?.strip_suffix('}')?.parse::<u32>().ok();
    let lengths: Vec<u32> = parts.iter().filter_map(|part| any(part)).collect();
    if let (Some(first), Some(last)) = (lengths.first(), lengths.last()) {
        let place = parts.iter().position(|part| any(part).is_some()).unwrap_or_default();
        parts.retain(|part| any(part).is_none());
        parts.insert(place, format!("[1-9][0-9]{{{first},{last}}}"));
    }
    format!("(?:{})", parts.join("|"))
}

/// `count` numbers side by side whose first digits are `head`, `head + 1`, ..., with any digits behind, of which 1 `size`
/// tells how many.
fn stretch(head: u64, digit: u64, count: u64, size: u64) -> String {
    let prefix = if head >= 10 { (head / 10).to_string() } else { String::new() };
    let last = if count == 1 { digit.to_string() } else { format!("[{digit}-{}]", digit + count - 1) };
    match size.ilog10() {
        0 => format!("{prefix}{last}"),
        any => format!("{prefix}{last}[0-9]{{{any}}}"),
    }
}
