//! What can become of an operation, and of who waits for it.

use super::model::contact;
use super::worlds::{Request, Waits, World};
use kvcache::{Blocks, Contact, Done, Failed, Inquiry, LoadEnd, Op, OpId, Span, Task, Tokens, Woken};
use std::rc::Rc;

impl World {
    /// An operation ends: one that is under way, or once more, or one that nobody knows.
    pub(super) fn answer(&mut self) -> &'static str {
        let chance = self.chance.below(100);
        let again = chance < 8 && !self.past.is_empty();
        self.seen.when("a second outcome", again);
        if again {
            let op = self.past[self.chance.below(self.past.len() as u32) as usize];
            self.end_in_vain(op);
            return "answer twice";
        }
        if chance < 11 {
            let planned = self.requests.iter().find_map(|request| match request.holds.as_ref()?.waits {
                Waits::ToStart(op) => Some(op),
                _ => None,
            });
            self.seen.when("outcome of a load not started", planned.is_some());
            self.end_in_vain(planned.unwrap_or(OpId(u64::MAX)));
            return "answer nobody";
        }
        if self.pending.is_empty() {
            return "answer nothing";
        }
        let place = self.chance.below(self.pending.len() as u32) as usize;
        let Op { id, task, .. } = self.pending[place];
        let outcome = self.outcome(task);
        let (began, was_closed) = (self.model.began(id), self.model.is_closed());
        let woken = self.cache.op_done(id, outcome, self.now);
        assert_eq!(woken, self.model.op_done(id, outcome, self.now), "what {outcome:?} of {task:?} means");
        let goes_on = matches!(task, Task::Store { pool: true, .. }) && outcome == Ok(Done::Copied);
        if !goes_on {
            self.pending.swap_remove(place);
            self.past.push(id);
        }
        self.saw_outcome(task, outcome, woken);
        if !goes_on {
            let lasted = self.now.since(began.expect("it was under way"));
            self.saw_contact(task, contact(outcome), lasted, was_closed);
        }
        match woken {
            Some(Woken::Answered { op, upto, .. }) => self.take_answer(op, upto),
            Some(Woken::Loaded(end)) => self.loaded(end),
            Some(Woken::Copied | Woken::Room(_)) | None => {}
        }
        "answer"
    }

    fn end_in_vain(&mut self, op: OpId) {
        let (device, host) = (Blocks(9), Blocks(9));
        let pool = self.contact();
        let outcome = [
            Ok(Done::Loaded { device, host, pool }),
            Ok(Done::Copied),
            Ok(Done::Stored),
            Err(Failed::Unreachable),
            Err(Failed::TimedOut),
        ][self.chance.below(5) as usize];
        assert_eq!(self.cache.op_done(op, outcome, self.now), None, "what nobody waits for");
        assert_eq!(self.model.op_done(op, outcome, self.now), None);
    }

    fn outcome(&mut self, task: Task) -> Result<Done, Failed> {
        if self.chance.percent(self.setting.outage) {
            return Err(if self.chance.percent(50) { Failed::Unreachable } else { Failed::TimedOut });
        }
        match (self.chance.below(20), task) {
            (0, _) => Err(Failed::Broken),
            (1, _) => {
                let (device, host, pool) = (Blocks(2), Blocks(3), self.contact());
                let all = [Done::Probed(Blocks(2)), Done::Loaded { device, host, pool }, Done::Stored, Done::Copied];
                Ok(all[self.chance.below(4) as usize])
            }
            (2..7, Task::Probe { from, to }) => Ok(Done::Probed(self.somewhere(from, to))),
            (_, Task::Probe { to, .. }) => Ok(Done::Probed(to)),
            (2..12, Task::Load { from, to, .. }) => {
                // Mostly L1 has more than the device; a shell that says less means no less.
                let (one, other) = (self.somewhere(from, to), self.somewhere(from, to));
                let (device, host) = match self.chance.below(10) {
                    0..2 => (one, other),
                    2..6 => (one, to),
                    _ => (one.min(other), one.max(other)),
                };
                Ok(Done::Loaded { device, host, pool: self.contact() })
            }
            (_, Task::Load { to, .. }) => Ok(Done::Loaded { device: to, host: to, pool: self.contact() }),
            (2..5, Task::Store { .. }) => Ok(Done::Stored),
            (_, Task::Store { .. }) => Ok(Done::Copied),
        }
    }

    /// An end there, or a little outside.
    fn somewhere(&mut self, from: Blocks, to: Blocks) -> Blocks {
        Blocks(self.chance.within(from.0.saturating_sub(1), to.0 + 1))
    }

    /// What is heard of the pool, whatever came.
    fn contact(&mut self) -> Contact {
        let outage = self.chance.percent(2 * self.setting.outage);
        match self.chance.below(8) {
            0 => Contact::Unasked,
            1..3 if outage => Contact::Refused,
            3..8 if outage => Contact::Silent,
            _ => Contact::Answered,
        }
    }

    fn saw_outcome(&mut self, task: Task, outcome: Result<Done, Failed>, woken: Option<Woken>) {
        match task {
            Task::Load { .. } => {
                let end = if let Some(Woken::Loaded(end)) = woken { Some(end) } else { None };
                self.seen.when("load failed", outcome.is_err());
                self.seen.when("load whole", end.is_some_and(|end| end.whole));
                self.seen.when("load short", end.is_some_and(|end| !end.whole && outcome.is_ok()));
                self.seen.when("load for one who left", matches!(woken, Some(Woken::Room(_))));
                self.seen.when("load after its deadline", woken.is_none());
                if let Ok(Done::Loaded { device, host, .. }) = outcome {
                    self.saw_promotion(task, (device, host), woken);
                }
            }
            Task::Store { pool, .. } => {
                self.seen.when("copy ended", woken == Some(Woken::Copied));
                self.seen.when("store ended in the pool", pool && woken.is_none());
                self.seen.when("store failed", outcome.is_err());
            }
            Task::Probe { .. } => self.seen.when("question failed", outcome.is_err()),
        }
    }

    /// What L1 got of a load, against what the device got.
    fn saw_promotion(&mut self, task: Task, (device, host): (Blocks, Blocks), woken: Option<Woken>) {
        let Task::Load { host: pool_from, to, .. } = task else { return };
        if self.model.host.is_none() || pool_from == to {
            return;
        }
        let more = host.min(to) > device.max(pool_from);
        self.seen.when("more in L1 than on the device", more);
        self.seen.when("all in L1 and nothing of it on the device", more && host >= to && device <= pool_from);
        self.seen.when("less said of L1 than of the device", host < device.min(to) && device > pool_from);
        self.seen.when("promoted for one who left", more && matches!(woken, Some(Woken::Room(_))));
        self.seen.when("promoted after the deadline", more && woken.is_none());
    }

    /// What an operation heard of the pool, and what that meant.
    fn saw_contact(&mut self, task: Task, contact: Contact, lasted: Span, was_closed: bool) {
        let Some(tiers) = self.setting.tiers else { return };
        let (refused, silent) = (contact == Contact::Refused, contact == Contact::Silent);
        let (long, short) = (lasted >= tiers.breaker.silence, lasted < tiers.breaker.silence);
        let load = matches!(task, Task::Load { host, to, .. } if host < to);
        let store = matches!(task, Task::Store { pool: true, .. });
        let question = matches!(task, Task::Probe { .. });
        let alone = !(load || store || question);
        for (what, happened) in [
            ("without a pool, refused or silent", alone && (refused || silent)),
            ("load without the pool asked", load && contact == Contact::Unasked),
            ("load refused", load && refused),
            ("store refused", store && refused),
            ("question refused", question && refused),
            ("load of long silence", load && silent && long),
            ("store of long silence", store && silent && long),
            ("question of long silence", question && silent && long),
            ("load of short silence", load && silent && short),
            ("store of short silence", store && silent && short),
            ("question of short silence", question && silent && short),
        ] {
            self.seen.when(what, happened);
        }
        let opened = was_closed && !self.model.is_closed();
        self.seen.when("silence opened the breaker", opened && silent);
        self.seen.when("refusal opened the breaker", opened && refused);
        let both = load && matches!(task, Task::Load { from, host, .. } if from < host);
        self.seen.when("load refused behind L1's part", both && refused);
    }

    /// The answer of the pool finds its request, or does not; once, or twice.
    fn take_answer(&mut self, op: OpId, upto: Option<Blocks>) {
        let stray = OpId(op.0 + 1);
        for request in &mut self.requests {
            for op in [stray, op, op] {
                let mut after = request.expected;
                if let Inquiry::Asked { op: asked, from } = request.expected
                    && asked == op
                {
                    after = Inquiry::Known { from, upto: upto.unwrap_or(from) };
                }
                let is_stray = op == stray && after != request.expected;
                if is_stray || self.chance.percent(5) {
                    continue;
                }
                let waited = request.inquiry.answer(op, upto);
                assert_eq!(waited, after != request.expected, "whether it was the answer waited for");
                request.expected = after;
                self.seen.when("an answer came", waited);
            }
        }
    }

    /// A load ended, or was given up: mostly what came is told to the device, mostly the request goes on.
    fn loaded(&mut self, end: LoadEnd) {
        let waits_for_it =
            |request: &Request| request.holds.as_ref().is_some_and(|holds| holds.waits == Waits::ForLoad(end.op));
        let place = self.requests.iter().position(waits_for_it).expect("only who waits is woken");
        assert_eq!(self.requests[place].id, end.request, "whose load it was");
        let pieces = self.pieces(place, self.requests[place].total);
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let known = Rc::clone(&request.known);
        let ask = request.ask(&known);
        let holds = request.holds.as_mut().expect("it waits with its blocks");
        holds.waits = Waits::Nothing;
        if self.model.load(end.op).0.is_none() {
            holds.seat.load = None;
        }
        if self.chance.percent(90) {
            self.cache.commit_loaded(holds.hold, chain, end.got);
            self.model.commit_loaded(&mut holds.seat, ask, end.got.0);
            holds.computed = holds.computed.max(end.got.0);
        }
        let goes = !end.whole && self.chance.percent(50);
        self.seen.when("closed after a short load", goes);
        if goes {
            let holds = request.holds.take().expect("it waits with its blocks");
            self.seen.when("let go of a load given up", holds.seat.load.is_some());
            self.cache.release(holds.hold, Tokens(holds.reserved));
            self.model.release(holds.seat);
            (request.inquiry, request.expected) = (Inquiry::Closed, Inquiry::Closed);
        }
    }

    pub(super) fn give_up_late_loads(&mut self) {
        let mut ends = Vec::new();
        while let Some(end) = self.cache.timeout(self.now) {
            ends.push(end);
        }
        ends.sort_by_key(|end| end.op);
        assert_eq!(ends, self.model.timeout(self.now), "loads given up");
        assert!(self.cache.deadline().is_none_or(|at| at > self.now), "after that, none is late");
        self.seen.saw("load given up", ends.len() as u64);
        ends.into_iter().for_each(|end| self.loaded(end));
    }
}
