//! The ways between the tiers alone: what an operation brings, and what a load brings that is cut short.
//!
//! A chunk of 256 tokens has 256,000 bytes. The ways carry 1 GB/s unless a test slows one of them down: 0.256 ms a chunk.

use super::world::{TOKEN_BYTES, pool};
use kvcache::{
    Blocks, Chain, ChainBuilder, Contact, Done, Failed, Op, OpId, RequestId, Span, Task, Time, Tokens, WorkerId,
};
use sim::replica::Asked;
use sim::transport::{Arrived, Moved, PoolAccess, ProbeMode, Reach, Transport, TransportConfig};

const FIRST: WorkerId = WorkerId(0);
const SECOND: WorkerId = WorkerId(1);

fn ways() -> TransportConfig {
    TransportConfig {
        token_bytes: TOKEN_BYTES,
        host_bytes_per_s: 1e9,
        nic_bytes_per_s: 1e9,
        workers_per_node: 1,
        pool: Some(PoolAccess { bytes_per_s: 1e9, round_trip: Span::from_micros(100), ..pool(2, 1 << 30) }),
    }
}

struct Stage {
    transport: Transport,
    chain: ChainBuilder,
    next: u64,
    now: Time,
}

impl Stage {
    /// A prompt of eight chunks, of which the pool has all.
    fn new(config: TransportConfig) -> Self {
        let mut chain = ChainBuilder::new();
        chain.push(7, Tokens(8 * 256));
        let mut stage = Self { transport: Transport::new(config, 2), chain, next: 0, now: Time::ZERO };
        stage.start(FIRST, Self::store(), None);
        assert_eq!(stage.outcomes(), [Ok(Done::Copied), Ok(Done::Stored)]);
        stage
    }

    fn store() -> Task {
        Task::Store { from: Blocks(0), to: Blocks(8), host: Blocks(8), host_tokens: Tokens(8 * 256), pool: true }
    }

    /// So many chunks from L1, and the rest of eight from L2.
    fn load(host: u32) -> Task {
        let (host_tokens, pool_tokens) = (Tokens(256 * host), Tokens(256 * (8 - host)));
        Task::Load { from: Blocks(0), host: Blocks(host), to: Blocks(8), host_tokens, pool_tokens }
    }

    fn start(&mut self, worker: WorkerId, task: Task, within: Option<Span>) -> OpId {
        self.next += 1;
        let op = Op { id: OpId(self.next), request: RequestId(0), task };
        let objects = Chain::new(self.chain.pieces(), Tokens(256));
        self.transport.start(worker, Asked { op, objects, deadline: within.map(|span| self.now + span) }, self.now);
        self.transport.check();
        op.id
    }

    fn all(&mut self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        while let Some(due) = self.transport.due() {
            self.now = self.transport.run(due).unwrap_or(due);
            arrived.extend(std::iter::from_fn(|| self.transport.poll()));
            self.transport.check();
        }
        arrived
    }

    fn outcomes(&mut self) -> Vec<Result<Done, Failed>> {
        self.all().into_iter().map(|arrived| arrived.outcome).collect()
    }

    /// What a load by the second worker brings by its deadline.
    fn brings(mut self, host: u32, within: Span) -> Result<Done, Failed> {
        self.start(SECOND, Self::load(host), Some(within));
        let outcomes = self.outcomes();
        assert_eq!(outcomes.len(), 1, "one answer to one load");
        let pool = self.transport.pool().expect("there is one");
        assert_eq!((pool.usage(0).pinned, pool.usage(1).pinned), (0, 0), "the lease is given back");
        outcomes[0]
    }
}

const fn loaded(device: u32, host: u32, pool: Contact) -> Result<Done, Failed> {
    Ok(Done::Loaded { device: Blocks(device), host: Blocks(host), pool })
}

/// Leases take 0.4 ms (eight of them, four at a time, two round trips each). A way of 0.1 GB/s then carries a chunk in
/// 2.56 ms: by 13.3 ms five of eight are there. The network carries what lies on the other node alone.
#[test]
fn a_load_cut_short_brings_what_its_slowest_way_has_carried() {
    let five = Span::from_micros(400 + 5 * 2560 + 100);
    let with = |change: &dyn Fn(&mut TransportConfig)| {
        let mut config = ways();
        change(&mut config);
        Stage::new(config)
    };
    let slow_pool = with(&|ways| ways.pool.as_mut().expect("there is one").bytes_per_s = 1e8);
    assert_eq!(slow_pool.brings(0, five), loaded(5, 5, Contact::Answered));
    let slow_link = with(&|ways| ways.host_bytes_per_s = 1e8);
    assert_eq!(slow_link.brings(0, five), loaded(5, 8, Contact::Answered), "all has come into the host");
    // Of eight chunks so many lie on the first node, for the second worker elsewhere.
    let whole = Stage::new(ways());
    let mut spread = [0, 0];
    let objects = Chain::new(whole.chain.pieces(), Tokens(256));
    let mut pool = Stage::new(ways()).transport;
    let pool = pool.pool_mut().expect("there is one");
    let leased = pool.lease(objects, Blocks(0), Blocks(8), Time(1 << 50), |shard, tokens| {
        spread[usize::from(shard)] += tokens.0 / 256;
    });
    assert!(leased.is_some() && spread[0] > 1 && spread[1] > 1, "some here, some there: {spread:?}");
    let half = Span::from_micros(400 + 2560 * u64::from(spread[0]) / 2 + 1);
    let slow_network = with(&|ways| ways.nic_bytes_per_s = 1e8);
    assert_eq!(
        slow_network.brings(0, half),
        loaded(4, 4, Contact::Answered),
        "half of what lies elsewhere, half of all"
    );
}

