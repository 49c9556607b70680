//! One experiment: an endpoint file, the lab, a workload; and a run of it for each combination of values.

use crate::computed::{Compute, Computes, Timed, Ways};
use crate::endpoint::{Endpoint, short_prompts_warning};
use crate::failure::Failure;
use crate::growth::Growth;
use crate::hardware::{Hardware, Watch};
use crate::lab::Lab;
use kvcache::{Piece, RequestId, Span, Tokens};
use router::{Api, Forecast, Router};
use sim::cluster::{Cluster, Event, Refusal, RequestLimits};
use sim::cost::CostModel;
use sim::cost::deployment::Deployment;
use sim::cost::forecast::forecast;
use sim::extent::Extent;
use sim::fleet::{Fleet, FleetConfig};
use sim::ledger::{Ledger, Price, Record, Summary};
use sim::replica::{EngineConfig, Replica};
use sim::simulate::{BeyondHorizon, Path, Shell, simulate_executed};
use sim::transport::TransportConfig;
use sim::workload::Workload;

mod assemble; // from files to the settings of a cluster
mod tiers; // ... of what lies below the device
mod fleet; // ... of workers that come and go
mod kernels; // ... of passes that measured kernels price
mod case; // what one run of a matrix is
mod describe; // an assembled case as a value
mod source; // where requests come from
mod replay; // ... from a file
mod overload; // whether more was sent than was served
mod explanation; // why a request went where it did
pub mod slo; // what users were promised
pub mod find; // how far something can go and keep it

pub(crate) use assemble::{HOST_OVERHEAD, lower_tiers};
pub use case::{Case, Load, Matrix, Tiers};
use explanation::Asked;
pub use explanation::{Explanation, Routed};
pub use kernels::Kernels;
pub use source::Source;
pub use tiers::tiers_of;

/// The most workers of which each is asked at each decision what it has, where nobody says otherwise.
pub(crate) const MOST_AUDITED: u16 = 16;

/// What all runs of a command share.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The name of its file.
    pub file: String,
    /// The workload's name, as it was asked for.
    pub workload: String,
    /// Where requests come from.
    pub source: Source,
}

/// A case, with every setting resolved and checked.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The lab.
    pub lab: Lab,
    /// The model on its instance.
    pub deployment: Deployment,
    /// The workers' engine.
    pub engine: EngineConfig,
    /// The ways between the tiers, where there are lower ones.
    pub transport: Option<TransportConfig>,
    /// How the router is set up.
    pub router: router::RouterConfig,
    /// Between client and router.
    pub path: Path,
    /// What it costs.
    pub price: Price,
    /// How workers come and go.
    pub fleet: FleetConfig,
    /// How many requests a worker lets in.
    pub limits: Option<RequestLimits>,
    /// The hardware profile that prices its passes; `None`: published figures do.
    pub hardware: Option<Hardware>,
    /// What the host works for a pass.
    pub host: Span,
    /// Measured kernels that price its passes instead.
    pub kernels: Option<Kernels>,
    /// Counts passes that lie outside what the profile was fitted to.
    pub watch: Option<Watch>,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it was.
    pub case: Case,
    /// The workload's name.
    pub workload: String,
    /// The endpoint file's name.
    pub endpoint: String,
    /// What was simulated, in a line each for the worker and its lower tiers.
    pub hardware: String,
    /// Every setting as it was resolved, for the record.
    pub resolved: serde_json::Value,
    /// Its figures.
    pub summary: Summary,
    /// Every request.
    pub records: Vec<Record>,
    /// Of the requests asked about, in the order in which they were asked for, why they went where they did.
    pub explanations: Vec<Explanation>,
    /// How large an index that nothing is taken from has become; `None`: there is none.
    pub growth: Option<Growth>,
    /// What tells that more was sent than was served; `None`: nothing does.
    pub overload: Option<String>,
    /// What was warned of.
    pub warnings: Vec<String>,
    /// What of the schedule did not happen, and why.
    pub missed: Vec<String>,
    /// How it keeps what was promised; `None`: nothing was.
    pub kept: Option<slo::Kept>,
    /// What was computed for it, so that its times were measured; `None`: all was simulated.
    pub computed: Option<Timed>,
}

impl Outcome {
    /// The requests that its figures are of.
    #[must_use]
    pub fn measured(&self) -> &[Record] {
        &self.records[self.summary.left_out as usize..]
    }

    /// Requests that each worker was sent.
    #[must_use]
    pub fn requests_by_worker(&self) -> Vec<u64> {
        let served = self.records.iter().filter_map(|record| record.worker).map(|worker| worker.index() + 1);
        let mut counts = vec![0; served.fold(usize::from(self.case.replicas), usize::max)];
        for worker in self.records.iter().filter_map(|record| record.worker) {
            counts[worker.index()] += 1;
        }
        counts
    }

