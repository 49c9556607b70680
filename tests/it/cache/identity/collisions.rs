//! Published ways to make unequal blocks equal, each shown to work on the hash that it was made for, and ten million
//! blocks by brute force.

use super::{all_differ, last, root};
use crate::cache::prompts::Chance;
use kvcache::BlockHash;

fn told_apart(blocks: &[Vec<u32>]) {
    let root = root();
    all_differ(blocks.iter().map(|tokens| root.then(tokens)).collect());
    // Whatever follows stays apart, too, and so do the keys of the simulator.
    all_differ(blocks.iter().map(|tokens| root.then(tokens).then(&[1; 16])).collect());
    let contents = |tokens: &Vec<u32>| tokens.iter().map(|token| (u64::from(*token), 1)).collect::<Vec<_>>();
    all_differ(blocks.iter().map(|tokens| last(&contents(tokens))).collect());
}

/// h = h * base + token, modulo 2^64: the rolling hash of many prefix indices.
fn rolling(base: u64, tokens: &[u32]) -> u64 {
    tokens.iter().fold(0, |hash: u64, token| hash.wrapping_mul(base).wrapping_add(u64::from(*token)))
}

/// A Thue-Morse word and its complement have one rolling hash for every odd base at once: their difference is the
/// product of `base^(2^i) - 1`, and for ten factors at least 64 of its prime factors are 2. For an even base, what is
/// 64 tokens back is shifted out.
#[test]
fn words_of_thue_and_morse_do_not_collide() {
    let word: Vec<u32> = (0..1024_u32).map(|n| 1000 + n.count_ones() % 2).collect();
    let complement: Vec<u32> = word.iter().map(|token| 2001 - token).collect();
    let mut early = word.clone();
    early[7] = 5;
    let bases = [31, 33, 131, 257, 1_000_003, 0x0100_0000_01b3, 0x9e37_79b9_7f4a_7c15, u64::MAX - 58];
    for base in bases {
        assert_eq!(rolling(base, &word), rolling(base, &complement), "the attack works on base {base}");
    }
    for base in [2, 256, 65_536, 1_000_000] {
        assert_eq!(rolling(base, &word), rolling(base, &early), "the attack works on base {base}");
    }
    told_apart(&[word, complement, early]);
}

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

/// XXH64 (Collet, 2012; specification of the xxHash project), as some prefix indices name their blocks.
fn xxh64(seed: u64, bytes: &[u8]) -> u64 {
    let round = |lane: u64, word: u64| lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1);
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let (stripes, mut rest) = bytes.split_at(bytes.len() & !31);
    let mut hash = seed.wrapping_add(P5);
    if !stripes.is_empty() {
        let mut lanes = [seed.wrapping_add(P1).wrapping_add(P2), seed.wrapping_add(P2), seed, seed.wrapping_sub(P1)];
        for stripe in stripes.chunks_exact(32) {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(bytes));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
        hash = turned.fold(0, u64::wrapping_add);
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    while rest.len() >= 8 {
        hash = (hash ^ round(0, word(&rest[..8]))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        rest = &rest[8..];
    }
    if rest.len() >= 4 {
        let half = u32::from_le_bytes(rest[..4].try_into().expect("four bytes"));
        hash = (hash ^ u64::from(half).wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        rest = &rest[4..];
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(P2);
    hash = (hash ^ hash >> 29).wrapping_mul(P3);
    hash ^ hash >> 32
}

/// The number whose product with odd `a` is 1, modulo 2^64 (Newton: each step doubles the bits that are right).
fn inverse(a: u64) -> u64 {
    (0..6).fold(a, |x, _| x.wrapping_mul(2_u64.wrapping_sub(a.wrapping_mul(x))))
}

/// Two stripes whose lanes the attacker chooses, as 16 tokens: one block of vLLM.
fn block(lanes: [(u64, u64); 4]) -> Vec<u32> {
    let words = lanes.iter().map(|lane| lane.0).chain(lanes.iter().map(|lane| lane.1));
    words.flat_map(|word| [word as u32, (word >> 32) as u32]).collect()
}

/// A lane takes a word in as `lane = rotate(lane + word * P2) * P1`. A first word that is larger by 1 / P2 makes the
/// sum larger by 1, hence the turned sum by 2^31, unless the 33 low bits of the sum are all ones: one seed in 2^33. A
/// second word that is smaller by 2^31 * P1 / P2 takes that back. Four lanes: 16 blocks with one hash, the seed
/// unknown.
#[test]
fn blocks_that_xxh64_confuses_under_any_seed_do_not_collide() {
    assert_eq!((xxh64(0, b""), xxh64(0, b"abc")), (0xef46_db37_51d8_e999, 0x44bc_2cf5_ad77_0999));
    let unit = inverse(P2);
    assert_eq!(unit.wrapping_mul(P2), 1);
    let back = (P1 << 31).wrapping_mul(unit);
    let mut chance = Chance::new(54_727);
    let mut word = || u64::from(chance.below(u32::MAX)) << 32 | u64::from(chance.below(u32::MAX));
    let chosen = [(); 4].map(|()| (word(), word()));
    let blocks: Vec<Vec<u32>> = (0..16)
        .map(|which: u32| {
            let mut lanes = chosen;
            for (bit, (first, second)) in lanes.iter_mut().enumerate() {
                if which >> bit & 1 == 1 {
                    (*first, *second) = (first.wrapping_add(unit), second.wrapping_sub(back));
                }
            }
            block(lanes)
        })
        .collect();
    let bytes = |tokens: &Vec<u32>| tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>();
    let bytes: Vec<Vec<u8>> = blocks.iter().map(bytes).collect();
    all_differ(bytes.clone());
    let seeds = [0, 1, u64::MAX, 1 << 63, P1, P2].into_iter().chain((0..10_000).map(|_| word()));
    for seed in seeds {
        let confused = xxh64(seed, &bytes[0]);
        assert!(bytes.iter().all(|bytes| xxh64(seed, bytes) == confused), "the attack works on seed {seed:#x}");
    }
    told_apart(&blocks);
}

/// Ten million blocks that are as alike as blocks can be: each the successor of the one before and of equal tokens,
/// or of one parent and a bit or two apart. By chance, two of them share their first eight bytes once in 370,000 such
/// tests; hashes whose first eight bytes differ do differ.
#[test]
fn ten_million_blocks_do_not_collide() {
    const HALF: u32 = 5_000_000;
    let root = root();
    let chained = || {
        let successor = |before: &BlockHash| Some(before.then(&[0; 16]));
        let chain = std::iter::successors(Some(root.then(&[0; 16])), successor);
        chain.take(HALF as usize).map(|hash| hash.piece_key()).collect::<Vec<_>>()
    };
    let siblings = || {
        let mut tokens = [0_u32; 16];
        let mut sibling = |n: u32| {
            // 16 tokens of 5 values at most: the digits of n, the first ones fastest.
            tokens.iter_mut().fold(n + 1, |rest, token| {
                *token = rest % 5;
                rest / 5
            });
            root.then(&tokens).piece_key()
        };
        (0..HALF).map(&mut sibling).collect::<Vec<_>>()
    };
    let mut keys = std::thread::scope(|scope| {
        let chained = scope.spawn(chained);
        let mut keys = siblings();
        keys.extend(chained.join().expect("the chain is hashed"));
        keys
    });
    assert_eq!(keys.len(), 10_000_000);
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "two blocks share their first eight bytes");
}
