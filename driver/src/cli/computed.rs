//! `--engine candle`: the model that workers compute.

use super::serve_args::{Engine, EngineArgs};
use super::warn;
use crate::computed::hybrid::Hybrid;
use crate::computed::{Computes, Fit};
use crate::emulate::Settings;
use crate::emulate::candle::Loaded;
use crate::emulate::executor::Workers;
use crate::endpoint::Endpoint;
use crate::experiment::Assembled;
use crate::failure::Failure;
use crate::l2::Remote;
use crate::models::Known;
use kvcache::{LoadMode, Tokens};
use sim::cluster::Cluster;
use std::path::Path;
use std::sync::Arc;
use worker::engine::Memory;
use worker::tensor::{DType, Device, TensorModel};

#[path = "computed_l2.rs"]
mod elsewhere; // L2 in a Redis

/// A model that was loaded to be computed.
#[derive(Debug)]
pub(super) struct Computed {
    hybrid: Hybrid,
    /// Where it computes; `None`: on the CPU, by the worker's own kernels.
    device: Option<Arc<TensorModel>>,
    /// L2, where it is not in this process; until workers have it.
    l2: Option<Remote>,
}

/// The model that a command line asks for; `None`: nothing is computed. `seed` is the random model's.
pub(super) fn load(asked: &EngineArgs, seed: u64) -> Result<Option<Computed>, Failure> {
    match (asked.engine, &asked.model) {
        (Engine::Sim, None) => return Ok(None),
        (Engine::Sim, Some(_)) => {
            return Err(Failure::Usage(
                "--model is what `--engine candle` computes; add that, or leave it away".to_owned(),
            ));
        }
        (Engine::Candle, _) => {}
    }
    let name = asked.model.clone().unwrap_or_else(|| "smollm2-135m".to_owned());
    let read = |path: &Path| Loaded::read(path).map_err(|error| Failure::Invalid(format!("--model {name}: {error}")));
    let loaded = match Known::named(&name) {
        _ if name == "tiny" => Loaded::tiny(seed),
        Some(known) => read(&known.pull(warn)?)?,
        None if Path::new(&name).exists() => read(Path::new(&name))?,
        None => {
            return Err(Failure::Usage(format!(
                "--model {name}: neither a file or folder nor a model that is known by name (`podlab model list`)"
            )));
        }
    };
    let shape = &loaded.model.shape;
    let fit = Fit {
        model: name,
        context: u32::try_from(shape.context).unwrap_or(u32::MAX),
        // A half for each key and each value.
        kv_token_bytes: (shape.layers * shape.kv_width() * 2) as u64,
        block_overhead: worker::block::HEADER as u64,
        card: None,
    };
    Ok(Some(Computed { hybrid: Hybrid { loaded, fit }, device: None, l2: None }))
}

impl Computed {
    /// What the model asks of an engine.
    pub(super) fn fit(&self) -> &Fit {
        &self.hybrid.fit
    }

    /// The same on a device: `cpu`, `cuda`, `cuda:N`, or `tensors`, the GPU's code on the CPU.
    pub(super) fn on(mut self, device: &str) -> Result<Self, Failure> {
        let failed = |error: String| Failure::Failed(format!("--device {device}: {error}"));
        let (there, dtype) = match device.strip_prefix("cuda") {
            None if device == "cpu" => return Ok(self),
            None if device == "tensors" => (Device::Cpu, DType::F32),
            Some(number) if number.is_empty() || number.starts_with(':') => {
                let number = number.strip_prefix(':').unwrap_or("0").parse();
                let number = number.map_err(|_| {
                    Failure::Usage(format!(
                        "--device {device}: it is cpu, cuda, cuda:N (N being a number, from 0) or tensors"
                    ))
                })?;
                card(number).map_err(failed)?
            }
            _ => return Err(Failure::Usage(format!("--device {device}: it is cpu, cuda, cuda:N or tensors"))),
        };
        let model = TensorModel::new(&self.hybrid.loaded.model, &there, dtype);
        let model = model.map_err(|error| failed(error.to_string()))?;
        if let Some(free) = room(&there).map_err(failed)? {
            // The rest is for what passes need besides.
            self.hybrid.fit.card = Some(free / 10 * 8);
        }
        self.device = Some(Arc::new(model));
        Ok(self)
    }

