//! The path that a GPU takes, on the CPU: the same code in candle's tensors, against candle's own models and against the
//! CPU's kernels.

use super::bench::{model, prompt};
use super::families::{agree, expected, from_folder};
use super::oracle::{APART, apart, ours};
use super::taken_back::pieces;
use super::written::{FAMILIES, VOCAB};
use candle_core::{DType, Device};
use kvcache::{BlockKey, OpId, RequestId, Tokens, WorkerId};
use sim::replica::Work;
use sim::transport::{Carried, Move, Way};
use std::cell::Cell;
use std::sync::Arc;
use worker::block::HEADER;
use worker::depot::Bytes;
use worker::engine::{Ask, Memory, Reply, Sampling, Worker};
use worker::model::{Model, Part, Want};
use worker::pages::{PageId, PageShape};
use worker::tensor::{TensorModel, TensorPages};

/// How far scores may be from those of candle's model, which keeps its KV in floats: what rounding that to halves costs.
const CLOSE: f32 = 2e-3;
/// How far passes of other chunks or batches may be from each other: sums in another order.
const SAME: f32 = 1e-4;

fn tensors(model: &Model, pages: usize) -> (TensorModel, TensorPages) {
    let shape = &model.shape;
    let shape = PageShape { layers: shape.layers, heads: shape.kv_heads, dim: shape.dim, tokens: 16 };
    let tensors = TensorModel::new(model, &Device::Cpu, DType::F32).expect("there is memory");
    (tensors, TensorPages::new(shape, pages, &Device::Cpu).expect("there is memory"))
}

