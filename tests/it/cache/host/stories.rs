//! The rules of L1, one short story each.

use kvcache::{Blocks, Chain, ChainBuilder, Eviction, HostCache, HostConfig, HostWrite, Piece, Tokens};

const CHUNK: Tokens = Tokens(16);

fn cache(chunks: u64, watermark: u16) -> HostCache {
    HostCache::new(HostConfig {
        capacity: chunks * u64::from(CHUNK.0) * 100 + 99,
        token_bytes: 100,
        chunk: CHUNK,
        eviction: Eviction::Lru,
        watermark,
        evict: 200,
        seed: 0,
    })
}

/// A prompt of so many tokens of each content.
fn prompt(contents: &[(u64, u32)]) -> Vec<Piece> {
    let mut builder = ChainBuilder::new();
    contents.iter().for_each(|(id, tokens)| builder.push(*id, Tokens(*tokens)));
    builder.pieces().to_vec()
}

fn chain(pieces: &[Piece]) -> Chain<'_> {
    Chain::new(pieces, CHUNK).with_tail(true)
}

fn reserve(cache: &mut HostCache, pieces: &[Piece], from: u32) -> HostWrite {
    let write = cache.reserve(chain(pieces), Blocks(from), chain(pieces).objects());
    cache.check();
    write
}

fn publish(cache: &mut HostCache, write: HostWrite) {
    let end = write.end();
    cache.publish(write, end);
    cache.check();
}

#[track_caller]
fn assert_found(cache: &HostCache, pieces: &[Piece], from: u32, end: u32) {
    assert_eq!(cache.find(chain(pieces), Blocks(from), Blocks(u32::MAX)), Blocks(end));
}

#[test]
fn a_tail_belongs_to_prompts_that_end_there() {
    let mut cache = cache(10, 1000);
    let whole = prompt(&[(1, 32), (2, 10)]);
    let write = reserve(&mut cache, &whole, 0);
    assert_eq!((write.end(), write.new_tokens()), (Blocks(3), Tokens(42)));
    publish(&mut cache, write);
    assert_found(&cache, &whole, 0, 3);
    for other in [&[(1, 32), (2, 9)], &[(1, 32), (2, 11)], &[(1, 32), (2, 16)], &[(1, 32), (3, 10)]] {
        assert_found(&cache, &prompt(other), 0, 2);
    }
    assert_found(&cache, &prompt(&[(3, 32), (2, 10)]), 2, 2);
    let without = Chain::new(&whole, CHUNK);
    assert_eq!((without.objects(), without.with_tail(true).objects()), (Blocks(2), Blocks(3)));
    let in_tens = without.with_tail(true).in_units_of(Tokens(10));
    assert_eq!((in_tens.objects(), in_tens.tokens_before(Blocks(5))), (Blocks(5), Tokens(42)), "the tail comes along");
}

#[test]
fn a_tail_may_be_all_there_is() {
    let mut cache = cache(10, 1000);
    let short = prompt(&[(1, 5)]);
    let write = reserve(&mut cache, &short, 0);
    publish(&mut cache, write);
    assert_found(&cache, &short, 0, 1);
    assert_found(&cache, &prompt(&[(1, 6)]), 0, 0);
    assert_eq!(cache.usage().ready, 5);
}

#[test]
fn a_head_may_be_absent() {
    let mut cache = cache(300, 1000);
    let long = prompt(&[(1, 16 * 200)]);
    let write = reserve(&mut cache, &long, 150);
    assert_eq!(write.new_tokens(), Tokens(50 * 16));
    publish(&mut cache, write);
    assert_found(&cache, &long, 0, 0);
    assert_found(&cache, &long, 149, 149);
    assert_found(&cache, &long, 150, 200);
    let write = reserve(&mut cache, &long, 0);
    assert_eq!(write.new_tokens(), Tokens(150 * 16), "the head alone");
    publish(&mut cache, write);
    assert_found(&cache, &long, 0, 200);
}

#[test]
fn each_chunk_has_one_writer() {
    let mut cache = cache(10, 1000);
    let (short, long) = (prompt(&[(1, 48)]), prompt(&[(1, 80)]));
    let first = reserve(&mut cache, &short, 0);
    let second = reserve(&mut cache, &long, 0);
    assert_eq!((second.end(), second.new_tokens()), (Blocks(5), Tokens(32)), "what nobody writes yet");
    publish(&mut cache, second);
    assert_found(&cache, &long, 0, 0);
    assert_found(&cache, &long, 3, 5);
    cache.publish(first, Blocks(1));
    assert_found(&cache, &long, 0, 1);
    assert_found(&cache, &long, 3, 5);
    assert_eq!(cache.usage().pending, 0);
}

#[test]
fn what_finds_no_room_is_skipped() {
    let mut cache = cache(4, 1000);
    let (held, other) = (prompt(&[(1, 48)]), prompt(&[(2, 48)]));
    let write = reserve(&mut cache, &held, 0);
    publish(&mut cache, write);
    let pin = cache.pin(chain(&held), Blocks(0), Blocks(3));
    let write = reserve(&mut cache, &other, 0);
    assert_eq!((write.end(), write.new_tokens(), cache.skipped()), (Blocks(1), Tokens(16), 32));
    cache.unpin(pin);
    let rest = reserve(&mut cache, &other, 1);
    assert_eq!((rest.end(), cache.evicted()), (Blocks(3), 32), "the tail of the other goes, and its head stays");
    assert_found(&cache, &held, 0, 1);
    publish(&mut cache, write);
    publish(&mut cache, rest);
    assert_found(&cache, &other, 0, 3);
}

#[test]
fn above_the_watermark_a_part_goes() {
    let mut cache = cache(10, 800);
    for (id, used) in [(1, 2), (2, 4), (3, 6), (4, 8)] {
        let write = reserve(&mut cache, &prompt(&[(id, 32)]), 0);
        publish(&mut cache, write);
        assert_eq!(cache.usage().ready, used * 16, "not above 80 %");
    }
    let write = reserve(&mut cache, &prompt(&[(5, 16)]), 0);
    // A fifth of nine chunks is 28.8 tokens: two chunks.
    assert_eq!((cache.evicted(), cache.usage().pending), (32, 16));
    publish(&mut cache, write);
    assert_found(&cache, &prompt(&[(1, 32)]), 0, 0);
    assert_found(&cache, &prompt(&[(2, 32)]), 0, 2);
}

#[test]
fn a_restart_forgets_holders() {
    let mut cache = cache(4, 1000);
    let pieces = prompt(&[(1, 48)]);
    let write = reserve(&mut cache, &pieces, 0);
    publish(&mut cache, write);
    let (pin, write) = (cache.pin(chain(&pieces), Blocks(0), Blocks(2)), reserve(&mut cache, &prompt(&[(2, 16)]), 0));
    cache.clear();
    cache.check();
    assert_eq!((cache.usage().ready, cache.usage().pending, cache.usage().pinned), (0, 0, 0));
    let again = reserve(&mut cache, &pieces, 0);
    cache.unpin(pin);
    publish(&mut cache, write);
    assert_found(&cache, &prompt(&[(2, 16)]), 0, 0);
    publish(&mut cache, again);
    assert_found(&cache, &pieces, 0, 3);
}

#[test]
#[should_panic(expected = "only what was found is pinned")]
fn what_is_not_there_cannot_be_pinned() {
    let mut cache = cache(4, 1000);
    let _ = cache.pin(chain(&prompt(&[(1, 48)])), Blocks(0), Blocks(3));
}
