//! What the tensor path does on a GPU: `gpu [DATE] [MODEL.gguf]`. A table of checks and figures; ends with 1 where a check
//! failed, with 3 where there is no GPU. `tests/cuda.sh` runs it.

#[cfg(not(feature = "cuda"))]
fn main() {
    eprintln!("built without CUDA: add --features cuda");
    std::process::exit(3);
}

#[cfg(feature = "cuda")]
fn main() {
    gpu::main();
}

#[cfg(feature = "cuda")]
mod gpu {
    use candle_core::{DType, Device, Result};
    use kvcache::{BlockKey, OpId, Piece, PieceKey, RequestId, Tokens, WorkerId};
    use sim::replica::Work;
    use sim::transport::{Carried, Move, Way};
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use worker::depot::Parcel;
    use worker::engine::{Ask, Memory, Reply, Sampling, Worker};
    use worker::model::{Model, Part, Rope, Shape, Want, random, read_gguf, tiny};
    use worker::pages::{PageId, PageShape};
    use worker::tensor::cuda::{Card, open};
    use worker::tensor::{TensorModel, TensorPages};

    /// How far scores in bf16 or f16 may be from those in floats, root mean square by root mean square.
    const APART: f32 = 0.05;
    /// How far those of other chunks may be from each other: products are rounded to bf16 in another order.
    const SAME: f32 = 0.05;
    const BLOCK: usize = 16;

    pub(super) fn main() {
        let mut arguments = std::env::args().skip(1);
        let date = arguments.next().unwrap_or_else(|| "undated".to_owned());
        let model = arguments.next();
        let (device, card) = match open(0) {
            Ok(opened) => opened,
            Err(error) => {
                eprintln!("no GPU: {}", error.to_string().lines().next().unwrap_or_default());
                std::process::exit(3);
            }
        };
        match table(&date, model.as_deref(), &device, &card) {
            Ok(true) => {}
            Ok(false) => std::process::exit(1),
            Err(error) => {
                eprintln!("the GPU failed: {error}");
                std::process::exit(1);
            }
        }
    }

    /// Rows of the table; whether all checks held.
    struct Table(bool);

    impl Table {
        fn check(&mut self, what: &str, value: f64, most: f64, unit: &str) {
            let held = value <= most;
            self.0 &= held;
            println!("| {what} | {value:.5} {unit} | at most {most} | {} |", if held { "ok" } else { "FAILED" });
        }

        fn figure(what: &str, value: f64, unit: &str) {
            println!("| {what} | {value:.2} {unit} | | |");
        }
    }

    fn table(date: &str, path: Option<&str>, device: &Device, card: &Card) -> Result<bool> {
        let (free, all) = card.memory;
        let (down, up) = card.pcie;
        println!(
            "{date}: {} (compute capability {}.{}), {:.1} of {:.1} GiB free\n",
            card.name,
            card.capability.0,
            card.capability.1,
            free as f64 / f64::from(1 << 30),
            all as f64 / f64::from(1 << 30)
        );
        println!("| what | measured | bound | |\n|---|---|---|---|");
        let mut table = Table(true);
        Table::figure("PCIe, from the GPU to locked memory", down / 1e9, "GB/s");
        Table::figure("PCIe, to the GPU", up / 1e9, "GB/s");
        let small = tiny(1);
        scores(&mut table, &small, device, DType::F32, 2e-3)?;
        scores(&mut table, &small, device, card.dtype(), APART)?;
        let model = match path {
            Some(path) => read_gguf(path.as_ref()).map_err(candle_core::Error::wrap)?.0,
            None => sized(),
        };
        let name = model.identity.name.clone();
        scores(&mut table, &model, device, card.dtype(), APART)?;
        let tensors = Arc::new(TensorModel::new(&model, device, card.dtype())?);
        drop(model);
        moves(&mut table, &tensors)?;
        speed(&name, &tensors)?;
        Ok(table.0)
    }

    /// As large as SmolLM2.
    fn sized() -> Model {
        let rope = Rope::plain(100_000.0, 64);
        let (layers, hidden, inner, heads, kv_heads, dim, vocab) = (30, 576, 1536, 9, 3, 64, 49_152);
        let shape = Shape { layers, hidden, inner, heads, kv_heads, dim, vocab, eps: 1e-5, context: 8192, rope };
        random(shape, 1).expect("it can be computed")
    }

