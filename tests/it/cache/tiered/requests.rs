//! What can befall a request, and what can become of an operation.

use super::super::model::Held;
use super::model::tokens_of;
use super::worlds::{Holds, Request, Waits, World};
use kvcache::{
    Blocks, ChainBuilder, Choice, Done, Failed, Inquiry, LoadEnd, Looked, NoRoom, Offer, Op, OpId, Piece, RequestId,
    Task, Tokens, Woken,
};
use std::rc::Rc;

impl World {
    fn pick(&mut self, whom: impl Fn(&Request) -> bool) -> Option<usize> {
        let places: Vec<usize> = (0..self.requests.len()).filter(|place| whom(&self.requests[*place])).collect();
        (!places.is_empty()).then(|| places[self.chance.below(places.len() as u32) as usize])
    }

    /// The pieces of a request as far as the cache is shown them.
    fn pieces(&self, place: usize, upto: u32) -> Vec<Piece> {
        let Request { known, grows, .. } = &self.requests[place];
        if *grows { known.prompt.pieces_upto(upto) } else { known.prompt.pieces.clone() }
    }

    /// The youngest request has its question asked early.
    pub(super) fn ask_ahead(&mut self) {
        let place = self.requests.len() - 1;
        let pieces = self.pieces(place, self.requests[place].total);
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let (prompt, total) = (Tokens(request.known.prompt.asked), Tokens(request.total));
        self.cache.ask_ahead(request.id, chain, prompt, total, &mut request.inquiry, self.now);
        // Who cannot go on without the answer asks when its turn comes.
        if self.cache.tiers().is_some_and(|tiers| tiers.pool && tiers.choice != Choice::Always) {
            let known = Rc::clone(&request.known);
            self.model.look_up(request.ask(&known), &mut request.expected, self.now);
            self.seen.when("asked ahead", matches!(request.inquiry, Inquiry::Asked { .. }));
        }
    }

