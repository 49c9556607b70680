//! `podlab bench`.

use super::bench_args::BenchArgs;
use super::settings::{asks_for_help, list_settings};
use super::simulate::loads;
use super::{Format, print, warn};
use crate::bench::calibrate::calibrate;
use crate::bench::client::Client;
use crate::bench::client_health::Health;
use crate::bench::clock::Clock;
use crate::bench::live::Live;
use crate::bench::metrics::{Counters, ServerTimes, deltas, server_times};
use crate::bench::phases;
use crate::bench::rows::{Played, rows};
use crate::bench::run::{Rules, Stopped, run as run_phase};
use crate::bench::script::{Script, Shape};
use crate::bench::summary::{Context, summary};
use crate::bench::watch::Watch;
use crate::bench::words::Words;
use crate::bench::{folder, place, table};
use crate::emulate::stop_signal;
use crate::experiment::{Load, Source};
use crate::failure::Failure;
use crate::process::Usage;
use crate::report;
use place::Place;
use serde_json::{Map, Value, json};
use sim::extent::Extent;
use sim::ledger::Warmup;
use sim::workload::Workload;
use sim::workload::description::Description;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// The workload of the cache's own phases.
const COLD_WARM: &str = "cold-warm";

pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let began = Instant::now();
    if asks_for_help(&args.lab) {
        return print(&list_settings());
    }
    let out = args.out.as_ref().map(|folder| folder.components().collect::<PathBuf>());
    out.as_deref().map_or(Ok(()), report::folder::check)?;
    let mut place = super::place::find(args)?;
    let plan = Plan::of(args, &mut place)?;
    if args.dry_run {
        return plan.show(args.format);
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    let run = runtime.block_on(measure(args, &place, &plan))?;
    let extent = plan.extent;
    let rows = rows(&run.played, |sent, at| left_out(extent.warmup, sent, at));
    let mut health = Health::of(&run.played, &rows, (plan.load.concurrency(), plan.load.rate()), run.used);
    (health.used, health.connections) = (Some(Usage::since(began)), run.connections);
    let context = Context {
        case: plan.case(args, &place, &run),
        price: place.price.clone(),
        health,
        server: run.server.clone(),
        server_times: run.server_times,
        ceiling: plan.ceiling(),
        notes: run.notes.clone(),
        stopped: run.played.iter().find_map(|played| played.phase.stopped).map(|stopped| {
            let why = match stopped {
                Stopped::Interrupted => "interrupted",
                Stopped::Errors => "too many requests failed",
            };
            format!("{why} after {} of {} requests", rows.len(), plan.requests())
        }),
    };
    let figures = summary(&rows, &context);
    if let Some(folder) = &out {
        folder::write(folder, &rows, &figures, &place.resolved)?;
        warn(&format!("wrote {}", folder.display()));
    }
    print(&match args.format {
        Format::Table => table::text(&figures),
        Format::Json => format!("{figures:#}\n"),
        Format::Csv => report::csv_of(&figures),
    })?;
    verdict(args, &run, &figures, &context.health)
}

/// How the command ends.
fn verdict(args: &BenchArgs, run: &Run, figures: &Value, health: &Health) -> Result<(), Failure> {
    let stopped = run.played.iter().find_map(|played| played.phase.stopped);
    let worst = figures["errors"].as_object().and_then(|errors| {
        let (class, count) = errors.iter().max_by_key(|(_, count)| count.as_u64())?;
        Some(format!("{count} x {class}"))
    });
    let example = folder::first_problem(&run.played).map(|said| format!(", such as: {said}")).unwrap_or_default();
    let worst = worst.unwrap_or_default();
    match stopped {
        Some(Stopped::Interrupted) => {
            Err(Failure::Interrupted("interrupted: the figures are of what was sent".to_owned()))
        }
        _ if figures["completed"] == 0 => Err(Failure::Remote(format!("no request was answered ({worst}{example})"))),
        Some(Stopped::Errors) => Err(Failure::Failed(format!(
            "stopped: {} of the {} requests that were over by then failed, more than {:.0} % ({worst}{example}); --max-error-rate 1 goes on",
            figures["failed"],
            figures["requests"],
            args.max_error_rate * 100.0
        ))),
        None if args.strict && health.verdict() != "client_ok" => {
            Err(Failure::NotMet(format!("the client was the bottleneck: {}", health.limits.join("; "))))
        }
        None => Ok(()),
    }
}

