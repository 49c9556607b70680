//! The rules, one short story each.

use kvcache::{
    Asked, Eviction, Fragment, Grant, Hold, NodeConfig, NodeStore, ObjectName, Owners, PutRefusal, Span, Time,
};

const BLOCK: u64 = 64 << 10;

fn store(blocks: u64) -> NodeStore {
    NodeStore::new(NodeConfig { watermark: 1000, ..NodeConfig::new(blocks * BLOCK) })
}

fn name(key: &str) -> ObjectName {
    ObjectName::of(b"lmcache", key.as_bytes())
}

fn put(store: &mut NodeStore, key: &str, len: u64, now: Time) {
    let write = store.begin_put(name(key), len, now).expect("there is room");
    store.finish_put(write.id, 7, now).expect("in time");
    store.check();
}

fn lease(store: &mut NodeStore, key: &str, now: Time) -> Option<Grant> {
    match store.lease(name(key), Span::from_secs(30), now, now) {
        Asked::Granted(grant) => Some(grant),
        _ => None,
    }
}

fn at(secs: u64) -> Time {
    Time::ZERO + Span::from_secs(secs)
}

#[test]
fn lengths_are_exact_and_the_end_of_the_last_block_is_nobodys() {
    let mut store = store(8);
    put(&mut store, "a", BLOCK + 1, Time::ZERO);
    put(&mut store, "b", 1, Time::ZERO);
    let a = lease(&mut store, "a", Time::ZERO).expect("it is there");
    let b = lease(&mut store, "b", Time::ZERO).expect("it is there");
    assert_eq!(a.fragments, [Fragment { offset: 0, len: BLOCK + 1 }]);
    assert_eq!(b.fragments, [Fragment { offset: 2 * BLOCK, len: 1 }]);
    assert_eq!((store.usage().object_bytes, store.usage().used), (BLOCK + 2, 3 * BLOCK));
}

#[test]
fn an_object_lies_where_there_is_room() {
    let mut store = store(6);
    for key in ["a", "b", "c", "d", "e", "f"] {
        put(&mut store, key, BLOCK, Time::ZERO);
    }
    // All but two that do not adjoin, and one beside the last of them, are held.
    let held: Vec<_> = ["a", "c", "f"].into_iter().map(|key| lease(&mut store, key, Time::ZERO)).collect();
    put(&mut store, "long", 3 * BLOCK - 5, Time::ZERO);
    let long = lease(&mut store, "long", Time::ZERO).expect("it is there");
    let parts = [Fragment { offset: BLOCK, len: BLOCK }, Fragment { offset: 3 * BLOCK, len: 2 * BLOCK - 5 }];
    assert_eq!(long.fragments, parts, "the two that adjoin are one fragment");
    assert_eq!(held.iter().flatten().count(), 3);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut store = store(4);
    assert_eq!(store.begin_put(name("a"), 0, Time::ZERO), Err(PutRefusal::Empty));
    assert_eq!(store.begin_put(name("a"), 4 * BLOCK + 1, Time::ZERO), Err(PutRefusal::TooLarge { most: 4 * BLOCK }));
    put(&mut store, "a", BLOCK, Time::ZERO);
    put(&mut store, "b", BLOCK, Time::ZERO);
    assert_eq!(store.begin_put(name("a"), 5, Time::ZERO), Err(PutRefusal::Present));
    let held = lease(&mut store, "a", Time::ZERO).expect("it is there");
    // Three blocks are not to be had besides what is held and what is being written; so `b` stays.
    let _writing = store.begin_put(name("c"), BLOCK, Time::ZERO).expect("there is room");
    assert_eq!(store.begin_put(name("d"), 3 * BLOCK, Time::ZERO), Err(PutRefusal::NoRoom));
    assert!(store.has(&name("b")), "a put that finds no room has evicted nothing");
    store.release(held.id, Time::ZERO).expect("it is under way");
    store.begin_put(name("d"), 3 * BLOCK, Time::ZERO).expect("now there is");
    assert!(!store.has(&name("a")) && !store.has(&name("b")));
    store.check();
}

#[test]
fn a_put_that_is_too_late_keeps_its_blocks_until_its_writer_lets_go() {
    let mut store = store(2);
    let late = store.begin_put(name("a"), BLOCK, at(0)).expect("there is room");
    store.timeout(at(30));
    assert_eq!(store.counts().discarded, 1);
    // The name is free at once, the block is not: its writer may be in the middle of it.
    let again = store.begin_put(name("a"), BLOCK, at(30)).expect("there is a block left");
    assert_ne!(again.fragments, late.fragments);
    assert_eq!(store.begin_put(name("b"), 1, at(30)), Err(PutRefusal::NoRoom));
    assert!(store.finish_put(late.id, 0, at(31)).is_err(), "it is over");
    store.begin_put(name("b"), 1, at(31)).expect("the block is free");
    store.finish_put(again.id, 0, at(31)).expect("in time");
    store.check();
}