#[test]
fn a_load_cut_short_ends_where_its_part_from_l1_does() {
    // Five chunks from L1 and three from L2 share the host link from 0.2 ms on; through the pool come two of the three.
    let stage = Stage::new(ways());
    assert_eq!(stage.brings(5, Span::from_micros(200 + 2 * 256 + 10)), loaded(1, 7, Contact::Answered));
    // L1's part has come, and of the other one chunk, through the pool's bottleneck.
    let mut config = ways();
    config.pool.as_mut().expect("there is one").bytes_per_s = 1e8;
    let stage = Stage::new(config);
    assert_eq!(stage.brings(5, Span::from_micros(200 + 2560 + 10)), loaded(6, 6, Contact::Answered));
}

#[test]
fn a_load_whose_leases_were_not_there_in_time_has_brought_nothing_from_l2() {
    // 0.3 ms: after one round trip somebody has answered.
    assert_eq!(Stage::new(ways()).brings(0, Span::from_micros(300)), loaded(0, 0, Contact::Answered));
    assert_eq!(Stage::new(ways()).brings(0, Span::from_micros(99)), loaded(0, 0, Contact::Silent));
    // Leases for seven chunks take 0.4 ms, one chunk from L1 0.256 ms.
    assert_eq!(Stage::new(ways()).brings(1, Span::from_micros(390)), loaded(1, 1, Contact::Answered));
}

#[test]
fn what_was_cut_short_under_a_lease_that_has_expired_does_not_count() {
    let mut config = ways();
    config.host_bytes_per_s = 1e8;
    config.pool.as_mut().expect("there is one").pool.lease_ttl = Span::from_millis(5);
    assert_eq!(Stage::new(config).brings(0, Span::from_millis(6)), loaded(0, 0, Contact::Answered));
}

#[test]
fn what_comes_from_l1_comes_though_l2_is_out_of_reach() {
    for (reach, contact) in [(Reach::Refused, Contact::Refused), (Reach::Silent, Contact::Silent)] {
        let mut stage = Stage::new(ways());
        stage.transport.set_reach(reach);
        assert_eq!(stage.brings(5, Span::from_millis(50)), loaded(5, 5, contact));
        let mut stage = Stage::new(ways());
        stage.transport.set_reach(reach);
        assert_eq!(stage.brings(0, Span::from_millis(50)), loaded(0, 0, contact));
    }
}

#[test]
fn who_asks_in_vain_learns_why() {
    let probe = Task::Probe { from: Blocks(0), to: Blocks(8) };
    for (reach, within, expected, micros) in [
        (Reach::Up, 3_000_000, Ok(Done::Probed(Blocks(8))), 1600),
        (Reach::Up, 700, Ok(Done::Probed(Blocks(3))), 700),
        (Reach::Up, 99, Err(Failed::TimedOut), 99),
        (Reach::Refused, 3_000_000, Err(Failed::Unreachable), 100),
        (Reach::Silent, 3_000_000, Err(Failed::TimedOut), 3_000_000),
    ] {
        let mut stage = Stage::new(ways());
        stage.transport.set_reach(reach);
        let began = stage.now;
        stage.start(SECOND, probe, Some(Span::from_micros(within)));
        assert_eq!(stage.outcomes(), [expected]);
        assert_eq!(stage.now.since(began), Span::from_micros(micros), "{reach:?} within {within} us");
    }
}

#[test]
fn a_store_learns_only_after_its_copy_that_l2_is_out_of_reach() {
    // The copy takes 2.048 ms.
    let refused = (Reach::Refused, Failed::Unreachable, 2048 + 100);
    for (reach, failed, micros) in [refused, (Reach::Silent, Failed::TimedOut, 2048 + 5_000_000)] {
        let mut stage = Stage::new(ways());
        stage.transport.set_reach(reach);
        let began = stage.now;
        stage.start(SECOND, Stage::store(), None);
        assert_eq!(stage.outcomes(), [Ok(Done::Copied), Err(failed)]);
        assert_eq!(stage.now.since(began), Span::from_micros(micros));
    }
}

