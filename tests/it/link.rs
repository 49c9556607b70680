//! A shared link against a naive fluid model, its laws, and what theory says of processor sharing.

use kvcache::{Span, Time};
use sim::link::{Link, TransferId};
use sim::streams::{Stream, Streams};

/// The naive model keeps time and work in units of 2^-60 ps.
const GRAIN: u32 = 60;
const PICOSECOND: u128 = 1 << GRAIN;
/// How far the two may stand apart: the link rounds a byte's time up to 2^-44 ps, and here are up to 2^28 bytes at once.
const SLACK: u128 = PICOSECOND >> 10;

struct Sharing {
    id: TransferId,
    work: u128,
    remaining: u128,
}

/// Everybody under way gives up an equal share, from one end to the next: no virtual time.
struct Fluid {
    per_byte: u128,
    sharing: Vec<Sharing>,
    at: u128,
    busy: u128,
    ended: Vec<(TransferId, u128)>,
}

impl Fluid {
    fn new(bytes_per_s: u64) -> Self {
        let per_byte = 1_000_000_000_000 * PICOSECOND / u128::from(bytes_per_s);
        Self { per_byte, sharing: Vec::new(), at: 0, busy: 0, ended: Vec::new() }
    }

    fn advance(&mut self, now: Time) {
        let to = u128::from(now.0) << GRAIN;
        while let Some(least) = self.sharing.iter().map(|one| one.remaining).min() {
            let number = self.sharing.len() as u128;
            let ends = self.at + least * number;
            let (each, until) = if ends <= to { (least, ends) } else { ((to - self.at) / number, to) };
            self.sharing.iter_mut().for_each(|one| one.remaining -= each);
            self.busy += until - self.at;
            self.at = until;
            if ends > to {
                return;
            }
            self.ended.extend(self.sharing.iter().filter(|one| one.remaining == 0).map(|one| (one.id, until)));
            self.sharing.retain(|one| one.remaining > 0);
        }
        self.at = to;
    }

    fn begin(&mut self, id: TransferId, bytes: u64) {
        let work = u128::from(bytes) * self.per_byte;
        self.sharing.push(Sharing { id, work, remaining: work });
    }

    /// Who it is, if it is under way.
    fn cancel(&mut self, id: TransferId) -> Option<Sharing> {
        let index = self.sharing.iter().position(|one| one.id == id)?;
        Some(self.sharing.remove(index))
    }
}

/// A link and the model of it, told the same.
struct Pair {
    link: Link,
    fluid: Fluid,
    now: Time,
    sizes: Vec<u64>,
    ended: Vec<(TransferId, Time)>,
    cancelled: usize,
    brought: u128, // by those that were cancelled
    most: usize,
}

impl Pair {
    fn new(bytes_per_s: u64) -> Self {
        Self {
            link: Link::new(bytes_per_s as f64),
            fluid: Fluid::new(bytes_per_s),
            now: Time::ZERO,
            sizes: Vec::new(),
            ended: Vec::new(),
            cancelled: 0,
            brought: 0,
            most: 0,
        }
    }

    fn begin(&mut self, bytes: u64) {
        let id = TransferId(self.sizes.len() as u64);
        self.sizes.push(bytes);
        self.fluid.advance(self.now);
        self.fluid.begin(id, bytes);
        self.link.begin(id, bytes, self.now);
        self.most = self.most.max(self.link.active());
    }

    fn cancel(&mut self, id: TransferId) {
        self.fluid.advance(self.now);
        let (before, settled) = (self.link.active(), self.link.deadline().is_none_or(|at| at > self.now));
        let (ours, theirs) = (self.link.cancel(id, self.now), self.fluid.cancel(id));
        self.brought += u128::from(ours.unwrap_or(0));
        match (ours, theirs) {
            (Some(bytes), Some(Sharing { work, remaining, .. })) => {
                assert!(!settled || self.link.active() + 1 == before, "everyone else stays");
                let (low, received) = (u128::from(bytes) * self.fluid.per_byte, work - remaining);
                assert!(low <= received + SLACK, "{bytes} bytes are more than {received}");
                assert!(low + self.fluid.per_byte + SLACK > received, "{bytes} bytes are less than {received}");
                self.cancelled += 1;
            }
            (None, None) => {}
            // A hair's breadth before its end in one, and after it in the other, which rounds too.
            (Some(_), None) => {
                let end = self.fluid.ended.iter().position(|(other, _)| *other == id).expect("it was under way");
                let (_, end) = self.fluid.ended.remove(end);
                assert!(end + SLACK > self.fluid.at, "{id:?} ended long ago");
                self.cancelled += 1;
            }
            (None, Some(Sharing { remaining, .. })) => {
                assert!(remaining * (self.fluid.sharing.len() as u128 + 1) < SLACK, "{id:?} ended early");
                self.fluid.ended.push((id, self.fluid.at));
            }
        }
    }