#[test]
fn a_lease_ends_once_and_pins_until_then() {
    let mut store = store(1);
    put(&mut store, "a", 10, at(0));
    let one = lease(&mut store, "a", at(0)).expect("it is there");
    let two = lease(&mut store, "a", at(10)).expect("it is there");
    assert_eq!(store.begin_put(name("b"), 1, at(11)), Err(PutRefusal::NoRoom));
    store.release(one.id, at(11)).expect("it is under way");
    assert!(store.release(one.id, at(11)).is_err(), "twice");
    assert_eq!(store.begin_put(name("b"), 1, at(39)), Err(PutRefusal::NoRoom), "the other one holds");
    assert!(store.holds(two.id, at(39)) && !store.holds(two.id, at(40)));
    assert_eq!(store.deadline(), Some(at(40)));
    store.begin_put(name("b"), 1, at(40)).expect("it has expired");
    assert!(store.release(two.id, at(40)).is_err(), "and is over");
    assert_eq!((store.counts().expired, store.counts().evicted), (1, 1));
}

#[test]
fn who_waits_is_answered_when_the_object_arrives_or_in_time() {
    for hold in [Hold::Always, Hold::Pending] {
        let mut store = NodeStore::new(NodeConfig { hold, ..NodeConfig::new(8 * BLOCK) });
        let wait = |store: &mut NodeStore, key: &str, now: Time| match store.lease(
            name(key),
            Span::from_secs(1),
            now + Span::from_secs(2),
            now,
        ) {
            Asked::Waiting(id) => Some(id),
            Asked::Absent => None,
            other => panic!("{other:?}"),
        };
        let absent = wait(&mut store, "a", at(0));
        assert_eq!(absent.is_some(), hold == Hold::Always);
        let write = store.begin_put(name("a"), 5, at(0)).expect("there is room");
        let pending = wait(&mut store, "a", at(1)).expect("somebody brings it");
        store.finish_put(write.id, 9, at(1)).expect("in time");
        let answers: Vec<_> = std::iter::from_fn(|| store.poll_answer()).collect();
        let woken: Vec<_> = answers.iter().map(|(id, grant)| (*id, grant.as_ref().map(|grant| grant.seal))).collect();
        let expected: Vec<_> = absent.into_iter().chain([pending]).map(|id| (id, Some(9))).collect();
        assert_eq!(woken, expected, "each has a lease of its own");
        // A put that is given up: who waits for that alone is told so at once.
        let write = store.begin_put(name("b"), 5, at(2)).expect("there is room");
        let waiting = wait(&mut store, "b", at(2)).expect("somebody brings it");
        store.abort_put(write.id, at(3)).expect("in time");
        let at_once = store.poll_answer();
        assert_eq!(at_once, (hold == Hold::Pending).then_some((waiting, None)));
        store.timeout(at(4));
        let in_time = store.poll_answer();
        assert_eq!(in_time, (hold == Hold::Always).then_some((waiting, None)));
        assert_eq!(store.counts().misses, 1 + u64::from(hold == Hold::Pending));
        store.check();
    }
}

#[test]
fn what_is_spoiled_is_not_found_and_goes_with_its_last_lease() {
    let mut store = store(2);
    put(&mut store, "a", BLOCK, at(0));
    let held = lease(&mut store, "a", at(0)).expect("it is there");
    assert!(store.condemn(&name("a"), at(0)));
    assert!(!store.condemn(&name("a"), at(0)) && lease(&mut store, "a", at(0)).is_none());
    put(&mut store, "a", BLOCK, at(0));
    store.check();
    assert_eq!(store.usage().used, 2 * BLOCK);
    store.release(held.id, at(1)).expect("it is under way");
    assert_eq!(store.usage().used, BLOCK);
    store.check();
}

#[test]
fn room_is_made_ahead_of_need_by_every_order() {
    for eviction in Eviction::ALL {
        let mut store = NodeStore::new(NodeConfig { eviction, ..NodeConfig::new(100 * BLOCK) });
        for key in 0..400 {
            put(&mut store, &key.to_string(), BLOCK, at(key));
        }
        let usage = store.usage();
        assert!((85..=90).contains(&(usage.used / BLOCK)), "{eviction}: {usage:?}");
        assert_eq!(store.counts().evicted + usage.objects, 400, "{eviction}");
    }
}

#[test]
fn names_do_not_run_together_and_do_not_tell_their_keys() {
    let of = |bucket: &str, key: &str| ObjectName::of(bucket.as_bytes(), key.as_bytes());
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_ne!(of("", "abc"), of("abc", ""));
    let shown = format!("{:?} {}", of("lmcache", "model@0@salt"), of("lmcache", "model@0@salt"));
    assert!(!shown.contains("salt") && shown.len() == 33, "{shown}");
}

#[test]
fn owners_share_evenly_and_keep_what_is_theirs() {
    let names = ["http://a:9200", "http://b:9200", "http://c:9200", "http://d:9200", "http://e:9200"];
    let (all, fewer) = (Owners::new(names), Owners::new(names[..4].iter().copied()));
    let turned = Owners::new(names.iter().rev().copied());
    let mut shares = [0_u32; 5];
    for key in 0..10_000 {
        let object = name(&format!("key {key}"));
        let owner = all.of(&object);
        shares[owner] += 1;
        assert_eq!(names[owner], names[4 - turned.of(&object)], "the order of the list says nothing");
        if owner < 4 {
            assert_eq!(fewer.of(&object), owner, "only what was the lost one's moves");
        }
    }
    // 2,000 each; five standard deviations are 200.
    assert!(shares.iter().all(|share| (1800..=2200).contains(share)), "{shares:?}");
}
