//! `serve --engine candle` in a build without workers that compute.

use crate::cli::serve_args::ServeArgs;
use crate::emulate::Settings;
use crate::emulate::executor::Workers;
use crate::endpoint::Endpoint;
use crate::experiment::Assembled;
use crate::failure::Failure;

/// There is none in this build.
#[derive(Debug)]
pub(super) enum Computed {}

pub(super) fn load(_: &ServeArgs) -> Result<Computed, Failure> {
    Err(Failure::Usage(
        "--engine candle: this podlab was built without it; build with `cargo build --release --features candle`"
            .to_owned(),
    ))
}

impl Computed {
    pub(super) fn fit(&self, _: &ServeArgs, _: &Endpoint, _: &mut Assembled) -> Result<(), Failure> {
        match *self {}
    }

    pub(super) fn settings(&self, _: Settings) -> Settings {
        match *self {}
    }

    pub(super) fn workers(&self, _: &Assembled) -> Workers {
        match *self {}
    }
}

impl std::fmt::Display for Computed {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}
