//! What the runs of the demo say, in words. No sentence says more than its figures, and none is written before them.

use super::{ANSWER, Context, FILE, LONG, SEEDS, SHORT, SKEW, STRATEGIES, SYSTEM_PROMPT, WORKERS};
use crate::experiment::{Outcome, Tiers};
use crate::process::Usage;
use crate::report;
use crate::report::seeds::{Change, change};
use router::Strategy;
use sim::ledger::Summary;

/// Lines are no longer than this where their words allow it.
const COLUMNS: usize = 110;

pub(super) fn tell(contexts: &[Vec<Outcome>; 2], behind_one: &[Outcome], process: Usage) -> String {
    let mut text = report::wrapped(
        "",
        &format!(
            "The case of AWS's blog, simulated: Llama-3.1-70B on {WORKERS} x ml.p5.48xlarge behind HyperPod's router, \
             document Q&A at 8K and 64K. No AWS, no GPU: every time below comes from a model of the hardware (published figures \
             and efficiencies). The load is one of many that are compatible with the gains AWS published (which do not tell \
             theirs); nothing here is validated by them. Some documents are asked about more often (Zipf {SKEW}), an eighth of \
             each prompt is new, replies have {ANSWER} tokens, caches begin cold, all start at once. Figures are means of \
             {SEEDS} seeds; ± is half of a 95 % interval, of one figure or comparison by itself."
        ),
        COLUMNS,
    );
    for (number, (context, outcomes)) in [&SHORT, &LONG].into_iter().zip(contexts).enumerate() {
        text.push_str(&of_context(number + 1, context, outcomes));
    }
    text.push_str(&format!(
        "\n3. Behind one system prompt of {SYSTEM_PROMPT} tokens (8K documents, 100 in flight, GPU caches only)\n\n"
    ));
    text.push_str(&lines(&collapse(behind_one)));
    let runs = contexts.iter().map(Vec::len).sum::<usize>() + behind_one.len();
    text.push_str(&format!(
        "\n{runs} runs in {:.1} s. Your own: podlab simulate ENDPOINT.yaml --strategy roundrobin,prefixaware --seed 1..10\n\
         The file behind this demo: {FILE}\n",
        process.wall_seconds
    ));
    text
}

fn of_context(number: usize, context: &Context, outcomes: &[Outcome]) -> String {
    let Context { name, document, question, documents, requests, in_flight } = context;
    let mut text = format!(
        "\n{number}. {name}: {requests} prompts of {document} + {question} tokens about {documents} documents, {in_flight} always in flight\n\n"
    );
    text.push_str(&outcomes.last().map_or_else(String::new, |outcome| outcome.hardware.clone() + "\n"));
    text.push_str(&report::seeds::means(outcomes));
    text.push('\n');
    text.push_str(&lines(&buys(context, outcomes)));
    text
}

/// Points of a list.
fn lines(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| report::wrapped("  * ", sentence, COLUMNS)).collect()
}

/// The runs of a case, a seed each.
fn of(outcomes: &[Outcome], cache: Tiers, strategy: Strategy) -> Vec<&Outcome> {
    outcomes.iter().filter(|outcome| outcome.case.cache == cache && outcome.case.strategy == strategy).collect()
}

/// What each step buys.
fn buys(context: &Context, outcomes: &[Outcome]) -> Vec<String> {
    let bare = of(outcomes, Tiers::None, Strategy::RoundRobin);
    let turns = of(outcomes, Tiers::L0, Strategy::RoundRobin);
    let mut sentences =
        vec![format!("Prefix caching alone (L0, round robin), against none: {}.", against(&bare, &turns))];
    for strategy in &STRATEGIES[1..] {
        let routed = of(outcomes, Tiers::L0, *strategy);
        // A strategy that mostly does something else is told to.
        let note = routed.first().and_then(|run| report::notes::of_routing(run));
        let note = note.map_or_else(String::new, |note| format!(" In the first seed {note}."));
        sentences.push(format!("{strategy}, against round robin with L0: {}.{note}", against(&turns, &routed)));
    }
    sentences.push(working_set(context, outcomes));
    sentences.push(tier("L1", Tiers::L0, Tiers::L0L1, outcomes, |run| run.hit_rate.l1));
    sentences.push(tier("L2", Tiers::L0L1, Tiers::L0L1L2, outcomes, |run| run.hit_rate.l2));
    for (name, cache, strategy) in [
        ("Without any optimisation", Tiers::None, Strategy::RoundRobin),
        ("With prefixaware and L0", Tiers::L0, Strategy::PrefixAware),
    ] {
        let slowest = report::breakdown::slowest_of(&of(outcomes, cache, strategy));
        sentences.push(format!("{name}, {slowest}"));
    }
    sentences
}

/// What is asked for against what there is room for.
fn working_set(context: &Context, outcomes: &[Outcome]) -> String {
    let documents = u64::from(context.documents) * u64::from(context.document);
    let pool = outcomes.iter().find_map(|run| run.summary.kv_in_flight.pool_tokens).unwrap_or_default();
    let one = pool / u64::from(WORKERS);
    let fit = if documents <= one {
        "fit into the GPUs of one worker"
    } else if documents <= pool {
        "fit into the GPUs of all workers, and not of one"
    } else {
        "do not fit into the GPUs of all workers"
    };
    // Of the last run, which has all tiers.
    let host = outcomes.last().and_then(|run| run.resolved.pointer("/engine/tiers/l1/tokens")?.as_u64());
    let host = match host {
        Some(host) if host < one => format!(" L1 of a worker holds {}, less than its GPUs.", millions(host)),
        Some(host) => format!(" L1 of a worker holds {}.", millions(host)),
        None => String::new(),
    };
    let asked = outcomes.first().and_then(|run| run.summary.kv_in_flight.asked_peak).unwrap_or_default();
    format!(
        "All documents are {} tokens: they {fit} ({} and {}).{host} Prompts and replies in flight come to {:.0} % of all, each by itself.",
        millions(documents),
        millions(one),
        millions(pool),
        asked * 100.0
    )
}

