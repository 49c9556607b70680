//! Where a profile holds, and passes that lie elsewhere.
//!
//! Whatever prices passes is wrapped: [`Seen`] notes the passes of the runs that a profile is fitted to, and [`Watch`] counts
//! those of later runs that lie beyond them, so that nothing is extrapolated in silence.

use serde::{Deserialize, Serialize};
use sim::cost::deployment::Deployment;
use sim::cost::geometry::Quantization;
use sim::cost::{CostModel, Segment, Shape};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a profile was fitted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Models.
    pub models: Vec<String>,
    /// Tensor-parallel ranks.
    pub tensor_parallel: Vec<u32>,
    /// Formats of weights.
    pub quantization: Vec<String>,
    /// New tokens of a pass, least and most.
    pub tokens: [u64; 2],
    /// Sequences that decode in a pass, least and most, where any does.
    pub decoders: [u64; 2],
    /// Mean context of those sequences, least and most.
    pub context: [u64; 2],
    /// Tokens of KV that prompts read in a pass, least and most, where there are prompts.
    pub prompt_context: [u64; 2],
}

/// The name of a format of weights, as `--quantization` takes it.
#[must_use]
pub const fn quantization_name(quantization: Quantization) -> &'static str {
    match quantization {
        Quantization::None => "none",
        Quantization::Fp8 => "fp8",
        Quantization::Int8 => "int8",
        Quantization::Awq => "awq",
        Quantization::Gptq => "gptq",
        Quantization::Nvfp4 => "nvfp4",
    }
}

impl Grid {
    /// What of a deployment it does not have.
    #[must_use]
    pub fn lacks(&self, deployment: &Deployment) -> Vec<String> {
        let mut lacks = Vec::new();
        let format = quantization_name(deployment.quantization);
        // What a model was tuned to makes no difference to its passes.
        let base = |name: &str| name.trim_end_matches("-Instruct").to_owned();
        if !self.models.iter().any(|known| base(known) == base(&deployment.model.name)) {
            lacks.push(format!("was fitted to {}, not to {}", self.models.join(", "), deployment.model.name));
        }
        if !self.tensor_parallel.contains(&deployment.tp) {
            let known: Vec<String> = self.tensor_parallel.iter().map(u32::to_string).collect();
            lacks.push(format!("was fitted to tensor-parallel sizes {}, not to {}", known.join(", "), deployment.tp));
        }
        if !self.quantization.iter().any(|known| known == format) {
            lacks.push(format!("was fitted to weights of {}, not of {format}", self.quantization.join(", ")));
        }
        lacks
    }

    fn holds(&self, shape: &Shape) -> bool {
        axes(shape)
            .into_iter()
            .zip(self.ranges())
            .all(|(value, [least, most])| value.is_none_or(|value| (least..=most).contains(&value)))
    }

    const fn ranges(&self) -> [[u64; 2]; 4] {
        [self.tokens, self.decoders, self.context, self.prompt_context]
    }
}

/// Where a pass lies: new tokens, decoders, their mean context, context of prompts.
fn axes(shape: &Shape) -> [Option<u64>; 4] {
    let decoders = Some(shape.decoders).filter(|decoders| *decoders > 0);
    [
        Some(shape.tokens),
        decoders,
        decoders.map(|decoders| shape.context / decoders),
        Some(shape.prefill_context).filter(|context| *context > 0),
    ]
}

/// The passes of runs, as far as they reach. Clones note into the same place.
#[derive(Clone, Debug)]
pub struct Seen(Arc<[[AtomicU64; 2]; 4]>);

impl Default for Seen {
    fn default() -> Self {
        Self(Arc::new([(); 4].map(|()| [AtomicU64::new(u64::MAX), AtomicU64::new(0)])))
    }
}

impl Seen {
    /// A cost model that notes what it is asked about.
    #[must_use]
    pub fn around(&self, model: Box<dyn CostModel>) -> Box<dyn CostModel> {
        Box::new(Noting { model, seen: self.clone() })
    }

    /// Notes a pass.
    pub fn note(&self, shape: &Shape) {
        for (value, [least, most]) in axes(shape).into_iter().zip(self.0.iter()) {
            if let Some(value) = value {
                least.fetch_min(value, Ordering::Relaxed);
                most.fetch_max(value, Ordering::Relaxed);
            }
        }
    }

    /// The grid of the passes noted, for these deployments.
    #[must_use]
    pub fn grid<'a>(&self, deployments: impl Iterator<Item = &'a Deployment> + Clone) -> Grid {
        let range = |axis: usize| {
            let most = self.0[axis][1].load(Ordering::Relaxed);
            [self.0[axis][0].load(Ordering::Relaxed).min(most), most]
        };
        fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
            all.collect::<std::collections::BTreeSet<T>>().into_iter().collect()
        }
        let formats = deployments.clone().map(|it| quantization_name(it.quantization).to_owned());
        Grid {
            models: distinct(deployments.clone().map(|it| it.model.name.clone())),
            quantization: distinct(formats),
            tensor_parallel: distinct(deployments.map(|it| it.tp)),
            tokens: range(0),
            decoders: range(1),
            context: range(2),
            prompt_context: range(3),
        }
    }
}

struct Noting {
    model: Box<dyn CostModel>,
    seen: Seen,
}

impl CostModel for Noting {
    fn segment(&self, shape: &Shape) -> Segment {
        self.seen.note(shape);
        self.model.segment(shape)
    }
}

/// Counts the passes that lie outside a grid. Clones count into the same place.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    grid: Grid,
    asked: AtomicU64,
    outside: AtomicU64,
}

impl Watch {
    /// A watch on a grid.
    #[must_use]
    pub fn new(grid: Grid) -> Self {
        Self(Arc::new(Counts { grid, asked: AtomicU64::new(0), outside: AtomicU64::new(0) }))
    }

    /// A cost model that counts what it is asked about.
    #[must_use]
    pub fn around(&self, model: Box<dyn CostModel>) -> Box<dyn CostModel> {
        Box::new(Watched { model, counts: self.0.clone() })
    }

    /// What to say of the passes counted so far; `None`: all lie within the grid.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let [outside, asked] = [&self.0.outside, &self.0.asked].map(|count| count.load(Ordering::Relaxed));
        let [tokens, decoders, context, prompt] = self.0.grid.ranges();
        (outside > 0).then(|| {
            format!(
                "{outside} of {asked} stretches of passes begin outside what the hardware profile was fitted to (tokens {}-{}, decoders {}-{}, context {}-{}, prompt context {}-{}): extrapolated",
                tokens[0], tokens[1], decoders[0], decoders[1], context[0], context[1], prompt[0], prompt[1]
            )
        })
    }
}

struct Watched {
    model: Box<dyn CostModel>,
    counts: Arc<Counts>,
}

impl CostModel for Watched {
    fn segment(&self, shape: &Shape) -> Segment {
        self.counts.asked.fetch_add(1, Ordering::Relaxed);
        if !self.counts.grid.holds(shape) {
            self.counts.outside.fetch_add(1, Ordering::Relaxed);
        }
        self.model.segment(shape)
    }
}