    /// Why requests were refused: how many of each class, with one example.
    #[must_use]
    pub fn refusals(&self) -> Vec<(u64, Refusal)> {
        let mut classes: Vec<(u64, Refusal)> = Vec::new();
        for refusal in self.records.iter().filter_map(|record| record.refusal) {
            match classes.iter_mut().find(|(_, known)| known.class() == refusal.class()) {
                Some((count, _)) => *count += 1,
                None => classes.push((1, refusal)),
            }
        }
        classes
    }
}

impl Assembled {
    /// A cold cluster.
    ///
    /// # Panics
    /// Never: the engine's settings were checked when this was assembled.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        let (model, forecast) = (self.model(), self.forecast());
        let model = if let Some(watch) = &self.watch { watch.around(model) } else { model };
        let router = Router::new(self.router);
        let cluster = Cluster::new(self.router.workers, self.engine, router, model, self.transport)
            .expect("the engine was checked")
            .with_present(self.fleet.replicas)
            .with_limits(self.limits)
            .with_forecast(forecast)
            .with_signal_lag(self.lab.router.signal_lag);
        let audit = self.lab.router.audit.unwrap_or(self.router.workers <= MOST_AUDITED);
        if audit { cluster.with_audit() } else { cluster }
    }

    /// What passes last.
    fn model(&self) -> Box<dyn CostModel> {
        let (host, overlapped) = (self.host, self.engine.async_scheduling);
        let passes = self.hardware.as_ref().and_then(|profile| profile.passes.as_ref());
        match (passes, &self.kernels) {
            (Some(passes), _) => Box::new(passes.cost()),
            (None, Some(kernels)) => kernels.cost(host, overlapped),
            (None, None) => Box::new(self.deployment.roofline(host, overlapped)),
        }
    }

    /// What a router is told of a worker's work.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        forecast(&*self.model(), &self.engine, self.transport.as_ref())
    }
}

impl Experiment {
    /// Resolves and checks a case.
    ///
    /// # Errors
    /// [`Failure::Invalid`] or [`Failure::Usage`], naming the place and the remedy.
    pub fn assemble(&self, case: &Case) -> Result<Assembled, Failure> {
        let mut lab = Lab::default();
        for (key, value) in &case.settings {
            lab.set(key, value).map_err(Failure::Usage)?;
        }
        let mut assembled = assemble::assemble(&self.endpoint, &self.file, lab, case)?;
        if let Some(passes) = assembled.hardware.as_ref().and_then(|profile| profile.passes.clone()) {
            let told = passes.fit.cut(&self.endpoint, &mut assembled, Ways::Modelled).map_err(Failure::Invalid)?;
            assembled.warnings.extend(told);
        }
        self.source.check(&assembled.lab)?;
        assembled.warnings.extend(self.source.warning(&assembled.lab, case.load));
        if let Some(tiers) = assembled.engine.tiers.filter(|tiers| !tiers.save_unfull_chunk) {
            let longest = self.source.longest_prompt(&assembled.lab, case.load, case.seed);
            let warning = short_prompts_warning(&self.endpoint, longest.0, tiers.chunk.0);
            assembled.warnings.extend(warning.map(|warning| warning.to_string()));
        }
        Ok(assembled)
    }

    /// Runs a case.
    ///
    /// # Errors
    /// [`Failure::Usage`] where the run would last beyond what time can hold.
    ///
    /// # Panics
    /// Where a law of the simulator is broken: a bug.
    pub fn run(&self, case: Case, assembled: &Assembled) -> Result<Outcome, Failure> {
        self.run_and_explain(case, assembled, &[])
    }

    /// Runs a case, and keeps why each of `requests` went where it did: numbers from 0, in order of arrival.
    ///
    /// # Errors
    /// As [`Experiment::run`], and where there is no such request.
    ///
    /// # Panics
    /// As [`Experiment::run`].
    pub fn run_and_explain(&self, case: Case, assembled: &Assembled, requests: &[u64]) -> Result<Outcome, Failure> {
        self.run_with(case, assembled, requests, None)
    }

    /// The same, with passes that `computes` computes for real: *hybrid*. On the calling thread.
    ///
    /// # Errors
    /// As [`Experiment::run_and_explain`], and where there are no such workers.
    ///
    /// # Panics
    /// As [`Experiment::run`].
    pub fn run_computed(
        &self,
        case: Case,
        assembled: &Assembled,
        requests: &[u64],
        computes: &dyn Computes,
    ) -> Result<Outcome, Failure> {
        self.run_with(case, assembled, requests, Some(computes))
    }

