//! When are two blocks the same? Vectors fix what stores will hold for years; attacks try to make unequal ones equal.

mod salts; // tenants
mod collisions; // published attacks on weaker hashes, and ten million blocks
mod processes; // other programs compute the same

use super::prompts::Chance;
use kvcache::{BlockHash, BlockKey, Blocks, CacheConfig, Chain, ChainBuilder, Duplicates};
use kvcache::{Identity, Piece, PieceKey, Salt, Tokens, WorkerCache};

fn salt(tenant: &str) -> Salt {
    Salt::for_tenant(tenant, None).expect("no client chose it")
}

const fn served(salt: &Salt) -> Identity<'_> {
    Identity { model: "Qwen/Qwen3-8B@main", dtype: "bf16", block: Tokens(16), salt, adapter: "" }
}

/// What the first block of tenant a follows.
fn root() -> BlockHash {
    served(&salt("tenant-a")).root()
}

fn hex(hash: BlockHash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

// Computed apart from this crate, with Python:
//
//   import hashlib, struct
//   def root(model, dtype, block, salt, adapter):
//       h = b"podlab.root" + bytes([1]) + struct.pack("<I", block)
//       for f in (model, dtype, salt, adapter): h += struct.pack("<Q", len(f.encode())) + f.encode()
//       return hashlib.sha256(h).digest()
//   def then(before, tokens):
//       return hashlib.sha256(b"podlab.block" + bytes([1]) + before + struct.pack("<Q", len(tokens))
//                             + b"".join(struct.pack("<I", t) for t in tokens)).digest()
//   def salt(tenant):
//       return hashlib.sha256(b"podlab.salt" + bytes([1]) + struct.pack("<Q", len(tenant)) + tenant).hexdigest()
//   r = root("Qwen/Qwen3-8B@main", "bf16", 16, salt(b"tenant-a"), ""); a = then(r, range(16))
//   b = then(a, [151643] * 15 + [4294967295]); struct.unpack("<Q", b[:8])
//   e = root("", "", 1, salt(b""), ""); then(e, [])
#[test]
fn hashes_are_those_of_the_definition() {
    let root = root();
    assert_eq!(hex(root), "d34a78e148cfd40b81c7b67ba30817c4b1ae94277501e02374597d8084774552");
    let first = root.then(&(0..16).collect::<Vec<u32>>());
    assert_eq!(hex(first), "2e469875f901afaa8197b6a1a634f3dc62f74390d760fdd2650252ad0fd52e57");
    let mut tokens = [151_643; 16];
    tokens[15] = u32::MAX;
    let second = first.then(&tokens);
    assert_eq!(hex(second), "a96ffbb61985047385fa359949af934ac7df2839de0ab27d71a4ced45f7a73d9");
    assert_eq!(second.piece_key(), PieceKey(0x7304_8519_b6fb_6fa9));
    let bare = Identity { model: "", dtype: "", block: Tokens(1), salt: &salt(""), adapter: "" }.root();
    assert_eq!(hex(bare), "9659428d9b3361edcc574d7c084d556bc3d3e971344b5769aa7b9096083a5f29");
    assert_eq!(hex(bare.then(&[])), "fac8542ba4cc9617d43606d8aaaba8ff8b5954ab24441699385ff03e1550d39b");
}

/// Asserts that all are different.
fn all_differ<K: Ord + std::fmt::Debug>(mut keys: Vec<K>) {
    keys.sort_unstable();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        panic!("{:?} came twice", pair[0]);
    }
}

#[test]
fn whatever_changes_kv_changes_the_root() {
    let (a, b, nobody) = (salt("tenant-a"), salt("tenant-b"), salt(""));
    let served = served(&a);
    let run_together = format!("bf16{}", a.as_str());
    all_differ(
        [
            served,
            Identity { model: "Qwen/Qwen3-8B@v2", ..served },
            Identity { dtype: "fp8_e4m3", ..served },
            Identity { block: Tokens(32), ..served },
            Identity { salt: &b, ..served },
            Identity { salt: &nobody, ..served },
            Identity { adapter: "sql", ..served },
            // One text in another field, and a boundary moved.
            Identity { salt: &nobody, adapter: a.as_str(), ..served },
            Identity { salt: &nobody, dtype: &run_together, ..served },
            Identity { model: "Qwen/Qwen3-8B@mainb", dtype: "f16", ..served },
            Identity { model: "Qwen/Qwen3-8B@mai", dtype: "nbf16", ..served },
            Identity { adapter: "\0", ..served },
        ]
        .map(|identity| identity.root())
        .to_vec(),
    );
}

