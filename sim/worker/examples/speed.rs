//! Speed of a model on this machine: `speed MODEL.gguf|tiny [THREADS] [what,...]`.

use worker::kernel::Level;
use worker::model::{Compute, Model, Part, Want, read_gguf, tiny};
use worker::pages::{PageId, PageShape, Pages};

/// Time that all threads of this process have computed: says how fast it is on a machine that others use too.
struct Instant(std::time::Duration);

impl Instant {
    fn now() -> Self {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
        let nanos = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0u64)
        };
        Self(std::time::Duration::from_nanos(tasks.flatten().map(nanos).sum()))
    }
    fn elapsed(&self) -> std::time::Duration {
        Self::now().0 - self.0
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a model");
    let threads = arguments.next().map_or(1, |n| n.parse().expect("a number of threads"));
    let what = arguments.next().unwrap_or_else(|| "512,2048,d128,d512,d2048,b8".into());
    let start = Instant::now();
    let model = if path == "tiny" { tiny(1) } else { read_gguf(path.as_ref()).expect("a model").0 };
    println!(
        "{:?} loaded in {:.2} s, {:.1} MB, a token reads {:.1} MB",
        model.identity,
        start.elapsed().as_secs_f64(),
        model.bytes() as f64 / 1e6,
        model.read_bytes() as f64 / 1e6
    );
    let mut bench = Bench::new(&model, threads);
    println!("read bandwidth {:.1} GB/s", bandwidth(threads));
    for what in what.split(',') {
        if let Some(context) = what.strip_prefix('d') {
            bench.decode(context.parse().expect("a context"), 1);
        } else if let Some(n) = what.strip_prefix('b') {
            bench.decode(128, n.parse().expect("a batch"));
        } else {
            bench.prefill(what.parse().expect("a length"));
        }
    }
}

/// The best of some sweeps over memory that no cache holds, by so many threads: of the wall clock, so it means something on
/// an idle machine only.
fn bandwidth(threads: usize) -> f64 {
    let block = vec![1u64; 32 << 20];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let parts: Vec<_> = block
                .chunks(block.len() / threads)
                .map(|part| {
                    scope.spawn(move || {
                        part.as_chunks::<16>()
                            .0
                            .iter()
                            .fold([0u64; 16], |sum, x| core::array::from_fn(|i| sum[i] ^ x[i]))
                            .iter()
                            .fold(0, |a, b| a ^ b)
                    })
                })
                .collect();
            parts.into_iter().map(|part| part.join().expect("a sum")).sum()
        });
        std::hint::black_box(sum);
        best = best.min(start.elapsed().as_secs_f64());
    }
    (block.len() * 8) as f64 / best / 1e9
}

struct Bench<'a> {
    model: &'a Model,
    compute: Compute,
    pages: Pages,
}

fn prompt(n: usize, vocab: usize, seed: u32) -> Vec<u32> {
    let mut s = seed;
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(1664525).wrapping_add(1013904223);
            (20 + (s >> 8) % 40000) % vocab as u32
        })
        .collect()
}

impl<'a> Bench<'a> {
    fn new(model: &'a Model, threads: usize) -> Self {
        let shape =
            PageShape { layers: model.shape.layers, heads: model.shape.kv_heads, dim: model.shape.dim, tokens: 16 };
        Self { model, compute: Compute::new(Level::detect(), threads).expect("threads"), pages: Pages::new(shape, 256) }
    }

    fn prefill(&mut self, n: usize) {
        let tokens = prompt(n, self.model.shape.vocab, 2);
        let table: Vec<PageId> = (0..256).map(PageId).collect();
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            let part = Part { tokens: &tokens, start: 0, pages: &table, want: Want::Last };
            self.model.forward(&mut self.compute, &mut self.pages, &[part], |_, _, scores| {
                std::hint::black_box(scores);
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("prefill {n}: {best:.3} s, {:.0} tok/s", n as f64 / best);
    }

    fn decode(&mut self, context: usize, batch: usize) {
        let each = (context + 64).div_ceil(16);
        let tables: Vec<Vec<PageId>> =
            (0..batch).map(|b| (0..each).map(|p| PageId((b * each + p) as u32)).collect()).collect();
        let tokens = prompt(context, self.model.shape.vocab, 2);
        for table in &tables {
            let part = Part { tokens: &tokens, start: 0, pages: table, want: Want::Nothing };
            self.model.forward(&mut self.compute, &mut self.pages, &[part], |_, _, _| ());
        }
        let mut times = Vec::new();
        for step in 0..48 {
            let start = Instant::now();
            let parts: Vec<_> = tables
                .iter()
                .map(|table| Part {
                    tokens: &tokens[step..=step],
                    start: context + step,
                    pages: table,
                    want: Want::Last,
                })
                .collect();
            self.model.forward(&mut self.compute, &mut self.pages, &parts, |_, _, scores| {
                std::hint::black_box(scores);
            });
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let kv = batch * self.pages.shape().bytes() / 16 * (context + 24);
        let bytes = (self.model.read_bytes() + kv) as f64;
        println!(
            "decode {batch} at {context}: median {:.2} ms (best {:.2}), {:.0} tok/s, {:.1} GB/s",
            median * 1e3,
            times[0] * 1e3,
            batch as f64 / median,
            bytes / median / 1e9
        );
    }
}