#[test]
fn a_store_takes_its_copy_and_then_its_slowest_way() {
    // Eight chunks: 2.048 ms off the device; then as long through the pool, while some of them cross the network.
    let mut stage = Stage { transport: Transport::new(ways(), 2), now: Time::ZERO, ..Stage::new(ways()) };
    stage.start(FIRST, Stage::store(), None);
    assert_eq!(stage.outcomes(), [Ok(Done::Copied), Ok(Done::Stored)]);
    assert_eq!(stage.now.since(Time::ZERO), Span::from_micros(2048 + 2048));
}

/// What L1 took is copied once, for both; what found no room there comes off the device for L2 alone.
#[test]
fn a_store_copies_what_it_must() {
    for (host, host_tokens, to_pool, copied) in [
        (8, 8 * 256, true, 8),
        (5, 5 * 256, true, 8),
        (5, 0, true, 3),
        (0, 0, true, 8),
        (5, 5 * 256, false, 5),
        (8, 0, true, 0),
    ] {
        let mut stage = Stage { transport: Transport::new(ways(), 2), ..Stage::new(ways()) };
        let (host, host_tokens) = (Blocks(host), Tokens(host_tokens));
        stage.start(FIRST, Task::Store { from: Blocks(0), to: Blocks(8), host, host_tokens, pool: to_pool }, None);
        assert_eq!(stage.outcomes().last(), Some(&Ok(Done::Stored)));
        assert_eq!(stage.transport.moved().device_to_host, 256_000 * copied, "{host:?} {host_tokens:?} {to_pool}");
    }
}

#[test]
fn at_one_moment_links_go_by_number_and_deadlines_last() {
    let mut stage = Stage::new(ways());
    // Both end after 0.256 ms: whoever began first, the first worker is told first.
    let one = Task::Load {
        from: Blocks(0),
        host: Blocks(1),
        to: Blocks(1),
        host_tokens: Tokens(256),
        pool_tokens: Tokens(0),
    };
    for (one_first, deadline) in [(false, 256), (true, 256), (false, 1000)] {
        let (first, second) = if one_first { (FIRST, SECOND) } else { (SECOND, FIRST) };
        stage.start(first, one, Some(Span::from_micros(deadline)));
        stage.start(second, one, Some(Span::from_micros(deadline)));
        let arrived = stage.all();
        let workers: Vec<WorkerId> = arrived.iter().map(|arrived| arrived.worker).collect();
        assert_eq!(workers, [FIRST, SECOND]);
        assert!(
            arrived.iter().all(|arrived| arrived.outcome == loaded(1, 1, Contact::Unasked)),
            "in time: {arrived:?}"
        );
    }
}

/// The last object of a prompt may be small: half of the bytes are not half of the objects.
#[test]
fn a_load_cut_short_brings_whole_objects() {
    let mut transport = Transport::new(ways(), 1);
    let mut chain = ChainBuilder::new();
    chain.push(7, Tokens(256 + 10));
    let objects = Chain::new(chain.pieces(), Tokens(256)).with_tail(true);
    let to = Blocks(2);
    let task = Task::Load { from: Blocks(0), host: to, to, host_tokens: Tokens(266), pool_tokens: Tokens(0) };
    for (micros, came) in [(140, 0), (255, 0), (256, 1), (265, 1), (266, 2)] {
        let (op, now) = (Op { id: OpId(1), request: RequestId(0), task }, Time(micros << 40));
        transport.start(FIRST, Asked { op, objects, deadline: Some(now + Span::from_micros(micros)) }, now);
        while let Some(due) = transport.due() {
            transport.run(due);
            if let Some(arrived) = transport.poll() {
                assert_eq!(arrived.outcome, loaded(came, 2, Contact::Unasked), "after {micros} us");
            }
        }
    }
}

/// What has gone between the look-up and the load costs a miss, wherever it is.
#[test]
fn a_miss_inside_a_load_costs_its_wait() {
    for lost in [0, 7] {
        let mut config = ways();
        config.pool.as_mut().expect("there is one").miss_wait = Span::from_millis(50);
        let mut stage = Stage::new(config);
        let objects = Chain::new(stage.chain.pieces(), Tokens(256));
        stage.transport.pool_mut().expect("there is one").lose_object(objects, Blocks(lost), stage.now);
        let began = stage.now;
        stage.start(SECOND, Stage::load(0), None);
        assert_eq!(stage.outcomes(), [loaded(lost, lost, Contact::Answered)]);
        // The miss is heard of after 50.1 ms; only then is all else brought.
        assert_eq!(stage.now.since(began), Span::from_micros(50_100 + 256 * u64::from(lost)));
    }
}