/// Scores of a batch: part, token, values.
fn run(model: &TensorModel, pages: &TensorPages, batch: &[Part<'_>]) -> Vec<(usize, usize, Vec<f32>)> {
    let mut told = Vec::new();
    let scores = |part: usize, token: usize, values: &[f32]| told.push((part, token, values.to_vec()));
    let computed = model.forward_while(pages, batch, |_| true, scores).expect("it computes");
    assert!(computed.iter().all(|computed| *computed));
    told
}

fn pages(range: std::ops::Range<u32>) -> Vec<PageId> {
    range.map(PageId).collect()
}

fn all(model: &Model, tokens: &[u32]) -> Vec<Vec<f32>> {
    let count = tokens.len().div_ceil(16);
    let (model, pool) = tensors(model, count);
    let part = Part { tokens, start: 0, pages: &pages(0..count as u32), want: Want::All };
    run(&model, &pool, &[part]).into_iter().map(|(_, _, values)| values).collect()
}

#[test]
fn each_family_scores_as_candles_models_do() {
    for (seed, family) in FAMILIES.into_iter().enumerate() {
        let (files, tokens) = (family.tensors(seed as u64), prompt(200, VOCAB, 7));
        let read = from_folder(family, &family.config(), &files);
        agree(&format!("{family:?} in tensors"), &all(&read, &tokens), &expected(family, &files, &tokens), CLOSE);
    }
}

#[test]
fn scores_are_those_of_the_kernels_but_for_their_8_bits() {
    let (model, tokens) = (model(), prompt(150, 257, 9));
    agree("tiny in tensors and by kernels", &ours(&model, &tokens), &all(&model, &tokens), APART);
}

/// However a prompt is cut, batched and laid on pages.
#[test]
fn chunks_batches_and_pages_change_next_to_nothing() {
    let (of, tokens, others) = (model(), prompt(300, 257, 31), prompt(90, 257, 32));
    let expected = all(&of, &tokens);
    let theirs = all(&of, &others);
    let (model, pool) = tensors(&of, 40);
    let mine: Vec<PageId> = (0..19).map(|at| PageId(39 - 2 * at)).collect();
    let other: Vec<PageId> = (0..6).map(|at| PageId(2 * at)).collect();
    let (mut at, mut beside) = (0, 0);
    for chunk in [1, 15, 16, 17, 100, 1, 1, 149] {
        let count = 11.min(others.len() - beside);
        let batch = [
            Part { tokens: &tokens[at..at + chunk], start: at, pages: &mine, want: Want::All },
            Part { tokens: &others[beside..beside + count], start: beside, pages: &other, want: Want::Last },
        ];
        for (part, token, values) in run(&model, &pool, &batch) {
            let expected = if part == 0 { &expected[at + token] } else { &theirs[beside + token] };
            let far = apart(&values, expected);
            assert!(far < SAME, "part {part}, chunk of {chunk} from {at}: {far} apart");
        }
        (at, beside) = (at + chunk, beside + count);
    }
    assert_eq!((at, beside), (300, 88));
}

#[test]
fn a_pass_that_nobody_wants_ends_within_a_layer_and_leaves_no_trace() {
    let (of, tokens) = (model(), prompt(60, 257, 33));
    let expected = all(&of, &tokens);
    let (model, pool) = tensors(&of, 4);
    let mine = pages(0..4);
    run(&model, &pool, &[Part { tokens: &tokens[..20], start: 0, pages: &mine, want: Want::Nothing }]);
    let rest = Part { tokens: &tokens[20..], start: 20, pages: &mine, want: Want::Last };
    for patience in 0..2 {
        let asked = Cell::new(0);
        let wanted = |_| asked.replace(asked.get() + 1) < patience;
        let computed = model.forward_while(&pool, &[rest], wanted, |_, _, _| panic!("nobody asked")).expect("it ends");
        assert_eq!((computed, asked.get()), (vec![false], patience + 1));
    }
    let far = apart(&run(&model, &pool, &[rest])[0].2, &expected[59]);
    assert!(far < SAME, "{far} apart");
}

/// Pages leave in the layout of the CPU's pages, and come back bit for bit, to other places.
#[test]
fn pages_leave_and_come_back() {
    let (of, tokens) = (model(), prompt(64, 257, 34));
    let (model, pool) = tensors(&of, 8);
    run(&model, &pool, &[Part { tokens: &tokens, start: 0, pages: &pages(2..6), want: Want::Nothing }]);
    let gathered = pool.gather(&[PageId(5), PageId(2)]).expect("they are there");
    let halves: Vec<Vec<half::f16>> = gathered.to_vec2().expect("halves");
    // What the kernels have there, but for their 8 bits.
    let mut bench = super::bench::Bench::new(&of, 16, 8, 1);
    bench.all(&super::bench::Sequence::new(tokens.clone(), 2..6));
    for (page, halves) in [PageId(5), PageId(2)].into_iter().zip(&halves) {
        let floats: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
        let theirs: Vec<f32> = bench.pages.page(page).iter().map(|bits| half::f16::from_bits(*bits).to_f32()).collect();
        let far = apart(&floats, &theirs);
        assert!(far < APART, "page {page:?}: {far} apart");
    }
    let (_, other) = tensors(&of, 8);
    other.scatter(&[PageId(0), PageId(7)], &gathered).expect("they come");
    let again: Vec<Vec<half::f16>> =
        other.gather(&[PageId(0), PageId(7)]).and_then(|all| all.to_vec2()).expect("halves");
    assert!(again == halves, "other bits came back");
    let untouched: Vec<Vec<half::f16>> = other.gather(&[PageId(1)]).and_then(|all| all.to_vec2()).expect("halves");
    assert!(untouched[0].iter().all(|half| half.to_bits() == 0));
}

/// The executor on a device: what one worker computed another loads, and goes on as if it had computed it.
#[test]
fn workers_on_a_device_hand_blocks_on() {
    let of = Arc::new(TensorModel::new(&model(), &Device::Cpu, DType::F32).expect("there is memory"));
    let memory = Memory { block: Tokens(16), pages: 8 };
    let worker = || Worker::on_device(Arc::clone(&of), memory).expect("there is memory");
    let (request, tokens) = (RequestId(1), prompt(50, 257, 35));
    let ask = || Ask { tokens: tokens.clone(), pieces: pieces(50), reply: Reply::Drawn(Sampling::GREEDY) };
    let chunk = |from, new| Work { chunks: vec![(request, Tokens(from), Tokens(new))], decoding: Vec::new() };
    let mut first = worker();
    first.submit(request, ask());
    let mut cold = Vec::new();
    first.run_seen(&chunk(0, 50), |_, scores| cold = scores.to_vec());
    let object = Carried { key: BlockKey(7), from: Tokens(0), upto: Tokens(48), host: true, pool: false };
    let asked = |way| Move { worker: WorkerId(0), op: OpId(1), request, way, objects: vec![object], deadline: None };
    let (came, parcels) = first.carry(&asked(Way::Store), vec![(object, None)]);
    let bytes = parcels[0].1.clone().expect("it was copied");
    assert_eq!((came, bytes.len()), (1, 3 * (HEADER + first.page_shape().bytes())));
    let load = |worker: &mut Worker, bytes: Bytes| worker.carry(&asked(Way::Load), vec![(object, Some(bytes))]).0;
    let mut second = worker();
    second.submit(request, ask());
    // Passes of others go on between the steps, and whatever they do to the pages that were copied is too late.
    let copying = second.begin(asked(Way::Load), parcels.clone()).expect("it copies aside");
    let copied = std::thread::spawn(|| copying.wait()).join().expect("it copies");
    assert_eq!((second.tables().filled(request), second.end(copied).0), (Tokens::ZERO, 1));
    assert_eq!(second.tables().filled(request), Tokens(48));
    let mut warm = Vec::new();
    second.run_seen(&chunk(48, 2), |_, scores| warm = scores.to_vec());
    let far = apart(&warm, &cold);
    assert!(far < SAME, "{far} apart");
    // A bit that flips is seen, and blocks of the kernels' worker are another's.
    let mut wrong = bytes.to_vec();
    *wrong.last_mut().expect("bytes") ^= 1;
    let mut third = worker();
    third.submit(request, ask());
    assert_eq!(load(&mut third, wrong.into()), 0);
    assert_eq!(third.tables().filled(request), Tokens::ZERO);
    // Who has gone when it comes leaves its pages alone.
    let mut fourth = worker();
    fourth.submit(request, ask());
    let copied = fourth.begin(asked(Way::Load), parcels.clone()).expect("it copies aside").wait();
    fourth.forget(request);
    assert_eq!(fourth.end(copied).0, 1);
    let mut kernels = Worker::new(model(), memory, worker::kernel::Level::detect(), 1).expect("threads start");
    kernels.submit(request, ask());
    assert_eq!(load(&mut kernels, bytes), 0);
}
