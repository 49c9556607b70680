//! A hardware profile: what was found of a GPU by measurement, as a file.
//!
//! `podlab calibrate` writes it, `--hardware FILE` (the setting `hardware.profile`) reads it. It holds factors of the roofline
//! and where they hold; whatever it does not name stays as its base has it. With a profile, what the host adds to a pass is
//! part of `per_layer_us`, so `engine.host_overhead` is nothing unless somebody sets it.

use crate::bounded;
use crate::calibrate::factors::{Factor, Setup};
use kvcache::Span;
use serde::{Deserialize, Serialize};
use sim::cost::deployment::Deployment;
use sim::cost::roofline::efficiency::Efficiency;
use std::collections::BTreeMap;
use std::path::Path;

pub mod grid; // where a profile holds, and passes that lie elsewhere
pub mod passes; // whole passes of a small model on a CPU

pub use grid::{Grid, Watch};
pub use passes::Passes;

/// The version of the format.
pub const FORMAT: &str = "podlab-hardware/1";

/// A profile that is of no GPU in particular.
pub const ANY: &str = "any";

/// Larger files are no profiles.
const MOST_BYTES: u64 = 1 << 20;

/// A profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// [`FORMAT`].
    pub format: String,
    /// What it is called.
    pub name: String,
    /// The GPU that it is of, as the catalogue has it; `any`: of none in particular.
    pub gpu: String,
    /// What stands for the factors that it does not name.
    pub base: Base,
    /// What it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The factors, by name.
    pub factors: BTreeMap<String, Value>,
    /// Whole passes of a small model on a CPU, which then price passes instead of the roofline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes: Option<Passes>,
    /// What it was fitted to, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
    /// Medians of the sizes of relative errors, by kind of figure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, Error>,
}

/// What stands for factors that a profile does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// [`Efficiency::published`]: of kernels.
    Published,
    /// [`Efficiency::served`]: of served engines.
    Served,
}

/// What a profile was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `table`, `run`, `layers` or `passes`.
    pub kind: String,
    /// Its name, as it was given.
    pub path: String,
    /// SHA-256 of the figures' file, in hexadecimal.
    pub sha256: String,
    /// The day, `YYYY-MM-DD`.
    pub date: String,
    /// Groups of measurements that were fitted to.
    pub groups: usize,
}

/// A factor's value, in the unit that its name says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// The value.
    pub value: f64,
    /// Lower end of the 95 % interval; absent: the measurements did not tell it, and the value is the published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// How far simulation is off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Error {
    /// Figures there are.
    pub figures: usize,
    /// On what it was fitted to; absent: it was fitted to none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<f64>,
    /// On groups that were left out of the fit; absent: there were too few groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
}

impl Hardware {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, beginning with its name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let said = |why: String| format!("{}: {why}", path.display());
        let bytes = bounded::read(path, MOST_BYTES).map_err(|error| said(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| said("it is no text in UTF-8".to_owned()))?;
        Self::parse(&text).map_err(said)
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let profile: Self = serde_saphyr::from_str(text).map_err(|error| {
            let told = error.to_string();
            format!(
                "not a hardware profile, as `podlab calibrate` writes them: {}",
                told.lines().next().unwrap_or_default()
            )
        })?;
        if profile.format != FORMAT {
            return Err(format!("format: \"{}\" is not {FORMAT}, which this podlab reads", profile.format));
        }
        for (name, value) in &profile.factors {
            let Some(factor) = Factor::find(name) else {
                let known = Factor::ALL.map(Factor::name);
                return Err(format!("factors: there is no \"{name}\"; there are {}", known.join(", ")));
            };
            let (least, most) = factor.range();
            if !(value.value.is_finite() && value.value >= least && value.value <= most) {
                return Err(format!("factors.{name}: {} lies outside {least} to {most}", value.value));
            }
        }
        match profile.passes.as_ref().and_then(Passes::wrong) {
            Some(wrong) => Err(wrong),
            None => Ok(profile),
        }
    }

    /// As a file.
    ///
    /// # Panics
    /// Never: every part of it can be written.
    #[must_use]
    pub fn text(&self) -> String {
        let text = serde_saphyr::to_string(self).expect("a profile is made of maps, texts and numbers");
        format!("# A hardware profile: podlab simulate ENDPOINT.yaml --hardware FILE\n{text}")
    }

    /// What it makes of the roofline, and of the way to the engine where it says so.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let efficiency = match self.base {
            Base::Published => Efficiency::published(),
            Base::Served => Efficiency::served(),
        };
        let mut setup = Setup { efficiency, api_latency: Span::ZERO };
        for (name, value) in &self.factors {
            if let Some(factor) = Factor::find(name) {
                factor.put(&mut setup, value.value);
            }
        }
        setup
    }

    /// The way to the engine; `None`: it says nothing of it.
    #[must_use]
    pub fn api_latency(&self) -> Option<Span> {
        self.factors.contains_key(Factor::ApiLatency.name()).then(|| self.setup().api_latency)
    }

    /// Whether it is of the deployment's GPU, and what of the deployment it was not fitted to.
    ///
    /// # Errors
    /// That it is of another GPU, and what to do.
    pub fn check(&self, deployment: &Deployment) -> Result<Vec<String>, String> {
        let gpu = deployment.instance.gpu.name;
        if self.gpu != ANY && !self.gpu.eq_ignore_ascii_case(gpu) {
            return Err(format!(
                "hardware.profile: {} is of {}, and {} has {gpu}; calibrate on {gpu}, or leave the profile away",
                self.name,
                self.gpu,
                deployment.instance.sagemaker_name()
            ));
        }
        let outside = self.grid.as_ref().map(|grid| grid.lacks(deployment)).unwrap_or_default();
        Ok(outside.into_iter().map(|lack| format!("hardware.profile: {} {lack}", self.name)).collect())
    }
}
