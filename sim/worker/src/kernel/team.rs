//! The threads of one worker, and memory that they write side by side.
//!
//! What is computed does not depend on how many there are: work is split by rows, columns or heads, never along a sum.
//! Who waits for the others looks a few thousand times, some twenty microseconds, since parts of a pass last that long,
//! and then sleeps. A team of one has no other thread and never waits.

#![allow(unsafe_code)]

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

/// Looks before a wait becomes a sleep.
const LOOKS: u32 = 4000;

/// Values under which work is not worth a second thread.
const WORTH: usize = 16 << 10;

type Job = *const (dyn Fn(usize) + Sync);

/// Threads that work on one pass together.
#[derive(Debug)]
pub struct Team {
    others: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Not `Sync`: one thread gives out work.
    one: PhantomData<Cell<()>>,
}

struct Shared {
    /// How many jobs have been given out.
    given: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    /// Others that have not ended the job yet.
    left: AtomicUsize,
    leader: UnsafeCell<Option<Thread>>,
    panicked: AtomicBool,
    over: AtomicBool,
}

// SAFETY: `job` and `leader` are written by the leader alone, while `left` is 0, and read by others between the increase
// of `given` (release, acquire) and their decrease of `left`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointers inside are only followed while the leader waits in `run`.
unsafe impl Send for Shared {}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Team {
    /// A team of `threads`, at least 1, of which the caller is one.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            given: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            left: AtomicUsize::new(0),
            leader: UnsafeCell::new(None),
            panicked: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let mut team = Self { others: Vec::new(), shared, one: PhantomData };
        for rank in 1..threads {
            let shared = Arc::clone(&team.shared);
            let named = std::thread::Builder::new().name(format!("compute-{rank}"));
            team.others.push(named.spawn(move || shared.serve(rank))?);
        }
        Ok(team)
    }

    /// Threads, the caller included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.others.len() + 1
    }

    /// Runs `job(rank)` once on every thread, and waits for all.
    fn together(&self, job: &(dyn Fn(usize) + Sync)) {
        if self.others.is_empty() {
            return job(0);
        }
        let shared = &*self.shared;
        let guard = Guard { shared };
        // SAFETY: nobody else reads or writes these while `left` is 0, and it is: this method waits for that, and a team
        // is not `Sync`, so it has one caller, and no job can call it. The job outlives all use: `guard` waits for that.
        unsafe {
            let job: Job = core::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job);
            *shared.job.get() = Some(job);
            *shared.leader.get() = Some(std::thread::current());
        }
        shared.left.store(self.others.len(), Ordering::Relaxed);
        shared.given.fetch_add(1, Ordering::Release);
        for other in &self.others {
            other.thread().unpark();
        }
        job(0);
        drop(guard);
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a part of the team panicked");
    }

    /// Deals the numbers below `n` to the threads, in order, about as many to each.
    pub fn split(&self, n: usize, part: impl Fn(Range<usize>) + Sync) {
        let threads = self.threads();
        if threads == 1 || n < 2 {
            return part(0..n);
        }
        self.together(&|rank| part(n * rank / threads..n * (rank + 1) / threads));
    }

    /// The same where it is worth it: `n` rows of `each` values.
    pub fn split_large(&self, n: usize, each: usize, part: impl Fn(Range<usize>) + Sync) {
        if n * each < WORTH { part(0..n) } else { self.split(n, part) }
    }

    /// Deals the numbers below `n` one by one to whoever is free: `part(rank, number)`.
    pub fn deal(&self, n: usize, part: impl Fn(usize, usize) + Sync) {
        if self.threads() == 1 || n < 2 {
            (0..n).for_each(|at| part(0, at));
            return;
        }
        let next = AtomicUsize::new(0);
        self.together(&|rank| {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= n {
                    return;
                }
                part(rank, at);
            }
        });
    }
}

/// Waits for the others, whatever becomes of the leader's own part.
struct Guard<'a> {
    shared: &'a Shared,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        wait(|| self.shared.left.load(Ordering::Acquire) == 0);
    }
}

impl Shared {
    fn serve(&self, rank: usize) {
        let mut seen = 0;
        loop {
            wait(|| self.given.load(Ordering::Acquire) != seen);
            seen = seen.wrapping_add(1);
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            // SAFETY: the job was written before `given` rose and lives until `left` falls; so does the leader.
            let (job, leader) = unsafe { ((*self.job.get()).map(|job| &*job), (*self.leader.get()).clone()) };
            let job = job.expect("a job was given");
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(rank))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.left.fetch_sub(1, Ordering::Release);
            if let Some(leader) = leader {
                leader.unpark();
            }
        }
    }
}

fn wait(ready: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if ready() {
            return;
        }
        core::hint::spin_loop();
    }
    while !ready() {
        std::thread::park();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.shared.given.fetch_add(1, Ordering::Release);
        for other in self.others.drain(..) {
            other.thread().unpark();
            // A part that panicked was told of already.
            let _ = other.join();
        }
    }
}

/// A slice whose parts are written by several threads. Methods hand out parts; who calls sees to it that no two threads
/// take the same one, and the kernels of this module, which alone can, do so by splitting rows or columns.
pub(super) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are plain memory, and no two threads take the same one.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(super) fn new(all: &'a mut [T]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len(), life: PhantomData }
    }

    /// `len` elements from `at` on, that nobody else takes while they are in use.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) fn span(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at <= self.len && len <= self.len - at, "a part of the whole");
        // SAFETY: inside the slice that `new` was given, for its lifetime; see the type for exclusiveness.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

impl Disjoint<'_, f32> {
    /// Eight elements from `at` on.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) fn eight(&self, at: usize) -> &mut [f32; 8] {
        assert!(at + 8 <= self.len, "a part of the whole");
        // SAFETY: as in `span`.
        unsafe { &mut *self.start.add(at).cast::<[f32; 8]>() }
    }
}
