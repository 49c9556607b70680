//! What came of an operation, or that nothing came of it in time.

use super::{Expected, Load, Model, Question, tokens_of};
use kvcache::{Contact, Done, Failed, LoadEnd, OpId, Time, Tokens, Woken};

impl Model {
    pub(in super::super) fn op_done(&mut self, op: OpId, outcome: Result<Done, Failed>, now: Time) -> Option<Woken> {
        if let Some(Question { request, from, at, .. }) = self.probes.remove(&op.0) {
            self.heard(outcome, at, now);
            let upto = if let Ok(Done::Probed(upto)) = outcome { Some(upto) } else { None };
            if upto.is_none_or(|upto| upto.0 as usize <= from) {
                self.judge.learnt_nothing(now.since(at));
            }
            return Some(Woken::Answered { request, op, upto });
        }
        if let Some(started) = self.loads.get(&op.0).and_then(|load| load.started) {
            return self.load_done(op, outcome, started, now);
        }
        let store = self.stores.get_mut(&op.0)?;
        let first = !store.copied;
        // Up to its copy it was not on its way to the pool.
        store.at = if first { now } else { store.at };
        let (write, pool, at) = (store.write.take(), store.pool, store.at);
        store.copied = true;
        self.give_back(write, if outcome.is_ok() { usize::MAX } else { 0 });
        if !(pool && outcome == Ok(Done::Copied)) {
            self.stores.remove(&op.0);
            if pool {
                self.heard(outcome, at, now);
            }
        }
        first.then_some(Woken::Copied)
    }

    fn load_done(&mut self, op: OpId, outcome: Result<Done, Failed>, started: Time, now: Time) -> Option<Woken> {
        let load = self.loads.remove(&op.0)?;
        let (came, in_host) = match outcome {
            Ok(Done::Loaded { device, host, .. }) => (device.0 as usize, device.max(host).0 as usize),
            _ => (0, 0),
        };
        let came = came.clamp(load.from, load.to);
        if load.to > load.host {
            self.heard(outcome, started, now);
        }
        if outcome.is_ok() {
            self.judge.saw(load.moved(), came == load.to, now.since(started));
        }
        let end = load.end(op, came);
        self.give_back(load.write, in_host);
        self.give_back(load.pin, 0);
        if !load.given_up {
            self.count(&end, load.promised.cached);
        }
        if let Some(held) = load.left {
            self.device.release(&held);
            return Some(Woken::Room(end));
        }
        (!load.given_up).then_some(Woken::Loaded(end))
    }

    fn count(&mut self, end: &LoadEnd, promised: u32) {
        self.counts.from_host += u64::from(end.from_host.0);
        self.counts.from_pool += u64::from(end.from_pool.0);
        self.counts.fell_short += u64::from(promised - end.got.0);
        self.counts.short_loads += u64::from(!end.whole);
    }

    /// A silence says something only where it was long.
    fn heard(&mut self, outcome: Result<Done, Failed>, since: Time, now: Time) {
        let breaker = self.breaker.as_mut().expect("only a pool is heard of");
        let silence = self.tiers.expect("a pool is a tier").breaker.silence;
        match contact(outcome) {
            Contact::Unasked => {}
            Contact::Silent if now < since + silence => {}
            Contact::Silent | Contact::Refused => breaker.failed(now),
            Contact::Answered => breaker.succeeded(now),
        }
    }

    /// The loads that are given up now.
    pub(in super::super) fn timeout(&mut self, now: Time) -> Vec<LoadEnd> {
        let mut ends = Vec::new();
        for (id, load) in &mut self.loads {
            if !load.given_up && load.left.is_none() && load.deadline.is_some_and(|at| at <= now) {
                load.given_up = true;
                ends.push((load.end(OpId(*id), load.from), load.promised.cached));
            }
        }
        ends.iter().for_each(|(end, promised)| self.count(end, *promised));
        ends.into_iter().map(|(end, _)| end).collect()
    }
}

/// What an outcome says of the pool.
pub(in super::super) fn contact(outcome: Result<Done, Failed>) -> Contact {
    match outcome {
        Ok(Done::Loaded { pool, .. }) => pool,
        Ok(Done::Probed(_) | Done::Copied | Done::Stored) => Contact::Answered,
        Err(Failed::Broken) => Contact::Unasked,
        Err(Failed::Unreachable) => Contact::Refused,
        Err(Failed::TimedOut) => Contact::Silent,
    }
}

impl Load {
    fn end(&self, op: OpId, came: usize) -> LoadEnd {
        let Expected { device, cached, .. } = self.promised;
        let got_by = |count: usize| tokens_of(&self.objects, count).clamp(device, cached);
        let (from_host, got) = (got_by(came.min(self.host)), got_by(came));
        LoadEnd {
            request: self.request,
            op,
            got: Tokens(got),
            whole: came == self.to,
            from_host: Tokens(from_host - device),
            from_pool: Tokens(got - from_host),
        }
    }
}