    /// Asks who has ended.
    fn collect(&mut self) {
        while let Some(at) = self.link.deadline().filter(|at| *at <= self.now) {
            let id = self.link.finished(self.now).expect("a deadline that has passed is met");
            self.ended.push((id, at));
        }
        assert_eq!(self.link.finished(self.now), None, "nobody ends before the deadline");
        self.fluid.advance(self.now);
        let (busy, known) = (u128::from(self.link.busy().0) << GRAIN, self.fluid.busy);
        assert!(busy <= known + SLACK && known < busy + PICOSECOND + SLACK, "busy for {busy}, not {known}");
    }

    /// Lets everyone end, and compares every end.
    fn close(&mut self) {
        while let Some(at) = self.link.deadline() {
            self.now = self.now.max(at);
            self.collect();
            self.link.check();
        }
        self.fluid.advance(Time(self.now.0 + 1));
        assert_eq!((self.link.active(), self.fluid.sharing.len()), (0, 0), "everyone ends");
        assert_eq!(self.ended.len(), self.fluid.ended.len());
        assert_eq!(self.ended.len() + self.cancelled, self.sizes.len(), "ended or cancelled, once");
        assert!(self.ended.is_sorted_by_key(|(_, at)| *at), "in order of ends");
        let ends = self.ended.iter().map(|(id, at)| {
            let exact = self.fluid.ended.iter().find(|(other, _)| other == id).expect("it ended there too").1;
            let at = u128::from(at.0) << GRAIN;
            assert!(at + SLACK >= exact, "{id:?} is early: {at} before {exact}");
            assert!(at < exact + PICOSECOND + SLACK, "{id:?} is late: {at} after {exact}");
            exact
        });
        let ends: Vec<u128> = ends.collect();
        assert!(ends.is_sorted_by(|one, next| *one <= next + SLACK), "also where they end in one picosecond");
        let moved: u128 = self.ended.iter().map(|(id, _)| u128::from(self.sizes[id.0 as usize])).sum();
        assert_eq!(self.link.moved(), moved + self.brought, "every byte that came, and no other");
    }
}

/// Where sequences differ: rates, of which some have no finite binary expansion, sizes, and how crowded it gets.
fn sequence(number: u64, random: &mut Stream) -> Pair {
    const RATES: [u64; 8] = [
        1_000_000,
        7_000_000,
        999_999_937,
        12_500_000_000,
        1_000_000_000_000,
        3_200_000_000_000,
        7_777_777_777_777,
        10_000_000_000_000,
    ];
    let mut pair = Pair::new(RATES[random.below(RATES.len() as u64) as usize]);
    let crowded = number.is_multiple_of(40);
    let (steps, patience) = if crowded { (400, 40) } else { (10 + random.below(40), 1 + random.below(4)) };
    let scale = random.below(21); // sizes up to 2^20 bytes
    for _ in 0..steps {
        match random.below(if crowded { 20 } else { 8 }) {
            0 => pair.cancel(TransferId(random.below(pair.sizes.len() as u64 + 1))),
            1 => {
                // Just before the next end, or right at it, or well beyond several.
                let next = pair.link.deadline().unwrap_or(pair.now);
                let at = [next.0.saturating_sub(1), next.0, next.0 + random.below(1 << 20)];
                pair.now = pair.now.max(Time(at[random.below(3) as usize]));
            }
            _ => {
                let alike = random.below(4) == 0;
                pair.begin(if alike { 1 << scale } else { random.below((1 << scale) + 1) });
                if random.below(3) > 0 {
                    let gap = pair.link.alone(2 << scale).0 / patience;
                    pair.now = Time(pair.now.0 + random.below(gap + 2));
                }
            }
        }
        pair.link.check();
        // Those who ended in the meantime may have to wait until somebody asks.
        if random.below(3) > 0 {
            pair.collect();
            pair.link.check();
        }
    }
    pair
}