fn left_out(warmup: Warmup, sent: usize, at_ns: u64) -> bool {
    match warmup {
        Warmup::Nothing => false,
        Warmup::Requests(count) => (sent as u64) < count,
        Warmup::Time(span) => at_ns < span.0 / 1000,
    }
}

/// Each request in flight has a socket. Where the limit cannot be raised, opening one says so.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// What is to be sent.
struct Plan {
    phases: Vec<(&'static str, Workload)>,
    load: Load,
    extent: Extent,
}

impl Plan {
    fn of(args: &BenchArgs, place: &mut Place) -> Result<Self, Failure> {
        if args.workload == COLD_WARM {
            return Self::cold_warm(args, place);
        }
        let source = Source::read_and_show(&args.workload, args.requests, args.repeat, |path, bytes| {
            place.resolved["inputs"]["trace"] = json!(report::Input::hashed(path, bytes));
        })?;
        if let Some(tokens) = args.prompt_tokens {
            phases::size_prompts(&mut place.lab, &args.workload, tokens).map_err(Failure::Usage)?;
        }
        source.check(&place.lab)?;
        let (rate, concurrency, users) = (args.rate.as_slice(), args.concurrency.as_slice(), args.users.as_slice());
        let load = loads((rate, concurrency, users, args.speedup), &args.workload, &source)?[0];
        if let Some(odd) = source.warning(&place.lab, load) {
            warn(&format!("warning: {odd}"));
        }
        let source = lasting(source, place, load);
        let workload = source.workload(&place.lab, load, args.seed);
        let extent = place.lab.run.extent(workload.requests().len() as u64);
        Ok(Self { phases: vec![("run", workload)], load, extent })
    }

    fn cold_warm(args: &BenchArgs, place: &Place) -> Result<Self, Failure> {
        if args.rate.is_some() || args.users.is_some() || args.speedup.is_some() {
            return Err(Failure::Usage(
                "--workload cold-warm sends one phase after the other; use --concurrency alone".to_owned(),
            ));
        }
        let concurrency = args.concurrency.unwrap_or(20);
        let phases = phases::cold_warm(phases::ColdWarm {
            requests: args.requests.unwrap_or(80),
            concurrency,
            prompt: args.prompt_tokens.unwrap_or(2048),
            output: args.target.max_tokens.unwrap_or(64),
        });
        Ok(Self { phases, load: Load::Concurrency(concurrency), extent: place.lab.run.extent(0) })
    }

    fn show(&self, format: Format) -> Result<(), Failure> {
        for (name, workload) in &self.phases {
            if self.phases.len() > 1 {
                warn(&format!("phase {name}:"));
            }
            super::workload::show(workload, format)?;
        }
        Ok(())
    }

    /// Requests of all phases.
    fn requests(&self) -> usize {
        self.phases.iter().map(|(_, workload)| workload.requests().len()).sum()
    }

    /// What could be found again at most, of all prompt tokens of an only phase.
    fn ceiling(&self) -> Option<f64> {
        let [(_, workload)] = self.phases.as_slice() else { return None };
        Description::of(workload).ceiling()
    }