    /// Somebody who waits is looked at, and begins if that can be.
    pub(super) fn look(&mut self) -> &'static str {
        let Some(place) = self.pick(|request| request.holds.is_none()) else { return "look for nobody" };
        let pieces = self.pieces(place, self.requests[place].total);
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let known = Rc::clone(&request.known);
        let (prompt, total) = (Tokens(known.prompt.asked), Tokens(request.total));
        let looked = self.cache.look_up(request.id, chain, prompt, total, &mut request.inquiry, self.now);
        let before = self.model.counts.shared_loads;
        let ask = request.ask(&known);
        let expected = self.model.look_up(ask, &mut request.expected, self.now);
        self.seen.saw("waited for another's load", self.model.counts.shared_loads - before);
        let (offer, expected) = match (looked, expected) {
            (Looked::Ready(offer), Some(expected)) => (offer, expected),
            (Looked::Waiting, None) => return "look and wait",
            (looked, expected) => panic!("{looked:?} instead of {expected:?}"),
        };
        let loads = expected.to > expected.from;
        let found = (offer.device().0, offer.cached().0, offer.loads());
        assert_eq!(found, (expected.device, expected.cached, loads), "device tokens, cached tokens, whether it loads");
        if self.chance.percent(10) {
            return "look";
        }
        let upto = match self.chance.below(3) {
            0 => self.chance.within(offer.cached().0, known.prompt.tokens),
            1 => offer.cached().0,
            _ => request.total.max(offer.cached().0),
        };
        let needed = upto.div_ceil(self.setting.cache.block.0);
        let (needed, available) = self.model.device.wants(&known.prompt.names, expected.found, needed);
        assert_eq!(self.cache.has_room(&offer, Tokens(upto)), needed <= available, "room for a new request");
        match self.cache.begin(request.id, chain, &offer, Tokens(upto), self.now) {
            Err(refused) => {
                assert!(needed > available, "refused in spite of room");
                assert_eq!(refused, NoRoom { needed: Blocks(needed), available: Blocks(available) });
                self.seen.saw("refused", 1);
                return "begin in vain";
            }
            Ok(admission) => {
                assert!(needed <= available, "begun without room");
                let seat = self.model.begin(ask, expected, upto);
                assert_eq!(admission.load, seat.load.map(OpId), "the load of an admission");
                let waits = admission.load.map_or(Waits::Nothing, Waits::ToStart);
                let (hold, computed) = (admission.hold, expected.device);
                request.holds = Some(Holds { hold, seat, reserved: upto, computed, waits });
            }
        }
        let prefix = self.model.host.as_ref().map_or(0, |host| host.find(ask.objects, 0, expected.from));
        self.seen.when("L1 without the head", self.model.host.is_some() && prefix < expected.from);
        let tail = loads && !tokens_of(ask.objects, expected.to).is_multiple_of(self.setting.chunk());
        self.seen.when("tail to load", tail);
        self.seen.saw("tokens declined", u64::from(expected.declined));
        self.saw_begun(&offer, total.0, (expected.from, expected.host, expected.to));
        "begin"
    }

    fn saw_begun(&mut self, offer: &Offer, total: u32, (from, host, to): (usize, usize, usize)) {
        self.seen.when("hit on the device", offer.device() > Tokens::ZERO);
        self.seen.when("to load from L1", from < host && host == to);
        self.seen.when("to load from L2", from == host && host < to);
        self.seen.when("to load from both", from < host && host < to);
        self.seen.when("one token left", offer.loads() && offer.cached().0 + 1 == total);
        self.seen.when(
            "load behind a partial chunk",
            offer.loads() && !offer.device().0.is_multiple_of(self.setting.chunk()),
        );
    }

    /// A request of no consequence takes all the blocks there are, and is gone.
    pub(super) fn flood(&mut self) -> &'static str {
        let mut builder = ChainBuilder::new();
        builder.push(999, Tokens(1));
        let chain = self.chain_of(builder.pieces());
        let (id, one, mut inquiry) = (RequestId(0), Tokens(1), Inquiry::Closed);
        let Looked::Ready(offer) = self.cache.look_up(id, chain, one, one, &mut inquiry, self.now) else {
            panic!("who asks nothing waits for nothing");
        };
        let all = self.cache.available().tokens(self.setting.cache.block);
        let admission = self.cache.begin(id, chain, &offer, all, self.now).expect("nobody else wants them");
        self.cache.release(admission.hold, all);
        let mut held = Held::default();
        self.model.device.take(&mut held, self.model.device.available());
        self.model.device.release(&held);
        "flood"
    }

    pub(super) fn reserve(&mut self) -> &'static str {
        let Some(place) = self.pick(|request| request.holds.is_some()) else { return "reserve nothing" };
        let request = &mut self.requests[place];
        let holds = request.holds.as_mut().expect("it was picked for that");
        let most = request.known.prompt.tokens.max(holds.reserved);
        let upto = self.chance.within(holds.reserved, most);
        let block = self.setting.cache.block.0;
        let needed = upto.div_ceil(block) - holds.reserved.div_ceil(block);
        let available = self.model.device.available();
        let result = self.cache.reserve(Blocks(needed));
        if needed > available {
            assert_eq!(result, Err(NoRoom { needed: Blocks(needed), available: Blocks(available) }));
        } else {
            assert_eq!(result, Ok(()));
            self.model.device.take(&mut holds.seat.held, needed);
            holds.reserved = upto;
        }
        "reserve"
    }

    /// Somebody's load starts, or a pass of it ends.
    pub(super) fn advance(&mut self) -> &'static str {
        let ready =
            |request: &Request| request.holds.as_ref().is_some_and(|holds| !matches!(holds.waits, Waits::ForLoad(_)));
        let Some(place) = self.pick(ready) else { return "advance nobody" };
        let holds = self.requests[place].holds.as_mut().expect("it was picked for that");
        if let Waits::ToStart(op) = holds.waits {
            self.cache.start_load(op, self.now);
            self.model.start(op.0, self.now);
            holds.waits = Waits::ForLoad(op);
            return "start a load";
        }
        let most = holds.reserved;
        let computed = if self.chance.percent(50) { most } else { self.chance.within(holds.computed, most) };
        if computed == 0 {
            return "compute nothing";
        }
        holds.computed = computed;
        let pieces = self.pieces(place, computed);
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let known = Rc::clone(&request.known);
        let ask = request.ask(&known);
        let holds = request.holds.as_mut().expect("it was picked for that");
        let prompt = Tokens(ask.prompt);
        self.cache.commit(request.id, holds.hold, chain, prompt, Tokens(computed), self.now);
        let copies = self.model.commit(&mut holds.seat, ask, computed, self.now);
        self.seen.saw("copies", copies);
        if let Some(Op { task: Task::Store { to, .. }, .. }) = self.model.ops.last() {
            let stored = tokens_of(ask.objects, to.0 as usize);
            self.seen.when("store of a reply", stored > ask.prompt);
            self.seen.when("store of a tail", !stored.is_multiple_of(self.setting.chunk()));
        }
        "commit"
    }

    /// Finished, preempted, or cancelled, whatever it waits for.
    pub(super) fn release(&mut self) -> &'static str {
        let Some(place) = self.pick(|_| true) else { return "release nothing" };
        let request = &mut self.requests[place];
        let Some(holds) = request.holds.take() else {
            self.seen.when("cancelled with a question open", matches!(request.inquiry, Inquiry::Asked { .. }));
            self.requests.swap_remove(place);
            return "cancel";
        };
        let is_late = |op: u64| self.model.load(OpId(op)).0.is_some();
        let given_up = holds.waits == Waits::Nothing && holds.seat.load.is_some_and(is_late);
        self.seen.when("let go of a planned load", matches!(holds.waits, Waits::ToStart(_)));
        self.seen.when("let go during a load", matches!(holds.waits, Waits::ForLoad(_)));
        self.seen.when("let go of a load given up", given_up);
        self.cache.release(holds.hold, Tokens(holds.reserved));
        self.model.release(holds.seat);
        if self.chance.percent(50) {
            self.requests.swap_remove(place);
            return "finish";
        }
        let asked = request.known.prompt.asked;
        request.total = request.total.max(self.chance.within(asked, holds.computed.max(asked)));
        let next = match self.chance.below(4) {
            0 => Inquiry::Closed,
            1 => Inquiry::New,
            _ => request.inquiry,
        };
        (request.inquiry, request.expected) = (next, next);
        self.seen.when("preempted with a reply begun", request.total > asked);
        "preempt"
    }

    /// An operation ends: one that is under way, or once more, or one that nobody knows.
    pub(super) fn answer(&mut self) -> &'static str {
        let chance = self.chance.below(100);
        if chance < 8 && !self.past.is_empty() {
            let op = self.past[self.chance.below(self.past.len() as u32) as usize];
            self.seen.saw("a second outcome", 1);
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
        let woken = self.cache.op_done(id, outcome, self.now);
        assert_eq!(woken, self.model.op_done(id, outcome, self.now), "what {outcome:?} of {task:?} means");
        let goes_on = matches!(task, Task::Store { pool: true, .. }) && outcome == Ok(Done::Copied);
        if !goes_on {
            self.pending.swap_remove(place);
            self.past.push(id);
        }
        self.saw_outcome(task, outcome, woken);
        match woken {
            Some(Woken::Answered { op, upto, .. }) => self.take_answer(op, upto),
            Some(Woken::Loaded(end)) => self.loaded(end),
            Some(Woken::Copied | Woken::Room) | None => {}
        }
        "answer"
    }

    fn end_in_vain(&mut self, op: OpId) {
        let outcome = [Ok(Done::Loaded(Blocks(9))), Ok(Done::Copied), Ok(Done::Stored), Err(Failed::Unreachable)]
            [self.chance.below(4) as usize];
        assert_eq!(self.cache.op_done(op, outcome, self.now), None, "what nobody waits for");
        assert_eq!(self.model.op_done(op, outcome, self.now), None);
    }

    fn outcome(&mut self, task: Task) -> Result<Done, Failed> {
        if self.chance.percent(self.setting.outage) {
            return Err(Failed::Unreachable);
        }
        match (self.chance.below(20), task) {
            (0, _) => Err(Failed::Broken),
            (1, _) => Ok([Done::Probed(Blocks(2)), Done::Loaded(Blocks(2)), Done::Stored, Done::Copied]
                [self.chance.below(4) as usize]),
            (2..7, Task::Probe { from, to } | Task::Load { from, to, .. }) => {
                // Somewhere, and a little outside.
                let upto = Blocks(self.chance.within(from.0.saturating_sub(1), to.0 + 1));
                Ok(if matches!(task, Task::Probe { .. }) { Done::Probed(upto) } else { Done::Loaded(upto) })
            }
            (_, Task::Probe { to, .. }) => Ok(Done::Probed(to)),
            (_, Task::Load { to, .. }) => Ok(Done::Loaded(to)),
            (2..5, Task::Store { .. }) => Ok(Done::Stored),
            (_, Task::Store { .. }) => Ok(Done::Copied),
        }
    }

    fn saw_outcome(&mut self, task: Task, outcome: Result<Done, Failed>, woken: Option<Woken>) {
        match task {
            Task::Load { .. } => {
                let end = if let Some(Woken::Loaded(end)) = woken { Some(end) } else { None };
                self.seen.when("load failed", outcome.is_err());
                self.seen.when("load whole", end.is_some_and(|end| end.whole));
                self.seen.when("load short", end.is_some_and(|end| !end.whole && outcome.is_ok()));
                self.seen.when("load for one who left", woken == Some(Woken::Room));
                self.seen.when("load after its deadline", woken.is_none());
            }
            Task::Store { pool, .. } => {
                self.seen.when("copy ended", woken == Some(Woken::Copied));
                self.seen.when("store ended in the pool", pool && woken.is_none());
                self.seen.when("store failed", outcome.is_err());
            }
            Task::Probe { .. } => self.seen.when("question failed", outcome.is_err()),
        }
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
        if !end.whole && self.chance.percent(50) {
            let holds = request.holds.take().expect("it waits with its blocks");
            self.seen.when("let go of a load given up", holds.seat.load.is_some());
            self.cache.release(holds.hold, Tokens(holds.reserved));
            self.model.release(holds.seat);
            (request.inquiry, request.expected) = (Inquiry::Closed, Inquiry::Closed);
            self.seen.saw("closed after a short load", 1);
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
