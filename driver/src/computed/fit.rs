//! An endpoint's engine, cut down to what a small model and a CPU allow.
//!
//! The endpoint file says what a GPU would do. Routing, batching and caching stay the file's; what it says outright is
//! followed, and what it leaves to a GPU's size is a CPU's.

use crate::endpoint::Endpoint;
use crate::experiment::{Assembled, lower_tiers};
use kvcache::{Blocks, CacheConfig, Choice, Duplicates, Span, TierConfig, Tokens};
use serde::{Deserialize, Serialize};
use sim::replica::EngineConfig;
use sim::transport::TransportConfig;

/// Sequences that a worker has room for at their longest, where that takes no more than [`ROOM_BYTES`].
const SEQUENCES: u64 = 8;
/// Bytes of KV of a worker where nobody says how many, unless one sequence takes more.
const ROOM_BYTES: u64 = 512 << 20;
/// New tokens in a pass where nobody says how many: decoders wait for a chunk, and a CPU takes its time for one.
const BUDGET: u32 = 64;

/// What a model is like, as far as engines ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// What it was asked for by.
    pub model: String,
    /// Tokens of context that it was made for.
    pub context: u32,
    /// Bytes of KV of a token.
    pub kv_token_bytes: u64,
    /// Bytes that a block has besides, when it leaves a device.
    pub block_overhead: u64,
    /// Bytes of KV that a GPU has room for, all its workers together; `None`: a CPU computes.
    #[serde(skip)]
    pub card: Option<u64>,
}

/// What the ways between tiers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// What the lab says: time is virtual.
    Modelled,
    /// Nothing but what copying takes: time is the wall's.
    Real,
}

/// Bytes of a worker's L1 where nobody says how many.
const L1_BYTES: u64 = 256 << 20;
/// Bytes of L2 where nobody says how many.
const L2_BYTES: u64 = 1 << 30;
/// Bytes per second of a way that takes no time.
const AT_ONCE: f64 = 1e12;

impl Fit {
    /// Cuts the engine down; gives what there is to tell of that.
    ///
    /// # Errors
    /// What the endpoint file, or a setting, asks for that cannot be computed.
    pub fn cut(&self, endpoint: &Endpoint, assembled: &mut Assembled, ways_are: Ways) -> Result<Vec<String>, String> {
        let (lab, args) = (&assembled.lab, &endpoint.engine);
        let engine = &mut assembled.engine;
        let block = engine.cache.block;
        if !block.0.is_multiple_of(8) {
            return Err(format!("block size {}: `--engine candle` takes multiples of 8", block.0));
        }
        let mut told = Vec::new();
        let token_bytes = self.kv_token_bytes + self.block_overhead.div_ceil(u64::from(block.0));
        if let Some(tiers) = &mut engine.tiers {
            if !tiers.chunk.0.is_multiple_of(block.0) {
                return Err(format!(
                    "chunks of {} tokens: with `--engine candle` a chunk is whole blocks of {}; set tiers.chunk",
                    tiers.chunk.0, block.0
                ));
            }
            if let Some(host) = &mut tiers.host {
                host.token_bytes = token_bytes;
                host.capacity = lab.l1.bytes.or(endpoint.lmcache.max_local_cpu_bytes).unwrap_or(L1_BYTES);
            }
            if core::mem::take(&mut tiers.save_unfull_chunk) {
                told.push(
                    "chunks are stored when they are full: part of a block would take a whole one's memory".to_owned(),
                );
            }
            if let Choice::ByCost(_) = tiers.choice {
                tiers.choice = Choice::Always;
                told.push("what a tier has is always loaded: what computing it would cost is a GPU's".to_owned());
            }
        }
        if let Some(ways) = &mut assembled.transport {
            ways.token_bytes = token_bytes;
            ways.workers_per_node = assembled.router.workers;
            if let Some(access) = &mut ways.pool {
                (access.pool.token_bytes, access.pool.shards) = (token_bytes, 1);
                access.pool.shard_bytes = lab.l2.bytes.unwrap_or(L2_BYTES);
            }
            if ways_are == Ways::Real {
                // What memory takes to be copied shows by itself.
                (ways.host_bytes_per_s, ways.nic_bytes_per_s) = (AT_ONCE, AT_ONCE);
                if let Some(access) = &mut ways.pool {
                    access.bytes_per_s = AT_ONCE;
                    (access.round_trip, access.miss_wait) = (Span::ZERO, Span::ZERO);
                }
            }
        }
        if let Some(tiers) = &engine.tiers {
            assembled.router.lower = lower_tiers(tiers, assembled.transport.as_ref());
            told.push(of_tiers(tiers, assembled.transport.as_ref()));
        }
        engine.max_model_len = engine.max_model_len.min(Tokens(self.context));
        if self.card.is_none() && lab.max_num_batched_tokens.is_none() && args.max_num_batched_tokens.is_none() {
            engine.max_num_batched_tokens = engine.max_num_batched_tokens.min(Tokens(BUDGET));
        }
        engine.max_num_seqs = engine.max_num_seqs.min(engine.max_num_batched_tokens.0);
        engine.chunked_prefill = true;
        if engine.async_scheduling {
            told.push("async scheduling is off: a pass is planned when the one before it has ended, since only then it is known whose reply ended by itself".to_owned());
        }
        let said = lab.num_gpu_blocks.is_some() || args.num_gpu_blocks_override.is_some();
        let capacity = if said { engine.cache.capacity } else { self.room(engine, assembled.router.workers) };
        *engine = EngineConfig {
            async_scheduling: false,
            cache: CacheConfig { capacity, duplicates: Duplicates::Keep, ..engine.cache },
            ..*engine
        };
        let file = endpoint.model_name.as_deref().unwrap_or("the file's model");
        told.push(format!(
            "{} instead of {file}: context {}, {} new tokens a pass, {} sequences, {} blocks of KV a worker ({} MiB)",
            self.model,
            engine.max_model_len.0,
            engine.max_num_batched_tokens.0,
            engine.max_num_seqs,
            capacity.0,
            (u64::from(capacity.0) * u64::from(block.0) * self.kv_token_bytes) >> 20,
        ));
        sim::replica::Replica::new(*engine).map_err(|error| error.to_string())?;
        Ok(told)
    }

    /// Blocks of a worker.
    fn room(&self, engine: &EngineConfig, workers: u16) -> Blocks {
        let block = engine.cache.block;
        let longest = u64::from(engine.max_model_len.blocks(block).0);
        if let Some(bytes) = self.card {
            let each = bytes / u64::from(workers.max(1)) / (u64::from(block.0) * self.kv_token_bytes).max(1);
            // More than 2^24 blocks nobody asks for.
            return Blocks(each.clamp(longest.min(1 << 24), 1 << 24) as u32);
        }
        let affordable = ROOM_BYTES / (u64::from(block.0) * self.kv_token_bytes).max(1);
        let blocks = (longest * SEQUENCES).min(affordable).max(longest);
        Blocks(u32::try_from(blocks).unwrap_or(u32::MAX))
    }
}

/// What the lower tiers hold.
fn of_tiers(tiers: &TierConfig, ways: Option<&TransportConfig>) -> String {
    let host = tiers.host.map(|host| format!("L1: {} MiB of each worker", host.capacity >> 20));
    let pool = ways.and_then(|ways| ways.pool).map(|access| format!("L2: {} MiB", access.pool.shard_bytes >> 20));
    [host, pool].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
