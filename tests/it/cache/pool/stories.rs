//! The rules of the pool, one short story each. A prompt is written as letters, each one object of content.

use kvcache::{
    Backend, Begun, BlockKey, Blocks, Chain, ChainBuilder, Eviction, LeaseId, Leased, Piece, Pool, PoolConfig,
};
use kvcache::{Span, Time, Tokens, Unknown};

const CHUNK: Tokens = Tokens(4);

fn at(seconds: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(seconds)
}

fn pieces(prompt: &str) -> Vec<Piece> {
    let mut builder = ChainBuilder::new();
    prompt.bytes().for_each(|letter| builder.push(u64::from(letter), CHUNK));
    builder.pieces().to_vec()
}

/// A pool, and prompts as letters.
struct Story(Pool);

impl Story {
    /// So many objects fit on each shard.
    fn new(shards: u16, objects: u64, change: impl FnOnce(&mut PoolConfig)) -> Self {
        let mut config = PoolConfig { chunk: CHUNK, ..PoolConfig::tiered_storage(2, shards, objects * 8) };
        change(&mut config);
        Self(Pool::new(config))
    }

    fn small(objects: u64) -> Self {
        Self::new(1, objects, |config| config.backend = Backend::Redis)
    }

    fn with<T>(&mut self, prompt: &str, act: impl FnOnce(&mut Pool, Chain<'_>, Blocks) -> T) -> T {
        let pieces = pieces(prompt);
        let answer = act(&mut self.0, Chain::new(&pieces, CHUNK), Blocks(prompt.len() as u32));
        self.0.check();
        answer
    }

    fn begin(&mut self, prompt: &str, now: f64) -> Begun {
        self.with(prompt, |pool, chain, to| pool.begin_put(chain, Blocks::ZERO, to, at(now), |_, _| {}))
    }

    /// A whole put; says how many objects of the prompt are there now.
    fn put(&mut self, prompt: &str, now: f64) -> u32 {
        let begun = self.begin(prompt, now);
        if let Some(put) = begun.put {
            self.0.end_put(put, begun.end, at(now)).expect("it is under way");
        }
        self.probe(prompt, 0, now)
    }

    /// Where the objects that are there end, from object `from` on.
    fn probe(&mut self, prompt: &str, from: u32, now: f64) -> u32 {
        self.with(prompt, |pool, chain, to| pool.probe(chain, Blocks(from), to, at(now)).0)
    }

    fn lease(&mut self, prompt: &str, now: f64) -> Option<(LeaseId, u32)> {
        let leased = self.with(prompt, |pool, chain, to| pool.lease(chain, Blocks::ZERO, to, at(now), |_, _| {}));
        leased.map(|(id, end)| (id, end.0))
    }

    fn use_it(&mut self, prompt: &str, now: f64) {
        let (lease, _) = self.lease(prompt, now).expect("it is there");
        self.0.release(lease, at(now)).expect("it is live");
    }

    fn key(prompt: &str) -> BlockKey {
        Chain::new(&pieces(prompt), CHUNK).key(Blocks(prompt.len() as u32 - 1))
    }

    fn lose(&mut self, prompt: &str, now: f64) {
        self.with(prompt, |pool, chain, to| pool.lose_object(chain, to - Blocks(1), at(now)));
    }
}

#[test]
fn a_put_is_seen_once_it_has_ended() {
    let mut s = Story::new(2, 100, |_| {});
    let begun = s.begin("abc", 0.0);
    assert_eq!((begun.end, begun.new), (Blocks(3), Tokens(12)));
    assert_eq!(s.probe("abc", 0, 1.0), 0, "what is pending is invisible");
    assert_eq!(s.lease("abc", 1.0), None);
    s.0.end_put(begun.put.expect("three objects are new"), Blocks(3), at(2.0)).expect("it is under way");
    assert_eq!(s.probe("abcd", 0, 2.0), 3);
    assert_eq!(s.probe("abcd", 1, 2.0), 3);
    assert_eq!(s.probe("abd", 0, 2.0), 2);
    assert_eq!(s.probe("bcd", 0, 2.0), 0, "a key names its whole past");
    let counts = s.0.counts();
    assert_eq!((counts.puts, counts.present), (12, 0));
}

#[test]
fn what_is_there_is_not_put_again() {
    let mut s = Story::new(3, 100, |_| {});
    s.put("abc", 0.0);
    let again = s.begin("abcde", 1.0);
    assert_eq!((again.end, again.new), (Blocks(5), Tokens(8)));
    let third = s.begin("abcde", 1.0);
    assert_eq!((third.put, third.end, third.new), (None, Blocks(5), Tokens(0)), "also while it is pending");
    assert_eq!(s.0.counts().present, 12 + 20);
    s.0.end_put(again.put.expect("two are new"), Blocks(5), at(1.0)).expect("it is under way");
    assert_eq!(s.probe("abcde", 0, 1.0), 5);
}

#[test]
fn a_put_that_ends_short_leaves_the_beginning() {
    let mut s = Story::new(3, 100, |_| {});
    let begun = s.begin("abcd", 0.0);
    s.0.end_put(begun.put.expect("four are new"), Blocks(2), at(0.0)).expect("it is under way");
    assert_eq!(s.probe("abcd", 0, 0.0), 2);
    assert_eq!(s.begin("abcd", 0.0).new, Tokens(8), "the rest may be put again");
}

#[test]
fn a_put_that_ends_late_or_twice_changes_nothing() {
    let mut s = Story::new(1, 100, |_| {});
    let put = s.begin("abc", 0.0).put.expect("three are new");
    assert_eq!(s.0.deadline(), Some(at(30.0)));
    assert_eq!(s.0.end_put(put, Blocks(3), at(30.0)), Err(Unknown), "it was discarded at that moment");
    assert_eq!(s.probe("abc", 0, 30.0), 0);
    assert_eq!((s.0.counts().discarded, s.0.deadline()), (1, None));
    let put = s.begin("abc", 31.0).put.expect("three are new");
    s.0.end_put(put, Blocks(1), at(60.9)).expect("in time");
    assert_eq!(s.0.end_put(put, Blocks(3), at(60.9)), Err(Unknown));
    assert_eq!(s.probe("abc", 0, 60.9), 1);
}

#[test]
fn a_lease_is_released_once() {
    let mut s = Story::new(2, 100, |_| {});
    s.put("abc", 0.0);
    let (lease, end) = s.lease("abcd", 1.0).expect("three are there");
    assert_eq!(end, 3);
    assert!(s.0.is_live(lease, at(30.999)), "it lives for its 30 s");
    assert!(!s.0.is_live(lease, at(31.0)));
    let (other, _) = s.lease("abc", 2.0).expect("three are there");
    assert_ne!(lease, other);
    assert_eq!(s.0.release(lease, at(2.0)), Ok(()));
    assert!(!s.0.is_live(lease, at(2.0)));
    assert_eq!(s.0.release(lease, at(2.0)), Err(Unknown));
    assert!(s.0.is_live(other, at(2.0)), "leases do not end each other");
    let (third, _) = s.lease("abc", 2.0).expect("three are there");
    assert_ne!(lease, third, "no number comes twice");
    assert_eq!(s.0.deadline(), Some(at(32.0)));
    assert_eq!(s.0.release(other, at(32.0)), Err(Unknown), "too late");
    assert_eq!((s.0.counts().expired_leases, s.0.deadline()), (2, None));
    assert_eq!(s.0.release(LeaseId::from_bits(u64::MAX), at(33.0)), Err(Unknown));
}

#[test]
fn what_is_leased_is_not_evicted() {
    let mut s = Story::small(3);
    s.put("abc", 0.0);
    let (lease, _) = s.lease("ab", 1.0).expect("two are there");
    assert_eq!(s.put("xyz", 2.0), 1, "c makes room, a and b cannot");
    assert_eq!(s.probe("abc", 0, 2.0), 2);
    let skipped = s.begin("mn", 3.0);
    assert_eq!((skipped.end, skipped.new.0), (Blocks(1), 4), "x makes room");
    assert_eq!(s.begin("q", 3.0).put, None, "all is pinned or pending: skipped");
    assert_eq!(s.0.counts().skipped, 4 * (2 + 1 + 1));
    s.0.release(lease, at(4.0)).expect("it is live");
    assert!(s.begin("qr", 4.0).put.is_some());
    assert_eq!(s.probe("ab", 0, 4.0), 0);
}

#[test]
fn a_lease_that_expires_lets_go() {
    let mut s = Story::small(2);
    s.put("ab", 0.0);
    let (lease, _) = s.lease("ab", 0.0).expect("it is there");
    assert_eq!(s.put("xy", 29.0), 0);
    s.0.timeout(at(30.0));
    assert!(!s.0.is_live(lease, at(30.0)));
    assert_eq!(s.put("xy", 30.0), 2);
    // Without a call in time, the next one does what is due first.
    s.lease("xy", 31.0).expect("it is there");
    assert_eq!(s.put("mn", 61.0), 2);
}

#[test]
fn who_waits_knows_for_what() {
    let mut s = Story::new(1, 100, |_| {});
    let lease = |s: &mut Story, prompt: &str| {
        s.with(prompt, |pool, chain, to| pool.lease_or_wait(chain, Blocks::ZERO, to, at(0.0), |_, _| {}))
    };
    assert_eq!(lease(&mut s, "ab"), Leased::Absent);
    let put = s.begin("ab", 0.0).put.expect("two are new");
    assert_eq!(lease(&mut s, "ab"), Leased::Pending);
    assert_eq!(lease(&mut s, "b"), Leased::Absent);
    s.0.end_put(put, Blocks(1), at(0.0)).expect("it is under way");
    let Leased::Got { end, .. } = lease(&mut s, "ab") else { panic!("one is there") };
    assert_eq!(end, Blocks(1));
    let counts = s.0.counts();
    assert_eq!((counts.hits, counts.misses), (4, 4 * (2 + 1 + 1)), "who waits has not missed yet");
}

#[test]
fn the_least_recently_used_goes_first_of_a_prompt_the_end() {
    let mut s = Story::small(6);
    s.put("abc", 0.0);
    s.put("xyz", 1.0);
    s.use_it("ab", 2.0);
    assert_eq!(s.put("mn", 3.0), 2);
    assert_eq!((s.probe("abc", 0, 3.0), s.probe("xyz", 0, 3.0)), (2, 2), "c, then z");
    assert_eq!(s.put("op", 4.0), 2);
    assert_eq!((s.probe("abc", 0, 4.0), s.probe("xyz", 0, 4.0)), (2, 0), "then y and x");
    // A pool hears of the keys that it is asked for, and of no others: b is used, a is not.
    let from_b = |pool: &mut Pool, chain: Chain<'_>, to: Blocks| pool.lease(chain, Blocks(1), to, at(5.0), |_, _| {});
    let (lease, _) = s.with("ab", from_b).expect("b is there");
    s.0.release(lease, at(5.0)).expect("it is live");
    s.put("q", 6.0);
    assert_eq!((s.probe("ab", 0, 6.0), s.probe("ab", 1, 6.0)), (0, 2), "a hole at the head");
    assert_eq!(s.lease("ab", 6.0), None, "of no use to whoever needs a prefix");
    assert_eq!(s.put("ab", 7.0), 2, "until it is put again");
}

#[test]
fn above_the_watermark_a_share_goes_ahead_of_need() {
    let mut s = Story::new(1, 20, |config| config.backend = Backend::TieredStorage { watermark: 500, evict: 200 });
    s.put("abcdefghij", 0.0);
    assert_eq!(s.0.usage(0).used, 40, "ten objects of twenty are not more than half");
    s.put("z", 1.0);
    assert_eq!(s.0.usage(0).used, 44 - 16, "a fifth of twenty objects went");
    assert_eq!((s.probe("abcdefghij", 0, 1.0), s.probe("z", 0, 1.0), s.0.counts().evicted), (6, 1, 16));
}

#[test]
fn a_lost_shard_is_empty_and_its_keys_go_elsewhere() {
    let mut s = Story::new(2, 100, |_| {});
    let prompt = "abcdefghijklmnop";
    assert_eq!(s.put(prompt, 0.0), 16);
    let first = |s: &Story, shard: u16| {
        (1..=16).find(|n| s.0.shard_of(Story::key(&prompt[..*n])) == Some(shard)).expect("each has some") as u32 - 1
    };
    let hole = first(&s, 1);
    s.0.lose_shard(1, at(1.0));
    assert_eq!(s.probe(prompt, 0, 1.0), hole);
    assert_eq!(s.0.usage(1).used, 0);
    assert_eq!(s.put(prompt, 2.0), 16, "the holes are filled on the shard that is left");
    assert_eq!((s.0.usage(0).used, s.0.usage(1).used), (64, 0));
    s.0.restore_shard(1);
    assert_eq!(s.probe(prompt, 0, 3.0), 16, "what lies elsewhere stays there, and is found");
    assert_eq!(s.put("qrstuvwxyz", 3.0), 10);
    assert!(s.0.usage(1).used > 0, "new objects go to it again");
    s.0.lose_shard(0, at(4.0));
    s.0.lose_shard(1, at(4.0));
    assert_eq!(s.put(prompt, 5.0), 0, "without a shard, puts are skipped");
}

#[test]
fn a_lease_outlives_its_shard_as_a_number_only() {
    let mut s = Story::new(1, 100, |_| {});
    s.put("abc", 0.0);
    let (lease, _) = s.lease("abc", 0.0).expect("it is there");
    s.0.lose_shard(0, at(1.0));
    assert_eq!(s.probe("abc", 0, 1.0), 0, "gone for all others at once");
    assert!(!s.0.is_live(lease, at(1.0)), "what is being copied from it is a miss");
    s.0.restore_shard(0);
    assert_eq!(s.0.release(lease, at(2.0)), Ok(()));
    assert_eq!(s.0.usage(0).used, 0);
    let put = s.begin("abc", 3.0).put.expect("three are new");
    s.0.lose_shard(0, at(4.0));
    assert_eq!(s.0.end_put(put, Blocks(3), at(5.0)), Ok(()), "the writer is not told");
    assert_eq!((s.probe("abc", 0, 5.0), s.0.usage(0).used), (0, 0));
}

#[test]
fn a_single_object_may_be_lost() {
    let mut s = Story::small(10);
    s.put("abcd", 0.0);
    s.lose("ab", 1.0);
    assert_eq!((s.probe("abcd", 0, 1.0), s.probe("abcd", 2, 1.0)), (1, 4));
    assert_eq!(s.put("abcd", 2.0), 4);
    assert_eq!(s.0.usage(0).used, 16);
    s.lose("zz", 3.0);
    let (lease, _) = s.lease("abcd", 4.0).expect("it is there");
    let (head, _) = s.lease("a", 4.0).expect("it is there");
    s.lose("abc", 5.0);
    assert_eq!((s.0.is_live(lease, at(5.0)), s.0.is_live(head, at(5.0))), (false, true));
    assert_eq!(s.probe("abcd", 0, 5.0), 2);
}

#[test]
fn loads_are_told_by_shard() {
    let mut s = Story::new(3, 100, |_| {});
    let prompt = "abcdefghijkl";
    let mut expected = [0; 3];
    (1..=12).for_each(|n| expected[usize::from(s.0.shard_of(Story::key(&prompt[..n])).expect("up"))] += 4);
    let mut written = [0; 3];
    let begun = s.with(prompt, |pool, chain, to| {
        pool.begin_put(chain, Blocks::ZERO, to, at(0.0), |shard, tokens| written[usize::from(shard)] += tokens.0)
    });
    s.0.end_put(begun.put.expect("all are new"), begun.end, at(0.0)).expect("it is under way");
    let mut read = [0; 3];
    s.with(prompt, |pool, chain, to| {
        pool.lease(chain, Blocks::ZERO, to, at(0.0), |shard, tokens| read[usize::from(shard)] += tokens.0)
    });
    assert_eq!((written, read), (expected, expected));
}

#[test]
fn time_to_live_counts_from_use_or_from_writing() {
    let aged = |eviction| Story::new(1, 100, |c| (c.eviction, c.ttl) = (eviction, Some(Span::from_secs(10))));
    let mut s = aged(Eviction::Lru);
    s.put("ab", 0.0);
    assert_eq!(s.0.deadline(), Some(at(10.0)));
    s.use_it("a", 6.0);
    s.0.timeout(at(9.999));
    assert_eq!(s.probe("ab", 0, 9.999), 2);
    s.0.timeout(at(10.0));
    assert_eq!((s.probe("ab", 0, 10.0), s.0.deadline()), (1, Some(at(16.0))));
    assert_eq!(s.lease("ab", 16.0), None);
    assert_eq!((s.0.counts().aged, s.0.deadline(), s.0.usage(0).used), (8, None, 0));
    let mut s = aged(Eviction::Fifo);
    s.put("ab", 0.0);
    s.use_it("ab", 6.0);
    let (lease, _) = s.lease("a", 9.0).expect("it is there");
    assert_eq!(s.lease("b", 10.0), None);
    s.0.timeout(at(10.0));
    assert_eq!(s.probe("ab", 0, 10.0), 1, "what is leased stays until it is released");
    s.0.release(lease, at(11.0)).expect("it is live");
    assert_eq!(s.probe("ab", 0, 11.0), 0);
}
