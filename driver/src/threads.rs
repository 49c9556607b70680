//! Runs on all cores, told in order.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// As many threads as there are cores.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What `run` makes of each of `items`, in their order, on up to `threads` threads. `tell` sees each result as soon as those
/// before it are there. After the first error nothing new begins, and of several errors the first in order is returned.
pub(crate) fn in_order<T: Sync, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    run: impl Fn(&T) -> Result<R, E> + Sync,
    mut tell: impl FnMut(&R),
) -> Result<Vec<R>, E> {
    if threads == 1 || items.len() <= 1 {
        // A second thread would have a heap of its own, and would fill it page by page.
        let mut done = Vec::with_capacity(items.len());
        for item in items {
            let result = run(item)?;
            tell(&result);
            done.push(result);
        }
        return Ok(done);
    }
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let work = |sender: mpsc::Sender<(usize, Result<R, E>)>| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = run(item);
            if result.is_err() {
                next.fetch_max(items.len(), Ordering::Relaxed);
            }
            // Whoever collects lives as long as this.
            let _ = sender.send((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        drop(sender);
        let (mut early, mut done) = (BTreeMap::new(), Vec::with_capacity(items.len()));
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&done.len()) {
                let result = result?;
                tell(&result);
                done.push(result);
            }
        }
        // One that failed stops those behind it, so none of them is missing but for that.
        early.into_values().find_map(Result::err).map_or(Ok(done), Err)
    })
}