/// Four at a time, a lease and its release each: 0.2 ms a round, until one has a miss.
#[test]
fn a_batched_probe_asks_in_rounds() {
    for (from, lost, miss_wait, micros) in
        [(0, 8, 0, 400), (0, 6, 0, 400), (0, 4, 0, 300), (0, 0, 0, 100), (2, 8, 0, 400), (0, 4, 900, 1200)]
    {
        let mut config = ways();
        let access = config.pool.as_mut().expect("there is one");
        (access.probe, access.miss_wait) = (ProbeMode::Batched, Span::from_micros(miss_wait));
        let mut stage = Stage::new(config);
        let objects = Chain::new(stage.chain.pieces(), Tokens(256));
        if lost < 8 {
            stage.transport.pool_mut().expect("there is one").lose_object(objects, Blocks(lost), stage.now);
        }
        let began = stage.now;
        stage.start(SECOND, Task::Probe { from: Blocks(from), to: Blocks(8) }, None);
        assert_eq!(stage.outcomes(), [Ok(Done::Probed(Blocks(lost)))]);
        assert_eq!(stage.now.since(began), Span::from_micros(micros), "from {from}, without {lost}");
    }
}

/// Three stores of one worker: their copies share the way to the host and end together after 6.144 ms; then each takes 2.048
/// ms into the pool, one after the other. A put lasts 9 ms: the second is too late when it arrives, the third when its turn
/// comes.
#[test]
fn a_worker_puts_one_store_after_the_other() {
    let mut config = ways();
    config.pool.as_mut().expect("there is one").pool.put_ttl = Span::from_millis(9);
    let mut transport = Transport::new(config, 2);
    for op in 1..=3 {
        let mut chain = ChainBuilder::new();
        chain.push(op, Tokens(8 * 256));
        let objects = Chain::new(chain.pieces(), Tokens(256));
        let op = Op { id: OpId(op), request: RequestId(0), task: Stage::store() };
        transport.start(FIRST, Asked { op, objects, deadline: None }, Time::ZERO);
    }
    let mut told = Vec::new();
    while let Some(due) = transport.due() {
        let now = transport.run(due).unwrap_or(due);
        transport.check();
        told.extend(std::iter::from_fn(|| transport.poll()).map(|arrived| (now, arrived.op.0, arrived.outcome)));
    }
    let at = |micros: u64| Time::ZERO + Span::from_micros(micros);
    let copied = (1..=3).map(|op| (at(6144), op, Ok(Done::Copied)));
    let (late, broken) = (at(10_240), Err(Failed::Broken));
    let arrived = [(at(8192), 1, Ok(Done::Stored)), (late, 2, broken), (late, 3, broken)];
    assert_eq!(told, copied.chain(arrived).collect::<Vec<_>>());
    assert_eq!(transport.moved().pool, 2 * 8 * 256_000, "the third did not set out");
}

#[test]
fn a_pool_too_far_away_to_answer_in_time_is_silent() {
    let mut config = ways();
    config.pool.as_mut().expect("there is one").round_trip = Span::from_secs(6);
    let mut stage = Stage { transport: Transport::new(config, 2), now: Time::ZERO, ..Stage::new(ways()) };
    stage.start(FIRST, Stage::store(), None);
    assert_eq!(stage.outcomes(), [Ok(Done::Copied), Err(Failed::TimedOut)]);
    assert_eq!(stage.now, Time::ZERO + Span::from_micros(2048 + 5_000_000));
}

/// What has come counts on all its ways alike, though a faster one has carried more.
#[test]
fn bytes_are_counted_where_the_slowest_way_has_brought_them() {
    let after = Span::from_micros(400 + 12_900);
    let moved = |change: &dyn Fn(&mut TransportConfig)| {
        let mut config = ways();
        change(&mut config);
        let mut stage = Stage::new(config);
        let before = stage.transport.moved();
        stage.start(SECOND, Stage::load(0), Some(after));
        stage.outcomes();
        let Moved { host_to_device, nic, pool, .. } = stage.transport.moved();
        (host_to_device, nic - before.nic, pool - before.pool)
    };
    let all = 8 * 256_000;
    // 12.9 ms at 0.1 GB/s.
    let (device, network, pool) = moved(&|ways| ways.pool.as_mut().expect("there is one").bytes_per_s = 1e8);
    assert!((device, pool) == (1_290_000, 1_290_000) && network < pool && network > 0, "{network}");
    let (device, network, pool) = moved(&|ways| ways.host_bytes_per_s = 1e8);
    assert!((device, pool) == (1_290_000, all) && network < pool, "{network}");
    let (device, network, pool) = moved(&|ways| ways.nic_bytes_per_s = 1e7);
    assert!(device == pool && pool < all && (128_990..=129_000).contains(&network), "{device} {network} {pool}");
}
