//! A run, several runs, checks or a comparison as one HTML file (`report.html`): no script, no address elsewhere.
//!
//! A page is made of what is in its folder alone, so that one that is made again is the same bytes. Everything that is put
//! into it is escaped by the templates; only the style sheet is not.

use maud::{DOCTYPE, Markup, PreEscaped, html};

mod digest; // what is needed of the requests
mod svg; // axes and frames
mod distribution; // curves of latencies
mod parts; // where TTFT goes, as bars
mod timeline; // in flight, throughput, hits over time
mod tables; // figures, workers, the slowest
mod measured; // what only a measured run tells
mod provenance; // how it was made
mod run; // a run
mod grid; // several runs
mod compared; // runs side by side
mod forest; // ... every difference with its interval
mod checks; // figures beside what they should be
pub mod write; // which page a folder gets

pub use digest::Digest;

const STYLE: &str = include_str!("page.css");

/// A page around its body.
fn shell(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="generator" content=(concat!("podlab ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (body)
                    footer {
                        "Written by podlab " (env!("CARGO_PKG_VERSION")) ". Percentiles are interpolated between the two nearest "
                        "ranks (NumPy's estimator). "
                        code { "podlab report DIR" } " writes this page again from the files beside it."
                    }
                }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

/// A name for people behind its colour, for each part of a chart.
fn legend<'a>(names: impl IntoIterator<Item = (&'a str, String)>) -> Markup {
    html! {
        ul.legend {
            @for (class, name) in names {
                li {
                    svg viewBox="0 0 22 11" aria-hidden="true" {
                        @if class.starts_with('l') { path class=(class) d="M0 6H22" {} }
                        @else { rect class=(class) width="11" height="11" x="5" rx="2" {} }
                    }
                    (name)
                }
            }
        }
    }
}

/// A card: a figure, its unit, and what it is.
fn card(value: &str, unit: &str, what: &str) -> Markup {
    html! { div.card { b { (value) @if !unit.is_empty() { " " small { (unit) } } } span { (what) } } }
}
