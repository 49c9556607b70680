//! One queue before one engine: M/M/1, M/D/1, M/G/1, and M/M/k.
//!
//! One seat makes an engine a single server, and prompts or replies in proportion to the service time drawn make it any. `k`
//! seats whose passes last the same however many decode are `k` servers with one queue. There an arrival at a free seat waits
//! for the end of the pass under way: half a pass, a twenty-thousandth of a service, on average.

use super::input::{self, REPLY};
use super::law::{Bench, Law, Seen, by_chance};
use super::stage::Stage;
use kvcache::{Span, Tokens};
use sim::cost::linear::Linear;
use sim::ledger::Record;
use sim::theory::moments::Moments;
use sim::theory::queue;
use sim::workload::{Arrivals, Workload};

/// Of a token: of a pass that decodes, or of the prompt.
pub(super) const TOKEN: Span = Span::from_micros(10);
/// The mean service time.
pub(super) const SERVICE: f64 = 0.1;
/// Requests that each replication begins with and forgets.
const WARM_UP: u32 = 600;
/// Requests of a replication that are measured.
const MEASURED: u32 = 64_000;
/// Between client and router; it is no part of any wait.
const LATENCY: Span = Span::from_millis(50);

/// Workers whose passes take [`TOKEN`] each: a reply takes as long as it has tokens.
pub(super) fn by_replies(workers: u16, seats: u32) -> Stage {
    let model = Linear { per_pass: TOKEN, ..Linear::default() };
    Stage { latency: LATENCY, tick: TICK, ..Stage::queues(workers, seats, model) }
}

/// The same, whose prompts take as long as they have tokens.
fn by_prompts() -> Stage {
    let model = Linear { per_token: TOKEN, ..Linear::default() };
    Stage { latency: LATENCY, tick: TICK, ..Stage::queues(1, 1, model) }
}

/// Half a mean service.
const TICK: Span = Span::from_millis(50);

/// The service time of a request by its reply, in seconds.
pub(super) fn of_reply(record: &Record) -> f64 {
    (TOKEN * u64::from(record.output.0)).as_secs_f64()
}

fn of_prompt(record: &Record) -> f64 {
    (TOKEN * u64::from(record.prompt.0)).as_secs_f64()
}

/// Requests of a replication: those to forget, and those to measure.
fn requests(bench: &Bench) -> u32 {
    WARM_UP + bench.requests(MEASURED)
}

/// What is measured of waits.
pub(super) fn settled(waits: &[f64], warm_up: u32) -> &[f64] {
    &waits[warm_up as usize..]
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean wait at one seat, where service takes as long as the prompt.
fn one_seat(
    name: &'static str,
    rho: f64,
    moments: Moments,
    workload: impl Fn(&Bench, f64) -> Workload + Send + Sync + 'static,
) -> Law {
    let service = moments.times(TOKEN.as_secs_f64());
    let rate = rho / service.mean;
    let expected = queue::wait_m_g_1(rate, service);
    Law::new([by_chance(name)], move |bench| {
        let waits = by_prompts().waits(bench, &workload(bench, rate), of_prompt);
        vec![Seen { expected, simulated: mean(settled(&waits, WARM_UP)) }]
    })
}

fn m_m_1(name: &'static str, rho: f64) -> Law {
    let (rate, service) = (rho / SERVICE, Moments::geometric(f64::from(REPLY.0)).times(TOKEN.as_secs_f64()));
    let expected = queue::wait_m_g_1(rate, service);
    Law::new([by_chance(name)], move |bench| {
        let workload = input::replies(bench, Arrivals::Poisson { rate }, requests(bench));
        let waits = by_replies(1, 1).waits(bench, &workload, of_reply);
        vec![Seen { expected, simulated: mean(settled(&waits, WARM_UP)) }]
    })
}

fn m_d_1(name: &'static str, rho: f64) -> Law {
    let prompt = REPLY;
    one_seat(name, rho, Moments::constant(f64::from(prompt.0)), move |bench, rate| {
        input::equal_prompts(bench, Arrivals::Poisson { rate }, requests(bench), prompt)
    })
}

/// The mean wait, and how many wait at all.
fn m_m_k(names: [&'static str; 2], servers: u32, rho: f64) -> Law {
    let rate = rho * f64::from(servers) / SERVICE;
    let wait = queue::wait_m_m_k(servers, rate, SERVICE);
    let chance = queue::erlang_c(servers, rate * SERVICE);
    Law::new(names.map(by_chance), move |bench| {
        let workload = input::replies(bench, Arrivals::Poisson { rate }, requests(bench));
        let waits = by_replies(1, servers).waits(bench, &workload, of_reply);
        let waits = settled(&waits, WARM_UP);
        // Who finds a seat joins the next pass, and does not count as waiting for that.
        let waited = waits.iter().filter(|wait| **wait > 1.5 * TOKEN.as_secs_f64()).count();
        vec![
            Seen { expected: wait, simulated: mean(waits) },
            Seen { expected: chance, simulated: waited as f64 / waits.len() as f64 },
        ]
    })
}

pub(super) fn laws() -> Vec<Law> {
    let lengths = input::log_normal(Tokens(7000), 0.8);
    let (short, long) = ((Tokens(5_000), 0.9), (Tokens(55_000), 0.1));
    let of_two = Moments::of(&[(f64::from(short.0.0), short.1), (f64::from(long.0.0), long.1)]);
    vec![
        m_m_1("m_m_1.rho_0.5", 0.5),
        m_m_1("m_m_1.rho_0.7", 0.7),
        m_d_1("m_d_1.rho_0.5", 0.5),
        m_d_1("m_d_1.rho_0.7", 0.7),
        one_seat("m_g_1.log_normal", 0.5, Moments::log_normal(lengths), move |bench, rate| {
            input::log_normal_prompts(bench, rate, requests(bench), lengths)
        }),
        one_seat("m_g_1.two_lengths", 0.5, of_two, move |bench, rate| {
            input::two_lengths(bench, rate, requests(bench), [short, long])
        }),
        m_m_k(["erlang_c.4_seats.wait", "erlang_c.4_seats.waiting"], 4, 0.7),
        m_m_k(["erlang_c.8_seats.wait", "erlang_c.8_seats.waiting"], 8, 0.7),
    ]
}