    fn run_with(
        &self,
        case: Case,
        assembled: &Assembled,
        requests: &[u64],
        computes: Option<&dyn Computes>,
    ) -> Result<Outcome, Failure> {
        let Sent { workload, cluster, seen, ledger, missed } = self.send(&case, assembled, requests, computes)?;
        let Seen { asked, computing } = seen;
        check_numbers(requests, ledger.records().len() as u64)?;
        ledger.check();
        cluster.check();
        let until = assembled.lab.run.extent(0).until;
        let mut summary = ledger.summary(Some(assembled.price));
        if case.cache == Tiers::None {
            // There is no such tier; that nothing was found in any is a fact.
            summary.hit_rate.l0 = None;
        }
        Ok(Outcome {
            workload: self.workload.clone(),
            endpoint: self.file.clone(),
            hardware: assembled.hardware(),
            resolved: assembled.describe(),
            summary,
            explanations: asked.explain(&workload, &ledger, assembled),
            growth: Growth::of(cluster.router()),
            overload: overload::overload(case.load, &workload, &ledger, until),
            missed,
            warnings: Vec::new(),
            kept: None,
            computed: computing.map(Compute::timed),
            records: ledger.into_records(),
            case,
        })
    }

    /// Sends the requests of a case. Of a run that is to last so long, there must have been enough of them: who sends when
    /// another request ends cannot know how many that will be.
    fn send<'a>(
        &self,
        case: &Case,
        assembled: &Assembled,
        requests: &'a [u64],
        computes: Option<&dyn Computes>,
    ) -> Result<Sent<'a>, Failure> {
        let beyond = |error: BeyondHorizon| {
            Failure::Usage(format!("{error}: use a higher --rate, --concurrency or --speedup, or fewer --requests"))
        };
        let mut longer = None;
        loop {
            let source = longer.as_ref().unwrap_or(&self.source);
            let workload = source.workload(&assembled.lab, case.load, case.seed);
            let mut cluster = assembled.cluster();
            let computing = computes.map(|computes| computes.workers(assembled)).transpose()?;
            if computing.is_some() {
                cluster = cluster.with_external_passes();
            }
            let mut seen = Seen { asked: Asked::about(requests), computing };
            let pause = assembled.lab.arrivals.refused_pause;
            let extent = Extent { pause, ..assembled.lab.run.extent(workload.requests().len() as u64) };
            let mut fleet = (!assembled.fleet.is_static()).then(|| Fleet::new(assembled.fleet.clone()));
            let ledger = simulate_executed(&workload, &mut cluster, fleet.as_mut(), assembled.path, extent, &mut seen);
            let ledger = ledger.map_err(beyond)?;
            let closed = (case.load.concurrency().is_some() || case.load.users().is_some()) && source.is_generated();
            let all_sent = ledger.records().len() == workload.requests().len();
            if extent.until.is_none() || !closed || !all_sent {
                let missed = fleet.as_ref().map(fleet::missed).unwrap_or_default();
                return Ok(Sent { workload, cluster, seen, ledger, missed });
            }
            longer = Some(source.doubled().ok_or_else(|| {
                let (sent, refused) = (ledger.records().len(), refused(ledger.records()));
                let refused =
                    if refused == 0 { String::new() } else { format!(" ({refused} of the first {sent} are refused)") };
                Failure::Usage(format!(
                    "run.duration: more than {sent} requests would be sent by then{refused}; use a shorter one"
                ))
            })?);
        }
    }
}

fn refused(records: &[Record]) -> usize {
    records.iter().filter(|record| record.refusal.is_some()).count()
}

/// What a run leaves behind.
struct Sent<'a> {
    workload: Workload,
    cluster: Cluster,
    seen: Seen<'a>,
    ledger: Ledger,
    missed: Vec<String>,
}

/// Who sees a run: whoever asked about some requests, and whoever computes.
struct Seen<'a> {
    asked: Asked<'a>,
    computing: Option<Box<dyn Compute>>,
}

impl Shell for Seen<'_> {
    fn arrives(&mut self, request: RequestId, pieces: &[Piece], prompt: Tokens) {
        if let Some(computing) = &mut self.computing {
            computing.arrives(request, pieces, prompt);
        }
    }

    fn hear(&mut self, event: &Event, cluster: &mut Cluster) {
        self.asked.look(event);
        if let Some(computing) = &mut self.computing {
            computing.hear(event, cluster);
        }
    }
}

/// Refuses numbers that no request of a run of `count` has.
///
/// # Errors
/// [`Failure::Usage`], with the numbers there are.
pub fn check_numbers(requests: &[u64], count: u64) -> Result<(), Failure> {
    match requests.iter().find(|request| **request >= count) {
        None => Ok(()),
        Some(request) => Err(Failure::Usage(format!(
            "--explain-request {request}: a run has {count} requests, numbered from 0 to {}",
            count.saturating_sub(1)
        ))),
    }
}

/// The API that requests come through, by the path that the worker is invoked at.
#[must_use]
pub fn api_of(endpoint: &Endpoint) -> Api {
    if endpoint.invocation_path.contains("chat") { Api::Chat } else { Api::Completions }
}

/// Checks an engine without building a cluster of it.
fn check_engine(engine: EngineConfig) -> Result<(), String> {
    Replica::new(engine).map(|_| ()).map_err(|error| error.to_string())
}

/// 128 characters, the chunk of production-stack's prefix trie, in tokens.
fn chunk_of(chars_per_token: f64) -> Tokens {
    Tokens(((128.0 / chars_per_token).round() as u32).max(1))
}