fn millions(tokens: u64) -> String {
    format!("{:.2} M", tokens as f64 / 1e6)
}

/// What a tier adds to those above it, under each strategy.
fn tier(name: &str, without: Tiers, with: Tiers, outcomes: &[Outcome], gives: fn(&Summary) -> Option<f64>) -> String {
    let (mut told, mut better, mut falls) = (Vec::new(), Vec::new(), false);
    for strategy in STRATEGIES {
        let (before, after) = (of(outcomes, without, strategy), of(outcomes, with, strategy));
        let given = mean(&after, gives).unwrap_or_default();
        let changes = [change(&before, &after, |run| run.ttft.p50), change(&before, &after, |run| run.ttft.p90)];
        falls |= changes.iter().flatten().any(|change| change.percent < -change.half_width);
        if is_better(&changes) {
            better.push(strategy.as_str());
        }
        let [p50, p90] = changes.map(shown);
        let why = if given >= NOTABLE { format!(" ({})", spends(&before, &after)) } else { String::new() };
        told.push(format!(
            "{strategy} finds {:.1} % of its prompt tokens there{why}, P50 {p50}, P90 {p90}",
            given * 100.0
        ));
    }
    let verdict = if !falls {
        "buys nothing, neither P50 nor P90 falls".to_owned()
    } else if better.is_empty() {
        "lowers P50 or P90 under no strategy without raising the other".to_owned()
    } else {
        format!("lowers P50 or P90, and raises neither, under {}", better.join(", "))
    };
    format!("{name} on top of {} {verdict}: {}.", without.as_str(), told.join("; "))
}

/// Less than this of all prompt tokens explains nothing.
const NOTABLE: f64 = 0.005;

/// Whether one figure fell for sure, and none rose for sure.
fn is_better(changes: &[Option<Change>]) -> bool {
    let told = || changes.iter().flatten();
    told().any(|change| change.percent < -change.half_width) && !told().any(|change| change.percent > change.half_width)
}

/// What a mean TTFT spends less, or more, time on.
fn spends(before: &[&Outcome], after: &[&Outcome]) -> String {
    let change = |part: fn(&Summary) -> Option<f64>| {
        let (before, after) = (mean(before, part).unwrap_or_default(), mean(after, part).unwrap_or_default());
        format!("{:+.0} ms", after - before)
    };
    format!(
        "of the mean TTFT: computing {}, tiers {}, waiting for a turn {}",
        change(|run| run.breakdown.parts.compute.mean_ms),
        change(|run| run.breakdown.parts.tiers.mean_ms),
        change(|run| run.breakdown.parts.budget_wait.mean_ms),
    )
}

fn mean(runs: &[&Outcome], of: impl Fn(&Summary) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = runs.iter().filter_map(|run| of(&run.summary)).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// How `after` compares with `before`, seed by seed.
fn against(before: &[&Outcome], after: &[&Outcome]) -> String {
    let hits =
        mean(after, |run| run.hit_rate.total).map_or("unknown".to_owned(), |rate| format!("{:.0} %", rate * 100.0));
    format!(
        "TTFT P50 {}, P90 {}; output throughput {}; cost per output token {}; hit rate {hits}",
        shown(change(before, after, |run| run.ttft.p50)),
        shown(change(before, after, |run| run.ttft.p90)),
        shown(change(before, after, |run| run.throughput.output)),
        shown(change(before, after, |run| run.cost.output_only)),
    )
}

/// A change in words; one that the seeds do not tell from none is said to be so.
fn shown(change: Option<Change>) -> String {
    let Some(Change { percent, half_width }) = change else { return "unknown".to_owned() };
    if percent.abs() <= half_width {
        return format!("not told apart ({percent:+.0} ±{half_width:.0} %)");
    }
    let digits = usize::from(percent.abs() < 9.5);
    format!("{percent:+.digits$} % (±{half_width:.digits$})")
}

/// What a shared system prompt does to HyperPod's default strategy.
fn collapse(outcomes: &[Outcome]) -> Vec<String> {
    let behind = |run: &&Outcome| run.case.settings.values().any(|value| value == SYSTEM_PROMPT);
    let default = of(outcomes, Tiers::L0, Strategy::PrefixAware);
    let turns: Vec<&Outcome> = of(outcomes, Tiers::L0, Strategy::RoundRobin).into_iter().filter(behind).collect();
    let (behind_one, apart): (Vec<&Outcome>, Vec<&Outcome>) = default.into_iter().partition(behind);
    let busiest = |runs: &[&Outcome]| {
        let of_run = |run: &&Outcome| run.requests_by_worker().into_iter().max().unwrap_or_default();
        let (least, most) = (runs.iter().map(of_run).min(), runs.iter().map(of_run).max());
        match (least.unwrap_or_default(), most.unwrap_or_default()) {
            (least, most) if least == most => most.to_string(),
            (least, most) => format!("{least} to {most}"),
        }
    };
    let all = behind_one.first().map_or(0, |run| run.records.len());
    vec![
        format!(
            "prefixaware, HyperPod's default, sends {} of {all} requests to its busiest worker of {WORKERS}; without the system prompt {}.",
            busiest(&behind_one),
            busiest(&apart),
        ),
        "It follows the longest prefix it has sent anywhere, reads no load and forgets nothing: once every prompt begins \
         with the same 128 characters, the first worker to see them has a prefix of all."
            .to_owned(),
        format!("Against round robin that is: {}.", against(&turns, &behind_one)),
    ]
}