#[test]
fn it_does_what_a_naive_fluid_model_does() {
    let mut random = Streams::new(1).named("links");
    let (mut ended, mut cancelled, mut most) = (0, 0, 0);
    for number in 0..12_000 {
        let mut pair = sequence(number, &mut random);
        pair.close();
        ended += pair.ended.len();
        cancelled += pair.cancelled;
        most = most.max(pair.most);
    }
    println!("{ended} ended, {cancelled} cancelled, up to {most} at once");
    assert!(ended > 200_000 && cancelled > 10_000 && most > 150, "{ended} {cancelled} {most}");
}

/// Who ended by `now`.
fn ended(link: &mut Link, now: u64) -> Vec<u64> {
    core::iter::from_fn(|| link.finished(Time(now))).map(|id| id.0).collect()
}

#[test]
fn two_transfers_by_hand() {
    let mut link = Link::new(1e12); // a byte per picosecond
    link.begin(TransferId(1), 10, Time(0));
    assert_eq!((link.deadline(), link.alone(10)), (Some(Time(10)), Span(10)));
    link.begin(TransferId(2), 2, Time(4));
    // 6 and 2 bytes are left, at half a byte per picosecond each.
    assert_eq!(link.deadline(), Some(Time(8)));
    assert_eq!(ended(&mut link, 7), [0_u64; 0]);
    assert_eq!(ended(&mut link, 8), [2]);
    assert_eq!((link.deadline(), link.active(), link.moved()), (Some(Time(12)), 1, 2));
    assert_eq!(link.cancel(TransferId(1), Time(11)), Some(9));
    assert_eq!((link.deadline(), link.active(), link.moved()), (None, 0, 11));
    assert_eq!(link.busy(), Span(11));
    // It starts afresh.
    link.begin(TransferId(1), 3, Time(20));
    assert_eq!((link.deadline(), link.busy()), (Some(Time(23)), Span(11)));
    assert_eq!(ended(&mut link, 50), [1]);
    assert_eq!((link.busy(), link.moved()), (Span(14), 14));
    link.check();
}

#[test]
fn who_ends_together_ends_in_order_of_joining_and_nothing_takes_no_time() {
    let mut link = Link::new(3e12); // a third of a picosecond per byte
    for id in [5, 3, 9, 1] {
        link.begin(TransferId(id), 1, Time(7));
    }
    link.begin(TransferId(4), 0, Time(7));
    link.begin(TransferId(2), 0, Time(7));
    link.check();
    assert_eq!(link.deadline(), Some(Time(7)));
    assert_eq!(ended(&mut link, 7), [4, 2]);
    assert_eq!(link.deadline(), Some(Time(9)), "4/3 ps end in the second");
    assert_eq!(ended(&mut link, 9), [5, 3, 9, 1]);
    assert_eq!(ended(&mut link, 9), [0_u64; 0]);
}

#[test]
fn ends_that_nobody_asked_for_wait_and_change_nothing() {
    let mut link = Link::new(1e12);
    link.begin(TransferId(1), 4, Time(0));
    link.begin(TransferId(2), 10, Time(0));
    // The first ended at 8; from then on the second was alone, and ended at 14.
    link.begin(TransferId(3), 5, Time(20));
    assert_eq!((link.active(), link.deadline()), (1, Some(Time(8))));
    assert_eq!(link.cancel(TransferId(2), Time(21)), None, "it ended before");
    assert_eq!((link.finished(Time(21)), link.deadline()), (Some(TransferId(1)), Some(Time(14))));
    assert_eq!((link.finished(Time(21)), link.deadline()), (Some(TransferId(2)), Some(Time(25))));
    assert_eq!((link.finished(Time(24)), link.busy()), (None, Span(18)));
    assert_eq!(ended(&mut link, 25), [3]);
}