    fn prompt(length: usize, vocab: usize) -> Vec<u32> {
        (0..length).map(|at| (at * 7919 + at * at * 31) as u32 % vocab as u32).collect()
    }

    fn pool(model: &TensorModel, pages: usize) -> Result<TensorPages> {
        let shape = &model.shape;
        let shape = PageShape { layers: shape.layers, heads: shape.kv_heads, dim: shape.dim, tokens: BLOCK };
        TensorPages::new(shape, pages, model.device())
    }

    /// Scores after each token of a prompt that is computed in chunks.
    fn run(model: &TensorModel, tokens: &[u32], chunk: usize) -> Result<Vec<Vec<f32>>> {
        let count = tokens.len().div_ceil(BLOCK);
        let pages: Vec<PageId> = (0..count as u32).map(PageId).collect();
        let (pool, mut told) = (pool(model, count)?, Vec::new());
        for (number, chunk_tokens) in tokens.chunks(chunk).enumerate() {
            let part = Part { tokens: chunk_tokens, start: number * chunk, pages: &pages, want: Want::All };
            model.forward_while(&pool, &[part], |_| true, |_, _, values| told.push(values.to_vec()))?;
        }
        Ok(told)
    }

    fn apart(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> f64 {
        let of = |(ours, theirs): (&Vec<f32>, &Vec<f32>)| {
            let mean = theirs.iter().sum::<f32>() / theirs.len() as f32;
            let difference: f32 = ours.iter().zip(theirs).map(|(a, b)| (a - b) * (a - b)).sum();
            (difference / theirs.iter().map(|b| (b - mean) * (b - mean)).sum::<f32>()).sqrt()
        };
        f64::from(ours.iter().zip(theirs).map(of).fold(0f32, f32::max))
    }

    fn scores(table: &mut Table, model: &Model, device: &Device, dtype: DType, bound: f32) -> Result<()> {
        let tokens = prompt(100, model.shape.vocab);
        let expected = run(&TensorModel::new(model, &Device::Cpu, DType::F32)?, &tokens, 100)?;
        let there = TensorModel::new(model, device, dtype)?;
        let (whole, cut) = (run(&there, &tokens, 100)?, run(&there, &tokens, 17)?);
        let what = format!("{} in {}", model.identity.name, dtype.as_str());
        table.check(
            &format!("{what}: scores from those of the CPU in floats"),
            apart(&whole, &expected),
            bound.into(),
            "",
        );
        table.check(&format!("{what}: in chunks of 17, from at once"), apart(&cut, &whole), SAME.into(), "");
        Ok(())
    }

    /// Blocks leave, come to another worker, and cross PCIe while passes go on.
    fn moves(table: &mut Table, model: &Arc<TensorModel>) -> Result<()> {
        const LENGTH: u32 = 2048;
        let memory = Memory { block: Tokens(BLOCK as u32), pages: 2 * LENGTH / BLOCK as u32 + 8 };
        let mut first = Worker::on_device(Arc::clone(model), memory)?;
        let (request, beside) = (RequestId(1), RequestId(2));
        let tokens = prompt(LENGTH as usize + 8, model.shape.vocab);
        let pieces = |number| vec![Piece { key: PieceKey::ROOT.then(Tokens(0), number), end: Tokens(LENGTH + 600) }];
        let ask =
            |number| Ask { tokens: tokens.clone(), pieces: pieces(number), reply: Reply::Drawn(Sampling::GREEDY) };
        let chunk =
            |request, from, new| Work { chunks: vec![(request, Tokens(from), Tokens(new))], decoding: Vec::new() };
        first.submit(request, ask(1));
        first.submit(beside, ask(2));
        let mut cold = Vec::new();
        first.run_seen(&chunk(request, 0, LENGTH + 8), |_, scores| cold = scores.to_vec());
        let object = Carried { key: BlockKey(1), from: Tokens(0), upto: Tokens(LENGTH), host: true, pool: false };
        let asked =
            |way| Move { worker: WorkerId(0), op: OpId(1), request, way, objects: vec![object], deadline: None };
        // Once, so that memory is locked; then as it goes on.
        first.carry(&asked(Way::Store), vec![(object, None)]);
        let began = Instant::now();
        let (came, parcels) = first.carry(&asked(Way::Store), vec![(object, None)]);
        let alone = began.elapsed();
        table.check("a store of 2,048 tokens: objects missing", f64::from(1 - came), 0.0, "");
        let bytes = parcels[0].1.as_ref().map_or(0, |bytes| bytes.len());
        Table::figure("a store of 2,048 tokens, checked and sealed", bytes as f64 / alone.as_secs_f64() / 1e9, "GB/s");
        let mut second = Worker::on_device(Arc::clone(model), memory)?;
        second.submit(request, ask(1));
        let began = Instant::now();
        let (came, parcels) = second.carry(&asked(Way::Load), parcels);
        Table::figure("a load of the same", bytes as f64 / began.elapsed().as_secs_f64() / 1e9, "GB/s");
        table.check("a load of 2,048 tokens: objects missing", f64::from(1 - came), 0.0, "");
        let mut warm = Vec::new();
        second.run_seen(&chunk(request, LENGTH, 8), |_, scores| warm = scores.to_vec());
        table.check("scores behind what was loaded, from a cold run", apart(&[warm], &[cold]), SAME.into(), "");
        let (_, again) = second.carry(&asked(Way::Store), vec![(object, None)]);
        let same = again[0].1 == parcels[0].1;
        table.check("bytes that came and left again: other than before", f64::from(u8::from(!same)), 0.0, "");
        overlap(table, &mut first, beside, &asked(Way::Store), (object, None))
    }

    /// Passes beside copies take what passes take.
    fn overlap(table: &mut Table, worker: &mut Worker, beside: RequestId, asked: &Move, parcel: Parcel) -> Result<()> {
        let pass = |worker: &mut Worker, number: u32| {
            let new = Tokens(32);
            let began = Instant::now();
            worker.run(&Work { chunks: vec![(beside, Tokens(32 * number), new)], decoding: Vec::new() });
            began.elapsed()
        };
        let mut alone: Vec<Duration> = (0..20).map(|number| pass(worker, number)).collect();
        let mut together = Vec::new();
        for number in 20..40 {
            let copying = worker.begin(asked.clone(), vec![parcel.clone()]).expect("it copies aside");
            let copies = std::thread::spawn(|| copying.wait());
            together.push(pass(worker, number));
            let copied = copies.join().expect("it copies");
            worker.end(copied);
        }
        alone.sort_unstable();
        together.sort_unstable();
        Table::figure("a pass of 32 tokens, median", alone[10].as_secs_f64() * 1e3, "ms");
        let ratio = together[10].as_secs_f64() / alone[10].as_secs_f64();
        table.check("the same while 2,048 tokens are copied", ratio, 1.5, "times");
        Ok(())
    }

    fn speed(name: &str, model: &TensorModel) -> Result<()> {
        let vocab = model.shape.vocab;
        for length in [512, 2048] {
            let tokens = prompt(length, vocab);
            let pool = pool(model, length / BLOCK)?;
            let pages: Vec<PageId> = (0..(length / BLOCK) as u32).map(PageId).collect();
            let mut best = f64::INFINITY;
            for _ in 0..4 {
                let began = Instant::now();
                let part = Part { tokens: &tokens, start: 0, pages: &pages, want: Want::Last };
                model.forward_while(&pool, &[part], |_| true, |_, _, _| ())?;
                best = best.min(began.elapsed().as_secs_f64());
            }
            Table::figure(&format!("{name}: prefill of {length}"), length as f64 / best, "tokens/s");
        }
        for batch in [1usize, 8, 32] {
            let pool = pool(model, batch * 16)?;
            let pages: Vec<Vec<PageId>> =
                (0..batch).map(|at| (0..16).map(|page| PageId((at * 16 + page) as u32)).collect()).collect();
            let tokens = prompt(1, vocab);
            let mut best = f64::INFINITY;
            for step in 0..20 {
                let parts: Vec<Part<'_>> = pages
                    .iter()
                    .map(|pages| Part { tokens: &tokens, start: 128 + step, pages, want: Want::Last })
                    .collect();
                let began = Instant::now();
                model.forward_while(&pool, &parts, |_| true, |_, _, _| ())?;
                best = best.min(began.elapsed().as_secs_f64());
            }
            Table::figure(&format!("{name}: decode of {batch} together behind 128"), batch as f64 / best, "tokens/s");
        }
        Ok(())
    }
}
