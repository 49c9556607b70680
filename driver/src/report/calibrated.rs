//! A hardware profile for people and for programs.

use super::table::{compact, finished};
use crate::calibrate::factors::{Factor, Setup};
use crate::hardware::{Hardware, Passes};
use comfy_table::{Cell, CellAlignment};
use std::fmt::Write;

/// As a table: factors with their intervals, then how far simulation is off.
pub(crate) fn table(profile: &Hardware) -> String {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = compact(
        [Cell::new(format!("{}, {}", profile.name, profile.gpu))]
            .into_iter()
            .chain(["value", "95 % interval", "published"].map(|head| right(head.to_owned()))),
    );
    for factor in Factor::ALL {
        let Some(value) = profile.factors.get(factor.name()) else { continue };
        let interval = value.low.zip(value.high);
        table.add_row([
            Cell::new(factor.name()),
            right(figure(value.value)),
            right(interval.map_or("not told by these figures".to_owned(), |(low, high)| {
                format!("{} to {}", figure(low), figure(high))
            })),
            right(figure(factor.of(&Setup::served()))),
        ]);
    }
    let mut text = match &profile.passes {
        Some(passes) => passes_table(profile, passes),
        None => finished(table),
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    for (kind, error) in &profile.errors {
        let trained = error.training.map(|share| format!("{} on what it was fitted to", percent(share)));
        let held = error.held_out.map(|share| format!("{} on what was left out", percent(share)));
        let said: Vec<String> = trained.into_iter().chain(held).collect();
        writeln!(text, "{kind}, {} figures: median error {}", error.figures, said.join(", "))
            .expect("a string takes every character");
    }
    text
}

/// What whole passes take.
fn passes_table(profile: &Hardware, passes: &Passes) -> String {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = compact([Cell::new(&profile.name), right("µs".to_owned())].into_iter());
    for knot in &passes.tokens {
        table.add_row([Cell::new(format!("pass of {} new tokens", knot.tokens)), right(figure(knot.us))]);
    }
    let linear = [
        ("sequence that samples", passes.sample_us),
        ("token that a decoder attends to", passes.context_us),
        ("pair of a prompt's tokens", passes.pair_us),
        ("token of KV that a chunk reads", passes.prefill_context_us),
    ];
    for (name, us) in linear {
        table.add_row([Cell::new(format!("each {name}")), right(figure(us))]);
    }
    finished(table)
}

/// As JSON: the profile itself.
pub(crate) fn json(profile: &Hardware) -> String {
    let mut text = serde_json::to_string_pretty(profile).expect("figures are representable");
    text.push('\n');
    text
}

/// Four significant digits.
fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.digits$}")
}
