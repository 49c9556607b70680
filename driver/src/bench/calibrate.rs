//! How many words make a token, and how many tokens a server adds to a prompt: found out by two short calls.

use super::client::Client;
use super::exchange::{Ask, Observed};
use super::script::{Script, Shape};
use super::words::Words;
use hyper::body::Bytes;
use kvcache::{Time, Tokens};
use sim::workload::{Pacing, Segment, Workload};

/// Words of the two prompts. The difference is what counts: what the server adds is in both.
const LENGTHS: [u32; 2] = [64, 320];
/// Texts of the calibration share nothing with those of the run.
const APART: u64 = 0x05ea_5a1e_0ca1_1b8a;

/// What was found.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// How texts are made for this server.
    pub words: Words,
    /// Why the lengths of prompts are an estimate; `None`: they are as the server counts.
    pub doubt: Option<String>,
}

/// Asks the server of `client`.
///
/// # Errors
/// The observation of a call that failed.
pub async fn calibrate(client: &Client, shape: &Shape, salt: u64) -> Result<Calibrated, Box<Observed>> {
    let mut counted = [None; 2];
    for (length, counted) in LENGTHS.into_iter().zip(&mut counted) {
        let mut workload = Workload::new(Pacing::Open);
        workload.push(Time::ZERO, None, &[Segment { id: u64::from(length), tokens: Tokens(length) }], Tokens(1));
        let shape = Shape { max_tokens: Some(1), session_key: None, ..shape.clone() };
        let script = Script::new(workload, Words::unasked(salt ^ APART), shape);
        let body = Bytes::from(script.body(0, |_| None));
        let scheduled = client.clock().now();
        let ask = Ask { place: 0, scheduled, body, session: None, prefix: None, keep: false, listener: None };
        let observed = client.exchange(ask).await;
        // A first token that is a blank is no failure here.
        let harmless = |class: &str| matches!(class, "no_content" | "no_done");
        if observed.result.as_ref().is_err_and(|problem| !harmless(&problem.class)) {
            return Err(Box::new(observed));
        }
        *counted = observed.seen.usage.map(|usage| usage.prompt_tokens).filter(|tokens| *tokens > 0);
    }
    Ok(solve(salt, counted))
}

/// Two equations: tokens = words / per token + added.
fn solve(salt: u64, counted: [Option<u64>; 2]) -> Calibrated {
    let unasked = |doubt: String| Calibrated { words: Words::unasked(salt), doubt: Some(doubt) };
    let [Some(few), Some(many)] = counted else {
        return unasked("the server tells no usage.prompt_tokens: a word is taken for a token".to_owned());
    };
    let words = f64::from(LENGTHS[1] - LENGTHS[0]);
    let per_token = words / (many as f64 - few as f64);
    if !(0.1..=10.0).contains(&per_token) {
        return unasked(format!(
            "the server counts {few} tokens for {} words and {many} for {}, which is no tokenizer's count: a word is taken for a token",
            LENGTHS[0], LENGTHS[1]
        ));
    }
    let added = (few as f64 - f64::from(LENGTHS[0]) / per_token).round().clamp(0.0, 10_000.0) as u32;
    Calibrated { words: Words { salt, per_token, added }, doubt: None }
}
