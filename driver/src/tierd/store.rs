//! The store behind a lock and on a clock, and what of it requests hold: each gives back what it holds when it goes.

use crate::emulate::clock::{Clock, TimeScale};
use kvcache::{
    Asked, Fragment, Grant, GrantId, NodeConfig, NodeStore, ObjectName, PutRefusal, Span, Time, Unknown, WaitId, Write,
    WriteId,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

#[derive(Debug)]
pub(super) struct Store {
    inner: Mutex<Inner>,
    clock: Clock,
    earlier: Notify, // something is due earlier than it was
}

#[derive(Debug)]
struct Inner {
    node: NodeStore,
    waiting: BTreeMap<WaitId, oneshot::Sender<Option<Grant>>>,
}

/// What came of the wish for a lease.
#[derive(Debug)]
pub(super) enum Wish {
    Granted(Leased),
    Waiting(Waiting),
    Absent,
    TooMany,
}

impl Store {
    pub(super) fn new(config: NodeConfig) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner { node: NodeStore::new(config), waiting: BTreeMap::new() }),
            clock: Clock::starting_at(Time::ZERO, TimeScale::REAL),
            earlier: Notify::new(),
        })
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks the store something, and tells who waited what became of it.
    fn ask<T>(&self, question: impl FnOnce(&mut Inner, Time) -> T) -> T {
        let mut inner = self.inner.lock().expect("a store that panicked answers nobody");
        // Read under the lock, so that it never goes back from one call to the next.
        let now = self.clock.now();
        let due = inner.node.deadline();
        let answer = question(&mut inner, now);
        while let Some((id, grant)) = inner.node.poll_answer() {
            let sender = inner.waiting.remove(&id);
            let unheard = sender.map_or(grant.clone(), |sender| sender.send(grant).err().flatten());
            if let Some(grant) = unheard {
                // It was given this moment.
                let _ = inner.node.release(grant.id, now);
            }
        }
        let is_earlier = inner.node.deadline().is_some_and(|new| due.is_none_or(|due| new < due));
        drop(inner);
        if is_earlier {
            self.earlier.notify_one();
        }
        answer
    }

    /// Reads something of it.
    pub(super) fn read<T>(&self, question: impl FnOnce(&NodeStore) -> T) -> T {
        self.ask(|inner, _| question(&inner.node))
    }

    pub(super) fn lease(self: &Arc<Self>, name: ObjectName, ttl: Span, until: Time) -> Wish {
        self.ask(|inner, now| match inner.node.lease(name, ttl, until, now) {
            Asked::Granted(grant) => Wish::Granted(Leased { store: self.clone(), grant, kept: false }),
            Asked::Waiting(id) => {
                let (sender, answer) = oneshot::channel();
                inner.waiting.insert(id, sender);
                Wish::Waiting(Waiting { store: self.clone(), id, answer, over: false })
            }
            Asked::Absent => Wish::Absent,
            Asked::TooMany => Wish::TooMany,
        })
    }

    pub(super) fn release(&self, id: GrantId) -> Result<(), Unknown> {
        self.ask(|inner, now| inner.node.release(id, now))
    }

    pub(super) fn begin_put(self: &Arc<Self>, name: ObjectName, len: u64) -> Result<Writing, PutRefusal> {
        let begun = self.ask(|inner, now| inner.node.begin_put(name, len, now));
        begun.map(|Write { id, fragments }| Writing { store: self.clone(), id, fragments, over: false })
    }

    pub(super) fn condemn(&self, name: &ObjectName) -> bool {
        self.ask(|inner, now| inner.node.condemn(name, now))
    }

    /// Ends what is due, when it is.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.ask(|inner, now| {
                inner.node.timeout(now);
                inner.node.deadline()
            });
            let earlier = self.earlier.notified();
            match due {
                Some(due) => tokio::select! {
                    () = sleep_until(self.clock.wall(due)) => {}
                    () = earlier => {}
                },
                None => earlier.await,
            }
        }
    }
}

/// A lease. Dropped, it is released, unless it was handed on.
#[derive(Debug)]
pub(super) struct Leased {
    store: Arc<Store>,
    grant: Grant,
    kept: bool,
}

impl Leased {
    pub(super) const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Somebody else releases it, or its time is over one day.
    pub(super) fn hand_on(&mut self) {
        self.kept = true;
    }

    /// Whether what was read until now is what was put.
    pub(super) fn holds(&self) -> bool {
        self.store.ask(|inner, now| inner.node.holds(self.grant.id, now))
    }

    pub(super) fn condemn(&self, name: &ObjectName) {
        self.store.condemn(name);
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if !self.kept {
            // Where its time is over, there is nothing to do.
            let _ = self.store.release(self.grant.id);
        }
    }
}

/// A wait for a lease. Dropped, it is cancelled; a lease that was given meanwhile is released.
#[derive(Debug)]
pub(super) struct Waiting {
    store: Arc<Store>,
    id: WaitId,
    answer: oneshot::Receiver<Option<Grant>>,
    over: bool,
}

impl Waiting {
    /// The answer, when there is one. Can be asked again where it was not waited for to the end.
    pub(super) async fn answer(&mut self) -> Option<Leased> {
        let grant = (&mut self.answer).await.ok().flatten();
        self.over = true;
        grant.map(|grant| Leased { store: self.store.clone(), grant, kept: false })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let id = self.id;
        let cancelled = self.store.ask(|inner, now| {
            inner.waiting.remove(&id);
            inner.node.cancel(id, now)
        });
        if cancelled.is_err()
            && let Ok(Some(grant)) = self.answer.try_recv()
        {
            let _ = self.store.release(grant.id);
        }
    }
}

/// A put under way. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Writing {
    store: Arc<Store>,
    id: WriteId,
    fragments: Vec<Fragment>,
    over: bool,
}

impl Writing {
    pub(super) fn fragments(&self) -> Vec<Fragment> {
        self.fragments.clone()
    }

    /// All bytes are written.
    ///
    /// # Errors
    /// Where that took too long.
    pub(super) fn finish(mut self, seal: u32) -> Result<(), Unknown> {
        self.over = true;
        let id = self.id;
        self.store.ask(|inner, now| inner.node.finish_put(id, seal, now))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.over {
            let id = self.id;
            // Too late or not, its blocks are given back.
            let _ = self.store.ask(|inner, now| inner.node.abort_put(id, now));
        }
    }
}
