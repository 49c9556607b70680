//! `--engine candle` in a build without workers that compute.

use super::serve_args::{Engine, EngineArgs};
use crate::computed::{Computes, Fit};
use crate::emulate::Settings;
use crate::emulate::executor::Workers;
use crate::endpoint::Endpoint;
use crate::experiment::Assembled;
use crate::failure::Failure;
use sim::cluster::Cluster;

/// There is none in this build.
#[derive(Debug)]
pub(super) enum Computed {}

pub(super) fn load(asked: &EngineArgs, _: u64) -> Result<Option<Computed>, Failure> {
    match (asked.engine, &asked.model) {
        (Engine::Sim, None) => Ok(None),
        (Engine::Sim, Some(_)) => {
            Err(Failure::Usage("--model is what `--engine candle` computes; add that, or leave it away".to_owned()))
        }
        (Engine::Candle, _) => Err(Failure::Usage(
            "--engine candle: this podlab was built without it; build with `cargo build --release --features candle`"
                .to_owned(),
        )),
    }
}

impl Computed {
    pub(super) fn fit(&self) -> &Fit {
        match *self {}
    }

    pub(super) fn computes(&self) -> &dyn Computes {
        match *self {}
    }

    pub(super) fn settings(&self, _: Settings) -> Settings {
        match *self {}
    }

    pub(super) fn on(self, _: &str) -> Result<Self, Failure> {
        match self {}
    }

    pub(super) fn find_l2(&mut self, _: &Endpoint, _: &mut Assembled, _: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
        match *self {}
    }

    pub(super) fn workers(&mut self, _: &Assembled, _: u16) -> (Cluster, Workers) {
        match *self {}
    }

    pub(super) fn told(&self, _: u16, _: u16) -> String {
        match *self {}
    }
}