    fn case(&self, args: &BenchArgs, place: &Place, run: &Run) -> Map<String, Value> {
        let mut case = Map::new();
        let target = &place.target_name;
        for (key, value) in [
            ("clock", json!("wall: every time is measured")),
            ("target", json!(target)),
            ("model", json!(run.model)),
            ("api", json!(if place.api == router::Api::Chat { "chat" } else { "completions" })),
            ("strategy", place.strategy.clone().map_or(Value::Null, Value::String)),
            ("cache_tiers", place.cache.clone().map_or(Value::Null, Value::String)),
            ("replicas", json!(place.replicas)),
            ("workload", json!(args.workload)),
            ("rate", json!(self.load.rate())),
            ("concurrency", json!(self.load.concurrency())),
            ("users", json!(self.load.users())),
            ("speedup", json!(self.load.speedup())),
            ("prompt_tokens_asked", json!(args.prompt_tokens)),
            ("max_tokens", json!(args.target.max_tokens)),
            ("seed", json!(args.seed)),
            ("salt", json!(run.words.salt)),
            ("words_per_token", json!(run.words.per_token)),
            ("tokens_added", json!(run.words.added)),
            ("settings", json!(place.settings)),
        ] {
            case.insert(key.to_owned(), value);
        }
        case
    }
}

/// Whoever sends when another request ends cannot know how many that will be by `run.duration`: enough for one in 20 ms each.
fn lasting(source: Source, place: &Place, load: Load) -> Source {
    let Some(duration) = place.lab.run.duration.filter(|_| source.is_generated()) else { return source };
    let Some(senders) = load.concurrency().or(load.users()) else { return source };
    let most = f64::from(senders) * duration.as_secs_f64() * 50.0;
    source.with_requests(
        (most as u32).clamp(u32::try_from(source.requests()).unwrap_or(u32::MAX).min(1_000_000), 1_000_000),
    )
}

/// What was measured.
struct Run {
    played: Vec<Played>,
    server: Vec<(&'static str, Vec<crate::bench::metrics::Delta>)>,
    /// Where the server says that its requests spent their time, all phases together.
    server_times: Option<ServerTimes>,
    model: Option<String>,
    words: Words,
    notes: Vec<String>,
    /// CPU and wall seconds while requests were sent.
    used: (f64, f64),
    /// Connections opened.
    connections: usize,
}

async fn measure(args: &BenchArgs, place: &Place, plan: &Plan) -> Result<Run, Failure> {
    let client =
        Arc::new(Client::new(place.target.clone(), super::place::options(place, &args.target)?, Clock::start()).await?);
    let mut notes = Vec::new();
    let model = super::place::model(args.target.model.as_deref(), place, &client, &mut notes).await?;
    let shape = Shape {
        api: place.api,
        model: model.clone(),
        max_tokens: args.target.max_tokens,
        streamed: !args.target.no_stream,
        ignore_eos: args.target.ignore_eos,
        session_key: place.session_key.clone(),
    };
    let salt = args.salt.unwrap_or_else(random);
    let mut words = Words::unasked(salt);
    if let Some((per_token, added)) = place.sizes {
        words = Words { per_token, added, ..words };
    } else if !args.no_calibration {
        let calibrated = calibrate(&client, &shape, salt).await;
        let calibrated = calibrated.map_err(|observed| super::place::unreachable(&place.target_name, &observed))?;
        words = calibrated.words;
        notes.extend(calibrated.doubt);
    }
    let (stopper, stop) = watch::channel(false);
    tokio::spawn(async move {
        if stop_signal().await.is_ok() {
            warn("stopping: what was measured is kept; Ctrl-C again ends at once");
            let _ = stopper.send(true);
            if stop_signal().await.is_ok() {
                std::process::exit(130);
            }
        }
    });
    let rules =
        Rules { extent: plan.extent, most_errors: args.max_error_rate, stop, name_prefix: args.target.prefix_aware_id };
    let requests = plan.phases.iter().map(|(_, workload)| workload.requests().len()).sum();
    let mut live: Box<dyn Watch> = Box::new(Live::new(requests, std::io::stderr().is_terminal(), args.quiet));
    if let Some(concurrency) = plan.load.concurrency() {
        client.open_ahead((concurrency as usize).min(requests)).await;
    }
    let (mut played, mut server) = (Vec::new(), Vec::new());
    let (cpu, wall) = (place.cpu_seconds(), Instant::now());
    let first = counters(&client, place).await;
    let mut before = first.clone();
    for (name, workload) in &plan.phases {
        let script = Script::new(workload.clone(), words, shape.clone());
        let (script, phase, look) = run_phase(&client, script, &rules, live).await;
        live = look;
        let after = counters(&client, place).await;
        if let (Some(before), Some(after)) = (&before, &after) {
            server.push((*name, deltas(before, after)));
        }
        before = after;
        let over = phase.stopped.is_some();
        played.push(Played { name, script, phase });
        if over {
            break;
        }
    }
    live.end();
    let times = first.zip(before).and_then(|(first, last)| server_times(&first, &last));
    let used = (place.cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    server.retain(|(_, deltas)| !deltas.is_empty());
    Ok(Run { played, server, server_times: times, model, words, notes, used, connections: client.opened() })
}

/// What the servers count; `None`: one of them does not tell.
async fn counters(client: &Client, place: &Place) -> Option<Counters> {
    if !place.has_metrics() {
        return None;
    }
    let told = client.metrics().await.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Counters::sum(told.iter().map(|text| Counters::parse(text))))
}

fn random() -> u64 {
    // A salt that everybody has is better than no run.
    getrandom::u64().map_or(1, |bits| bits >> 12)
}