#[test]
fn token_boundaries_do_not_run_together() {
    let root = root();
    all_differ(vec![
        root,
        root.then(&[]),
        root.then(&[1, 2, 3]),
        root.then(&[1, 2]).then(&[3]),
        root.then(&[1]).then(&[2, 3]),
        root.then(&[1]).then(&[2]).then(&[3]),
        root.then(&[3, 2, 1]),
        root.then(&[0, 1, 2, 3]),
        root.then(&[1, 2, 3, 0]),
        root.then(&[0x0002_0001, 3]), // the same bytes, were tokens 16 bits long
    ]);
}

/// The keys of a prompt's pieces, told by content and length.
fn keys(contents: &[(u64, u32)]) -> Vec<PieceKey> {
    let mut builder = ChainBuilder::new();
    for (id, tokens) in contents {
        builder.push(*id, Tokens(*tokens));
    }
    builder.pieces().iter().map(|piece| piece.key).collect()
}

fn last(contents: &[(u64, u32)]) -> PieceKey {
    *keys(contents).last().expect("a piece")
}

#[test]
fn a_piece_names_its_past() {
    assert_eq!(last(&[(1, 9), (2, 4)]), last(&[(1, 9), (2, 700)]), "a piece may be cut");
    assert_eq!(last(&[(1, 9), (5, 0), (2, 4)]), last(&[(1, 9), (2, 4)]), "what is empty is not there");
    all_differ(vec![
        PieceKey::ROOT,
        last(&[(2, 4)]),
        last(&[(1, 9), (2, 4)]),
        last(&[(1, 8), (2, 4)]),
        last(&[(3, 9), (2, 4)]),
        last(&[(2, 9), (2, 4)]),
        last(&[(2, 9), (1, 4)]),
        last(&[(1, 9), (1, 4), (2, 4)]),
        last(&[(1, 4), (1, 5), (2, 4)]),
        last(&[(1, 5), (1, 4), (2, 4)]),
        last(&[(0, 9)]),
        last(&[(0, 9), (0, 9)]),
        last(&[(0, 9), (0, 9), (0, 9)]),
    ]);
}

/// A polynomial hash sum(t_i * p^i) has edits that cancel: one token up by 1, its neighbour down by p ("+31, -1").
/// NVIDIA/Megatron-LM PR #4158 met it in block keys.
#[test]
fn edits_that_cancel_in_a_polynomial_do_not_cancel_here() {
    const PRIMES: [u32; 6] = [31, 33, 131, 257, 65_599, 16_777_619];
    let (root, tokens) = (root(), [20_000_000_u32, 30_000_000, 40_000_000, 50_000_000]);
    let mut hashes = vec![root.then(&tokens)];
    let mut pieces = vec![last(&tokens.map(|token| (u64::from(token), 1)))];
    for p in PRIMES {
        for place in 0..3 {
            for (here, next) in
                [(p, 1_u32.wrapping_neg()), (p.wrapping_neg(), 1), (1, p.wrapping_neg()), (1_u32.wrapping_neg(), p)]
            {
                let mut edited = tokens;
                edited[place] = edited[place].wrapping_add(here);
                edited[place + 1] = edited[place + 1].wrapping_add(next);
                hashes.push(root.then(&edited));
                pieces.push(last(&edited.map(|token| (u64::from(token), 1))));
            }
        }
    }
    all_differ(pieces);
    all_differ(hashes);
}

/// The mixing multiplies, and what multiplies can be made zero by one unlucky factor: then an id would name any past.
#[test]
fn no_id_forgets_its_past() {
    const CONSTANTS: [u64; 5] = [
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
        0x9e37_79b9_7f4a_7c15,
        0xd6e8_feb8_6659_fd93,
        0x706f_646c_6162_0001,
    ];
    let mut unlucky = vec![0, 1, u64::MAX];
    for a in CONSTANTS {
        unlucky.extend([a, !a]);
        unlucky.extend(CONSTANTS.map(|b| a ^ b));
    }
    unlucky.sort_unstable();
    unlucky.dedup();
    for id in &unlucky {
        let pasts = (0..100).map(|past| last(&[(past, 16), (*id, 16)])).collect();
        all_differ(pasts);
    }
    for past in unlucky {
        all_differ((0..100).map(|id| PieceKey(past).then(Tokens(16), id)).collect());
        let piece = [Piece { key: PieceKey(past), end: Tokens(1600) }];
        let chain = Chain::new(&piece, Tokens(16));
        all_differ((0..100).map(|block| chain.key(Blocks(block))).collect::<Vec<BlockKey>>());
    }
}