#[test]
fn nothing_drifts_while_a_million_pass_by() {
    // 1/7 ps per byte: every join and every end falls between picoseconds.
    let mut link = Link::new(7e12);
    let mut random = Streams::new(2).named("passers-by");
    let (passers, mut now, mut bytes, mut seen) = (1_000_000, Time::ZERO, 1 << 36, 0_u64);
    link.begin(TransferId(0), bytes, now);
    for id in 1..=passers {
        let size = 1 + random.below(20_000);
        link.begin(TransferId(id), size, now);
        bytes += size;
        now = Time(now.0 + random.below(6_000));
        seen += core::iter::from_fn(|| link.finished(now)).count() as u64;
    }
    while let Some(at) = link.deadline() {
        now = at;
        seen += core::iter::from_fn(|| link.finished(now)).count() as u64;
    }
    link.check();
    // The link was never idle, so all of it took what one transfer of all bytes takes.
    let whole = bytes.div_ceil(7);
    assert!((whole..=whole + 1).contains(&now.0), "{} ps instead of {whole}", now.0);
    assert_eq!((seen, link.moved()), (passers + 1, u128::from(bytes)));
    assert!(whole - 1 <= link.busy().0 && link.busy().0 <= now.0);
}

#[test]
fn the_longest_runs_the_largest_transfers_and_the_fullest_links_fit() {
    const LAST: Time = Time(8_640_000_000_000_000_000); // 100 days
    const LARGE: u64 = 1 << 50;
    for (rate, alone) in [(1e6, None), (1e9, Some(LARGE * 1_000)), (1e13, Some(LARGE.div_ceil(10)))] {
        for start in [Time(3), LAST] {
            let mut link = Link::new(rate);
            let crowd = 100_000;
            for id in 0..crowd {
                link.begin(TransferId(id), LARGE, start);
                // Ends past the end of time are none.
                let end = alone.and_then(|alone| alone.checked_mul(id + 1)?.checked_add(start.0));
                match (link.deadline(), end) {
                    (Some(at), Some(end)) => assert!(at.0.abs_diff(end) <= 100 * (id + 1), "{at:?}, not {end}"),
                    (at, end) => assert_eq!(at, end.map(Time), "{rate} {start:?} {id}"),
                }
            }
            link.check();
            let later = Time(start.0 + 1_000_000_000_000);
            for id in (0..crowd).rev().step_by(2) {
                let share = rate as u64 / crowd;
                let delivered = link.cancel(TransferId(id), later).expect("it is under way");
                assert!((share - 1..=share).contains(&delivered), "{delivered} bytes in a second, not {share}");
            }
            assert_eq!((link.active(), link.busy()), (50_000, Span(1_000_000_000_000)));
            link.check();
        }
    }
}

