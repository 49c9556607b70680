//! `serve --engine candle`: the endpoint file's cluster, whose workers compute a small model on this machine.
//!
//! The endpoint file says what a GPU would do; what a CPU cannot is cut down, and told. Routing, batching and caching are the
//! file's.

use crate::cli::serve_args::ServeArgs;
use crate::cli::warn;
use crate::emulate::Settings;
use crate::emulate::candle::Loaded;
use crate::emulate::executor::Workers;
use crate::endpoint::Endpoint;
use crate::experiment::Assembled;
use crate::failure::Failure;
use crate::models::Known;
use kvcache::{Blocks, CacheConfig, Duplicates, Tokens};
use std::path::Path;
use std::sync::Arc;
use worker::engine::Memory;

/// Tokens of context that a worker computes at most: a CPU takes seconds for a thousand.
const CONTEXT: u32 = 2048;
/// Sequences that a worker has room for at their longest.
const SEQUENCES: u32 = 8;
/// New tokens in a pass: a client's disconnect ends work when the pass ends.
const BUDGET: u32 = 64;

/// A model that was loaded to be computed.
#[derive(Debug)]
pub(super) struct Computed {
    loaded: Loaded,
    name: String,
    threads: usize,
    replicas: std::cell::Cell<u16>,
}

pub(super) fn load(args: &ServeArgs) -> Result<Computed, Failure> {
    let name = args.model.clone().unwrap_or_else(|| "smollm2-135m".to_owned());
    let read = |path: &Path| Loaded::read(path).map_err(|error| Failure::Invalid(format!("--model {name}: {error}")));
    let loaded = match Known::named(&name) {
        _ if name == "tiny" => Loaded::tiny(args.seed),
        Some(known) => read(&known.pull(warn)?)?,
        None if Path::new(&name).exists() => read(Path::new(&name))?,
        None => {
            return Err(Failure::Usage(format!(
                "--model {name}: neither a file or folder nor a model that is known by name (`podlab model list`)"
            )));
        }
    };
    Ok(Computed { loaded, name, threads: usize::from(args.compute_threads), replicas: 0.into() })
}

impl Computed {
    /// What the model and this machine allow of the endpoint's engine.
    pub(super) fn fit(&self, args: &ServeArgs, endpoint: &Endpoint, assembled: &mut Assembled) -> Result<(), Failure> {
        if (args.time_scale - 1.0).abs() > f64::EPSILON {
            return Err(Failure::Usage("--time-scale: with `--engine candle` time is what computing takes".to_owned()));
        }
        let engine = &mut assembled.engine;
        let block = engine.cache.block;
        if !block.0.is_multiple_of(8) {
            return Err(Failure::Invalid(format!("block size {}: `--engine candle` takes multiples of 8", block.0)));
        }
        if engine.tiers.take().is_some() {
            warn("warning: with `--engine candle` workers have L0 alone: L1 and L2 are simulated and emulated only");
        }
        assembled.transport = None;
        let limit = u32::try_from(self.loaded.model.shape.context).unwrap_or(u32::MAX).min(CONTEXT);
        engine.max_model_len = engine.max_model_len.min(Tokens(limit));
        engine.max_num_batched_tokens = engine.max_num_batched_tokens.min(Tokens(BUDGET));
        engine.max_num_seqs = engine.max_num_seqs.min(engine.max_num_batched_tokens.0);
        engine.chunked_prefill = true;
        let pages = Blocks(engine.max_model_len.blocks(block).0 * SEQUENCES);
        engine.cache = CacheConfig { capacity: pages, duplicates: Duplicates::Keep, ..engine.cache };
        self.replicas.set(assembled.router.workers);
        let file = endpoint.model_name.as_deref().unwrap_or("the file's model");
        warn(&format!(
            "computing {} instead of {file}: context {}, {} new tokens a pass, {} blocks of KV a worker",
            self.name, engine.max_model_len.0, engine.max_num_batched_tokens.0, pages.0
        ));
        Ok(())
    }

    pub(super) fn settings(&self, settings: Settings) -> Settings {
        Settings {
            language: Some(Arc::new(self.loaded.clone())),
            // As vLLM: to the end of the context, or of what the model has to say.
            chat_max_tokens: Tokens(u32::MAX),
            latency: kvcache::Span::ZERO,
            ..settings
        }
    }

    pub(super) fn workers(&self, assembled: &Assembled) -> Workers {
        let cache = assembled.engine.cache;
        let memory = Memory { block: cache.block, pages: cache.capacity.0 };
        self.loaded.workers(assembled.router.workers, memory, self.threads)
    }
}

impl std::fmt::Display for Computed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let identity = &self.loaded.model.identity;
        write!(
            f,
            "{} ({}, weights {}): {} workers of {} threads that compute",
            self.name,
            identity.name,
            identity.weights,
            self.replicas.get(),
            self.threads
        )
    }
}