/// By chance, 10^6 keys of 64 bits collide with probability 10^12 / 2^65, or one in 37 million.
#[test]
fn a_million_keys_do_not_collide() {
    let mut pieces = Vec::new();
    let mut blocks = Vec::new();
    for trace in 0..1000 {
        let mut key = PieceKey::ROOT.then(Tokens::ZERO, trace);
        for place in 1..1000 {
            key = key.then(Tokens(512 * place), u64::from(place % 7));
            pieces.push(key);
        }
    }
    let piece: Vec<Piece> = (1..=500).map(|n| Piece { key: pieces[n], end: Tokens(n as u32 * 8000) }).collect();
    let chain = Chain::new(&piece, Tokens(4));
    blocks.extend((0..1_000_000).map(|block| chain.key(Blocks(block))));
    all_differ(pieces);
    all_differ(blocks);
}

/// A bit of what goes in turns over half of the bits that come out: of each of 64, in 45 to 55 % of 4096 trials (six
/// standard deviations).
#[test]
fn every_bit_reaches_every_bit() {
    const TRIALS: u32 = 4096;
    let mut chance = Chance::new(20);
    let mut word = || u64::from(chance.below(u32::MAX)) << 32 | u64::from(chance.below(u32::MAX));
    let words: Vec<(u64, u64)> = (0..TRIALS).map(|_| (word(), word())).collect();
    let turned = |bit: u32, key: &dyn Fn(u64, u64, u64) -> u64| {
        let mut turned = [0_u32; 64];
        for (a, b) in &words {
            let change = key(*a, *b, 0) ^ key(*a, *b, 1 << bit);
            (0..64).for_each(|out| turned[out] += (change >> out & 1) as u32);
        }
        let (least, most) = (turned.iter().min().copied(), turned.iter().max().copied());
        assert!(least > Some(TRIALS * 45 / 100) && most < Some(TRIALS * 55 / 100), "bit {bit}: {turned:?}");
    };
    for bit in (0..64).step_by(3) {
        turned(bit, &|past, id, flip| PieceKey(past ^ flip).then(Tokens(16), id).0);
        turned(bit, &|past, id, flip| PieceKey(past).then(Tokens(16), id ^ flip).0);
    }
    for bit in (0..32).step_by(3) {
        turned(bit, &|past, id, flip| PieceKey(past).then(Tokens(id as u32 ^ flip as u32), id >> 32).0);
    }
}

/// Real tokens: a block is a piece, its hash names it, and the cache finds it.
#[test]
fn hashed_blocks_are_a_chain() {
    let chain_of = |tenant: &str, tokens: &[u32]| {
        let mut hash = served(&salt(tenant)).root();
        let mut pieces = Vec::new();
        for (tokens, end) in tokens.chunks(16).zip((1..).map(|n| n * 16)) {
            hash = hash.then(tokens);
            pieces.push(Piece { key: hash.piece_key(), end: Tokens(end - 16 + tokens.len() as u32) });
        }
        pieces
    };
    let config = CacheConfig {
        capacity: Blocks(100),
        block: Tokens(16),
        prefix_caching: true,
        duplicates: Duplicates::Keep,
        events: false,
    };
    let mut cache = WorkerCache::new(config);
    let tokens: Vec<u32> = (0..200).collect();
    let pieces = chain_of("tenant-a", &tokens);
    let chain = Chain::new(&pieces, Tokens(16));
    let hold = cache.begin(cache.find(chain, Blocks(12)), Tokens(200)).expect("an empty cache has room");
    cache.commit(hold, chain, Tokens(200));
    cache.release(hold, Tokens(200));
    let found = |tenant: &str, tokens: &[u32]| {
        cache.find(Chain::new(&chain_of(tenant, tokens), Tokens(16)), Blocks(12)).blocks().0
    };
    assert_eq!(found("tenant-a", &tokens), 12);
    assert_eq!(found("tenant-a", &tokens[..100]), 6);
    assert_eq!(found("tenant-b", &tokens), 0, "tenants do not see each other");
    for changed in [0, 15, 16, 100, 191] {
        let mut other = tokens.clone();
        other[changed] += 1000;
        assert_eq!(found("tenant-a", &other), changed as u32 / 16);
    }
}
