//! `podlab invoke`: one prompt, streamed to the terminal, and how long it took.

use super::bench_args::InvokeArgs;
use super::settings::{asks_for_help, list_settings};
use super::{Format, place, print, warn};
use crate::bench::client::Client;
use crate::bench::clock::Clock;
use crate::bench::exchange::{Ask, Observed};
use crate::bench::place::Place;
use crate::failure::Failure;
use hyper::body::Bytes;
use router::Api;
use serde_json::{Value, json};
use std::io::{Read, Write};

/// Tokens of a reply where nobody says how many.
const TOKENS: u32 = 256;
/// A session of its own.
const SESSION: &str = "podlab-invoke";

pub(super) fn run(args: &InvokeArgs) -> Result<(), Failure> {
    if asks_for_help(&args.lab) {
        return print(&list_settings());
    }
    if args.format == Format::Csv {
        return Err(Failure::Usage("-o csv: one prompt is no table; use -o json".to_owned()));
    }
    let prompt = match args.prompt.as_str() {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::Invalid(format!("cannot read the prompt from stdin: {error}")))?;
            text
        }
        text => text.to_owned(),
    };
    let place = place::of_one(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    let (observed, model) = runtime.block_on(ask(args, &place, &prompt))?;
    let figures = figures(&observed, &place, model.as_deref());
    match args.format {
        Format::Json => print(&format!("{figures:#}\n"))?,
        Format::Table | Format::Csv => {
            print("\n")?;
            warn(&told(&figures));
        }
    }
    observed.result.map_err(|problem| Failure::Remote(format!("--target {}: {problem}", place.target_name)))
}

async fn ask(args: &InvokeArgs, place: &Place, prompt: &str) -> Result<(Observed, Option<String>), Failure> {
    let client = Client::new(place.target.clone(), place::options(place, &args.target)?, Clock::start()).await?;
    let mut notes = Vec::new();
    let model = place::model(args.target.model.as_deref(), place, &client, &mut notes).await?;
    for note in notes {
        warn(&format!("warning: {note}"));
    }
    let mut body = match place.api {
        Api::Chat => json!({ "messages": [{ "role": "user", "content": prompt }] }),
        Api::Completions => json!({ "prompt": prompt }),
    };
    body["max_tokens"] = json!(args.target.max_tokens.unwrap_or(TOKENS));
    if let Some(model) = &model {
        body["model"] = json!(model);
    }
    if !args.target.no_stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
    }
    if args.target.ignore_eos {
        body["ignore_eos"] = json!(true);
    }
    if let Some(key) = &place.session_key {
        body[key.as_str()] = json!(SESSION);
    }
    let show = args.format != Format::Json;
    let scheduled = client.clock().now();
    let ask = Ask {
        place: 0,
        scheduled,
        body: Bytes::from(body.to_string()),
        session: Some(SESSION.to_owned()),
        prefix: args.target.prefix_aware_id.then(|| "podlab-invoke".to_owned()),
        keep: true,
        listener: show.then(|| {
            let tell: crate::bench::reader::Listener = Box::new(|text| {
                let mut out = std::io::stdout();
                // A reader that went away ends nothing: the figures are still worth something.
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            });
            tell
        }),
    };
    Ok((client.exchange(ask).await, model))
}

fn figures(observed: &Observed, place: &Place, model: Option<&str>) -> Value {
    let seen = &observed.seen;
    let since = |at: Option<u64>| at.map(|at| at.saturating_sub(observed.dispatched) as f64 / 1e6);
    let tokens = seen.usage.map_or(seen.events, |usage| usage.completion_tokens);
    let gaps = tokens.checked_sub(1).filter(|gaps| *gaps > 0 && seen.events > 1);
    let span = seen.last_content.zip(seen.first_content).map(|(last, first)| (last - first) as f64 / 1e6);
    let e2el = since(seen.last_content);
    let dollars = place.price.as_ref().zip(e2el).map(|(price, ms)| price.usd_per_hour / 3.6e6 * ms);
    json!({
        "target": place.target_name,
        "model": model,
        "text": seen.text,
        "ttft_ms": since(seen.first_content.filter(|_| observed.streamed)),
        "ttfo_ms": since(seen.first_answer.filter(|_| observed.streamed)),
        "tpot_ms": span.zip(gaps).map(|(span, gaps)| span / gaps as f64),
        "e2el_ms": e2el,
        "connect_ms": observed.connect_ns as f64 / 1e6,
        "prompt_tokens": seen.usage.map(|usage| usage.prompt_tokens),
        "output_tokens": tokens,
        "counted_by_server": seen.usage.is_some(),
        "cached_tokens": seen.usage.and_then(|usage| usage.cached_tokens),
        "worker": observed.worker,
        "usd_if_alone": dollars,
        "error": observed.result.as_ref().err().map(|problem| problem.class.as_ref()),
    })
}

/// The figures on one line; what is unknown is said to be.
fn told(figures: &Value) -> String {
    let ms = |key: &str| figures[key].as_f64().map_or_else(|| "unknown".to_owned(), |ms| format!("{ms:.1} ms"));
    let count = |key: &str| figures[key].as_u64().map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let cost = figures["usd_if_alone"].as_f64().map_or_else(
        || "unknown (--usd-per-hour)".to_owned(),
        |usd| format!("${usd:.6} if it had the endpoint for itself"),
    );
    format!(
        "TTFT {}, TPOT {}, E2EL {} (connecting took {}); prompt {} tokens, of which cached {}; reply {} tokens{}; worker {}; cost {cost}",
        ms("ttft_ms"),
        ms("tpot_ms"),
        ms("e2el_ms"),
        ms("connect_ms"),
        count("prompt_tokens"),
        count("cached_tokens"),
        count("output_tokens"),
        if figures["counted_by_server"] == true { "" } else { " (events counted)" },
        figures["worker"].as_str().unwrap_or("unknown"),
    )
}