    /// Workers for runs in virtual time.
    pub(super) fn computes(&self) -> &dyn Computes {
        &self.hybrid
    }

    pub(super) fn settings(&self, settings: Settings) -> Settings {
        let mut models = settings.models.clone();
        // It is what is really served, whatever the endpoint file calls it.
        if !models.contains(&self.fit().model) {
            models.push(self.fit().model.clone());
        }
        Settings {
            language: Some(Arc::new(self.hybrid.loaded.clone())),
            // As vLLM: to the end of the context, or of what the model has to say.
            chat_max_tokens: Tokens(u32::MAX),
            latency: kvcache::Span::ZERO,
            models,
            ..settings
        }
    }

    /// L2 is a Redis, where the endpoint file or the settings say so; `is_set` tells which of those somebody set.
    pub(super) fn find_l2(
        &mut self,
        endpoint: &Endpoint,
        assembled: &mut Assembled,
        is_set: &dyn Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        self.l2 = elsewhere::remote(endpoint, assembled, is_set)?;
        if let Some(tiers) = &mut assembled.engine.tiers
            && (self.l2.is_some() || self.device.is_some())
            && tiers.load == LoadMode::Layerwise
        {
            tiers.load = LoadMode::Overlapped;
            warn(
                "loads go on beside other requests' passes, not layer by layer within their own: what comes from a Redis, or \
                 goes to a device, is there as a whole or not at all",
            );
        }
        Ok(())
    }

    /// The cluster, and its workers of `threads` threads each, for a server.
    pub(super) fn workers(&mut self, assembled: &Assembled, threads: u16) -> (Cluster, Workers) {
        let cache = assembled.engine.cache;
        let memory = Memory { block: cache.block, pages: cache.capacity.0 };
        let (l2, cluster) = (self.l2.take(), assembled.cluster());
        let cluster = if l2.is_some() { cluster.with_pool_elsewhere() } else { cluster };
        let count = assembled.router.workers;
        let workers = match &self.device {
            Some(model) => self.hybrid.loaded.workers_on(model, count, memory, l2),
            None => self.hybrid.loaded.workers_over(count, memory, usize::from(threads), l2),
        };
        (cluster, workers)
    }

    /// What is served.
    pub(super) fn told(&self, workers: u16, threads: u16) -> String {
        if let Some(model) = &self.device {
            let (name, weights) = (&model.identity.name, &model.identity.weights);
            let fit = self.fit();
            return format!(
                "{} ({name}, weights {weights}): {workers} workers on {:?}",
                fit.model,
                model.device().location()
            );
        }
        let identity = &self.hybrid.loaded.model.identity;
        format!(
            "{} ({}, weights {}): {workers} workers of {threads} threads that compute",
            self.fit().model,
            identity.name,
            identity.weights,
        )
    }
}

/// Opens a GPU, and tells what it is.
#[cfg(feature = "cuda")]
fn card(number: usize) -> Result<(Device, DType), String> {
    let (device, card) = worker::tensor::cuda::open(number).map_err(|error| error.to_string())?;
    let (free, all) = card.memory;
    let (down, up) = card.pcie;
    warn(&format!(
        "{}: {} of {} MiB free, PCIe {:.1} GB/s from it and {:.1} to it",
        card.name,
        free >> 20,
        all >> 20,
        down / 1e9,
        up / 1e9
    ));
    let dtype = card.dtype();
    Ok((device, dtype))
}

#[cfg(not(feature = "cuda"))]
fn card(_: usize) -> Result<(Device, DType), String> {
    Err("this build has no CUDA: build with `--features cuda`".to_owned())
}

/// Bytes of memory that a GPU has left; `None`: it is none.
fn room(device: &Device) -> Result<Option<u64>, String> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => worker::tensor::cuda::free(cuda).map(Some).map_err(|error| error.to_string()),
        _ => Ok(None),
    }
}