#[test]
fn a_link_is_never_faster_than_said_and_hardly_slower() {
    // Rates in units of 2^-10 bytes per second, as fractions of a byte count too.
    for (rate, bytes) in [
        (1_024_000_001_u64, 1_u64 << 43),
        (12_800_000_000_001, 1 << 50),
        (7_000_000_000_000 << 10, 1 << 50),
        (7_777_777_777_777 << 10, 1 << 50),
    ] {
        let took = u128::from(Link::new(rate as f64 / 1024.0).alone(bytes).0);
        let exact = (u128::from(bytes) * 1_000_000_000_000 * 1024).div_ceil(u128::from(rate));
        // Less than 2^-44 ps per byte.
        assert!((exact..=exact + 64).contains(&took), "{took} ps instead of {exact} at {rate}/1024 B/s");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for rate in [0.0, -1.0, 999_999.0, 1.1e13, f64::INFINITY, f64::NAN] {
        assert!(std::panic::catch_unwind(|| Link::new(rate)).is_err(), "{rate}");
    }
    let mut link = Link::new(1e9);
    link.begin(TransferId(1), 1, Time(10));
    assert!(std::panic::catch_unwind(move || link.finished(Time(9))).is_err(), "time does not run backwards");
}

/// How sizes are distributed, with a mean of a million bytes, and the class that a size belongs to.
#[derive(Clone, Copy, Debug)]
enum Sizes {
    Exponential,
    Deterministic,
    /// Nine small for a large one eleven times as large: a squared coefficient of variation of 2.25.
    TwoPoint,
}

impl Sizes {
    const MEAN: f64 = 1e6;

    fn draw(self, random: &mut Stream) -> u64 {
        match self {
            // At least a byte: a slowdown needs a size.
            Self::Exponential => random.exponential(Self::MEAN) as u64 + 1,
            Self::Deterministic => Self::MEAN as u64,
            Self::TwoPoint if random.below(10) > 0 => 500_000,
            Self::TwoPoint => 5_500_000,
        }
    }

    fn class(self, size: u64) -> usize {
        // Of the exponential distribution, its quarters.
        let bounds = [4.0 / 3.0, 2.0, 4.0].map(|odds: f64| (Self::MEAN * odds.ln()) as u64);
        match self {
            Self::Exponential => bounds.iter().filter(|bound| size > **bound).count(),
            Self::Deterministic => 0,
            Self::TwoPoint => usize::from(size > 1_000_000),
        }
    }

    fn classes(self) -> usize {
        match self {
            Self::Exponential => 4,
            Self::Deterministic => 1,
            Self::TwoPoint => 2,
        }
    }
}

/// The mean slowdown (sojourn by size alone) of each class at utilisation `rho`, of those that arrive neither early
/// nor late in the run.
fn slowdowns(rho: f64, sizes: Sizes, seed: u64) -> Vec<f64> {
    const TRANSFERS: u64 = 40_000;
    const EDGE: u64 = 2_000;
    let streams = Streams::new(seed);
    let named = |name| streams.named(&format!("{name}, rho {rho}, {sizes:?}"));
    let (mut gaps, mut draws) = (named("arrivals"), named("sizes"));
    let mut link = Link::new(1e9);
    let mean_gap = link.alone(Sizes::MEAN as u64).as_secs_f64() / rho;
    let mut sums = vec![(0.0, 0_u32); sizes.classes()];
    let mut begun: Vec<(Time, u64)> = Vec::new();
    let mut arrival = Time::ZERO;
    for id in 0..=TRANSFERS {
        arrival += Span::from_secs_f64(gaps.exponential(mean_gap));
        let last = if id == TRANSFERS { Time(u64::MAX) } else { arrival };
        while let Some(at) = link.deadline().filter(|at| *at <= last) {
            let ended = link.finished(at).expect("its deadline has come").0;
            let (since, size) = begun[ended as usize];
            if (EDGE..TRANSFERS - EDGE).contains(&ended) {
                let (sum, count) = &mut sums[sizes.class(size)];
                *sum += at.since(since).as_secs_f64() / link.alone(size).as_secs_f64();
                *count += 1;
            }
        }
        if id < TRANSFERS {
            let size = sizes.draw(&mut draws);
            begun.push((arrival, size));
            link.begin(TransferId(id), size, arrival);
        }
    }
    sums.into_iter().map(|(sum, count)| sum / f64::from(count)).collect()
}

#[test]
fn a_link_is_an_m_g_1_queue_with_processor_sharing() {
    // A transfer of size x takes x / (1 - rho) on average, whatever the distribution of sizes (insensitivity;
    // Kleinrock, Queueing Systems II, 4.4): so the mean slowdown is 1 / (1 - rho) in every class of every distribution.
    const RUNS: u64 = 64;
    for rho in [0.3, 0.5, 0.7] {
        let expected = 1.0 / (1.0 - rho);
        for sizes in [Sizes::Exponential, Sizes::Deterministic, Sizes::TwoPoint] {
            let runs: Vec<Vec<f64>> = (1..=RUNS).map(|seed| slowdowns(rho, sizes, seed)).collect();
            for class in 0..sizes.classes() {
                let mean = runs.iter().map(|run| run[class]).sum::<f64>() / RUNS as f64;
                let variance = runs.iter().map(|run| (run[class] - mean).powi(2)).sum::<f64>() / (RUNS - 1) as f64;
                let error = (variance / RUNS as f64).sqrt();
                let off = (mean - expected) / error;
                println!("rho {rho}, {sizes:?} {class}: {mean:.4}, expected {expected:.4}, {off:+.2} x {error:.4}");
                assert!(off.abs() <= 3.0, "rho {rho}, {sizes:?} {class}: {mean} against {expected} +- 3 x {error}");
                assert!(error < 0.01 * expected, "the sample is large enough to tell 3 %, not only {error}");
            }
        }
    }
}
