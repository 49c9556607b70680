//! A request as a line of `requests.jsonl` tells of it. What a line lacks is unknown.

use serde::{Deserialize, Deserializer};

/// A request's story. Moments and spans in milliseconds; moments count from the start of the run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Its number.
    #[serde(rename = "request")]
    pub number: u64,
    /// How it ended: `completed`, or how not.
    pub status: String,
    /// Who answered.
    #[serde(deserialize_with = "name")]
    pub worker: Option<String>,
    /// Whether the figures of the run are of it, too.
    #[serde(default = "yes")]
    pub measured: bool,
    /// When its first byte was sent.
    pub sent_ms: Option<f64>,
    /// When an engine first took it.
    pub admitted_ms: Option<f64>,
    /// When its first token came.
    pub first_token_ms: Option<f64>,
    /// When its last token came.
    pub last_token_ms: Option<f64>,
    /// Time to first token.
    pub ttft_ms: Option<f64>,
    /// Time per output token after the first.
    pub tpot_ms: Option<f64>,
    /// End-to-end latency.
    pub e2el_ms: Option<f64>,
    /// Of the TTFT: latency on the way.
    pub ttft_api_ms: Option<f64>,
    /// Of the TTFT: in line before the engine.
    pub ttft_line_ms: Option<f64>,
    /// Of the TTFT: waiting for KV room.
    pub ttft_kv_wait_ms: Option<f64>,
    /// Of the TTFT: waiting for its turn.
    pub ttft_budget_wait_ms: Option<f64>,
    /// Of the TTFT: look-ups and loads.
    pub ttft_tiers_ms: Option<f64>,
    /// Of the TTFT: passes with a chunk of it.
    pub ttft_compute_ms: Option<f64>,
    /// Of the TTFT: in the client itself, before its first byte was sent.
    pub ttft_client_ms: Option<f64>,
    /// Tokens of its prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens of its reply.
    pub output_tokens: Option<u64>,
    /// Prompt tokens found in any tier.
    pub cached_tokens: Option<u64>,
    /// ... on the device.
    pub cached_l0_tokens: Option<u64>,
    /// ... in host memory.
    pub cached_l1_tokens: Option<u64>,
    /// ... in the pool.
    pub cached_l2_tokens: Option<u64>,
    /// How much of the prompt was found, in a word.
    pub class: Option<String>,
}

/// A part of a latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Waiting: in line, for KV room, for its turn.
    Queue,
    /// Computing what the caches lacked, up to the first token.
    Prefill,
    /// Look-ups in and loads from the lower tiers.
    CacheLoad,
    /// From the first token to the last.
    Decode,
    /// On the way between client and router.
    Network,
    /// In the client itself.
    Client,
}

impl Part {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 6] = [Self::Queue, Self::Prefill, Self::CacheLoad, Self::Decode, Self::Network, Self::Client];

    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Prefill => "prefill",
            Self::CacheLoad => "cache load",
            Self::Decode => "decode",
            Self::Network => "network",
            Self::Client => "client",
        }
    }
}

impl Request {
    /// Whether all its tokens came.
    #[must_use]
    pub fn completed(&self) -> bool {
        self.status == "completed"
    }

    /// A part of its latency, ms. `None`: nobody told.
    #[must_use]
    pub fn part(&self, part: Part) -> Option<f64> {
        match part {
            Part::Queue => Some(self.ttft_line_ms? + self.ttft_kv_wait_ms? + self.ttft_budget_wait_ms?),
            Part::Prefill => self.ttft_compute_ms,
            Part::CacheLoad => self.ttft_tiers_ms,
            Part::Decode => Some(self.e2el_ms? - self.ttft_ms?),
            Part::Network => self.ttft_api_ms,
            Part::Client => self.ttft_client_ms,
        }
    }
}

fn yes() -> bool {
    true
}

/// A name, or a number that is one.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Name {
        Number(u64),
        Text(String),
    }
    Ok(Option::<Name>::deserialize(from)?.map(|name| match name {
        Name::Number(number) => number.to_string(),
        Name::Text(text) => text,
    }))
}
