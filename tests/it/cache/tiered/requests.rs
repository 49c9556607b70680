//! What can befall a request.

use super::model::{Ask, tokens_of};
use super::worlds::{Holds, Request, Waits, World};
use kvcache::{
    Blocks, ChainBuilder, HostCache, Inquiry, Looked, NoRoom, Offer, Op, OpId, Piece, RequestId, Task, Tokens, Wanted,
};
use std::rc::Rc;

impl World {
    fn pick(&mut self, whom: impl Fn(&Request) -> bool) -> Option<usize> {
        let places: Vec<usize> = (0..self.requests.len()).filter(|place| whom(&self.requests[*place])).collect();
        (!places.is_empty()).then(|| places[self.chance.below(places.len() as u32) as usize])
    }

    /// The pieces of a request as far as the cache is shown them.
    pub(super) fn pieces(&self, place: usize, upto: u32) -> Vec<Piece> {
        let Request { known, grows, .. } = &self.requests[place];
        if *grows { known.prompt.pieces_upto(upto) } else { known.prompt.pieces.clone() }
    }

    /// A request has its question asked ahead of its turn, if there is one to ask, and nothing else comes of it.
    pub(super) fn ask_ahead(&mut self, place: usize) {
        let pieces = self.pieces(place, self.requests[place].total);
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let known = Rc::clone(&request.known);
        let (prompt, total) = (Tokens(known.prompt.asked), Tokens(request.total));
        let known_before = request.inquiry;
        let before = (self.cache.counts(), self.cache.usage(), self.cache.host().map(HostCache::usage));
        let wanted = Wanted { request: request.id, chain, prompt, total, others: request.others };
        self.cache.ask_ahead(wanted, &mut request.inquiry, self.now);
        let after = (self.cache.counts(), self.cache.usage(), self.cache.host().map(HostCache::usage));
        assert_eq!(after, before, "a question asked ahead changes nothing else");
        let questions = self.model.ops.len();
        let ask = request.ask(&known);
        self.seen.when("asked ahead during another's load", self.model.waits_for_another(ask, request.expected));
        self.model.ask_ahead(ask, &mut request.expected, self.now);
        let asked = request.inquiry != known_before;
        self.seen.when("asked ahead", asked);
        self.seen.when("asked ahead in vain", self.cache.tiers().is_some() && !asked);
        self.seen.when("asked ahead what is known", !asked && known_before != Inquiry::New);
        assert_eq!(self.model.ops.len() - questions, usize::from(asked), "what comes out is the question");
    }

    /// Somebody who waits is looked at, and begins if that can be.
    pub(super) fn look(&mut self) -> &'static str {
        let Some(place) = self.pick(|request| request.holds.is_none()) else { return "look for nobody" };
        if self.chance.percent(10) {
            self.ask_ahead(place);
        }
        let pieces = self.pieces(place, self.requests[place].total);
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let known = Rc::clone(&request.known);
        let (prompt, total) = (Tokens(known.prompt.asked), Tokens(request.total));
        request.others = [0, 0, 1, 7][self.chance.below(4) as usize];
        let wanted = Wanted { request: request.id, chain, prompt, total, others: request.others };
        let looked = self.cache.look_up(wanted, &mut request.inquiry, self.now);
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
        self.seen.when("refused", needed > available);
        match self.cache.begin(request.id, chain, &offer, Tokens(upto), self.now) {
            Err(refused) => {
                assert!(needed > available, "refused in spite of room");
                assert_eq!(refused, NoRoom { needed: Blocks(needed), available: Blocks(available) });
                return "begin in vain";
            }
            Ok(admission) => {
                assert!(needed <= available, "begun without room");
                let seat = self.model.begin(ask, expected, upto);
                assert_eq!(admission.load, seat.load.map(OpId), "the load of an admission");
                let waits = admission.load.map_or(Waits::Nothing, Waits::ToStart);
                let (hold, computed) = (admission.hold, expected.device);
                request.holds = Some(Holds { hold, seat, reserved: upto, computed, stored: 0, waits });
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
        let wanted = Wanted { request: id, chain, prompt: one, total: one, others: 0 };
        let Looked::Ready(offer) = self.cache.look_up(wanted, &mut inquiry, self.now) else {
            panic!("who asks nothing waits for nothing");
        };
        let all = self.cache.available().tokens(self.setting.cache.block);
        let admission = self.cache.begin(id, chain, &offer, all, self.now).expect("nobody else wants them");
        self.cache.release(admission.hold, all);
        self.model.flood();
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

    /// Somebody's load starts, or a pass of it has computed something, or ends.
    pub(super) fn advance(&mut self) -> &'static str {
        let ready =
            |request: &Request| request.holds.as_ref().is_some_and(|holds| !matches!(holds.waits, Waits::ForLoad(_)));
        let Some(place) = self.pick(ready) else { return "advance nobody" };
        let holds = self.requests[place].holds.as_mut().expect("it was picked for that");
        match holds.waits {
            Waits::ToStart(op) => {
                self.cache.start_load(op, self.now);
                self.model.start(op.0, self.now);
                holds.waits = Waits::ForLoad(op);
                return "start a load";
            }
            Waits::ToCommit => {
                self.commit(place);
                return "commit what was stored";
            }
            Waits::Nothing | Waits::ForLoad(_) => {}
        }
        let most = holds.reserved;
        let computed = if self.chance.percent(50) { most } else { self.chance.within(holds.computed, most) };
        if computed == 0 {
            return "compute nothing";
        }
        holds.computed = computed;
        if self.chance.percent(30) {
            // Some engines store first: all there is, or a part; now and then in the middle of the pass.
            let upto = if self.chance.percent(80) { computed } else { self.chance.within(0, computed) };
            self.store(place, upto);
            if self.chance.percent(60) {
                return "store";
            }
        }
        self.commit(place);
        "commit"
    }

    /// The pass has computed so much that is stored, and has not ended.
    fn store(&mut self, place: usize, upto: u32) {
        let pieces = self.pieces(place, self.requests[place].holds.as_ref().map_or(0, |holds| holds.computed));
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let known = Rc::clone(&request.known);
        let ask = request.ask(&known);
        let holds = request.holds.as_mut().expect("it was picked for that");
        let before = self.cache.usage();
        self.cache.store(request.id, holds.hold, chain, Tokens(ask.prompt), Tokens(upto), self.now);
        assert_eq!(self.cache.usage(), before, "nothing is told to the device");
        let ops = self.model.ops.len();
        self.model.store(&mut holds.seat, ask, upto, self.now);
        self.seen.when("store before the pass ended", self.model.ops.len() > ops);
        (holds.waits, holds.stored) = (Waits::ToCommit, upto);
        self.saw_store(ops, ask);
    }

    /// The pass ends.
    fn commit(&mut self, place: usize) {
        let computed = self.requests[place].holds.as_ref().map_or(0, |holds| holds.computed);
        let pieces = self.pieces(place, computed);
        let chain = self.chain_of(&pieces);
        let request = &mut self.requests[place];
        let known = Rc::clone(&request.known);
        let ask = request.ask(&known);
        let holds = request.holds.as_mut().expect("it was picked for that");
        self.cache.commit(request.id, holds.hold, chain, Tokens(ask.prompt), Tokens(computed), self.now);
        let ops = self.model.ops.len();
        let copies = self.model.commit(&mut holds.seat, ask, computed, self.now);
        if holds.waits == Waits::ToCommit {
            let more = self.model.ops.len() > ops;
            assert!(!more || holds.stored < computed, "what was stored is not stored again");
            self.seen.when("commit stored nothing more", !more);
            self.seen.when("commit stored the rest", more);
        }
        holds.waits = Waits::Nothing;
        self.seen.saw("copies", copies);
        self.saw_store(ops, ask);
    }

    /// Which store came out, if one did, behind so many operations.
    fn saw_store(&mut self, ops: usize, ask: Ask<'_>) {
        let Some(Op { task: Task::Store { from, to, host, .. }, .. }) = self.model.ops.get(ops) else { return };
        let stored = tokens_of(ask.objects, to.0 as usize);
        self.seen.when("store of a reply", stored > ask.prompt);
        self.seen.when("store of a tail", !stored.is_multiple_of(self.setting.chunk()));
        self.seen.when("store of which L1 takes a part", from < host && host < to);
        self.seen.when("store of which L1 takes nothing", self.model.host.is_some() && from == host);
        self.seen.when("store without L1", self.model.host.is_none());
    }

    /// The worker's process dies with all that is under way, and whoever is here begins anew.
    pub(super) fn restart(&mut self) -> &'static str {
        let holds = || self.requests.iter().filter_map(|request| request.holds.as_ref());
        let waits = |waits: fn(&Waits) -> bool| holds().any(|holds| waits(&holds.waits));
        let is = |task: fn(&Task) -> bool| self.pending.iter().any(|op| task(&op.task));
        for (what, happened) in [
            ("restart with a load planned", waits(|waits| matches!(waits, Waits::ToStart(_)))),
            ("restart during a load", waits(|waits| matches!(waits, Waits::ForLoad(_)))),
            ("restart during a load for one who left", self.model.kept() > 0),
            ("restart during a copy", self.cache.copying() > 0),
            ("restart during a question", is(|task| matches!(task, Task::Probe { .. }))),
            ("restart with the breaker open", !self.model.is_closed()),
        ] {
            self.seen.when(what, happened);
        }
        for request in &mut self.requests {
            if let Some(holds) = request.holds.take() {
                self.cache.release(holds.hold, Tokens(holds.reserved));
                self.model.release(holds.seat);
            }
            (request.inquiry, request.expected) = (Inquiry::New, Inquiry::New);
        }
        // What comes of them later is to change nothing.
        self.past.extend(self.pending.drain(..).map(|op| op.id));
        self.seen.saw("blocks evicted", self.model.device.evicted);
        self.cache.restart();
        self.model.restart();
        "restart"
    }

    /// Finished, preempted, or cancelled, whatever it waits for.
    pub(super) fn release(&mut self) -> &'static str {
        // Mostly not in the middle of a load: of those there are to be many.
        let any = self.ending || self.chance.percent(30);
        let waits = |request: &Request| request.holds.as_ref().is_some_and(Holds::waits_for_a_load);
        let Some(place) = self.pick(|request| any || !waits(request)) else { return "release nothing" };
        let request = &mut self.requests[place];
        let Some(holds) = request.holds.take() else {
            self.seen.when("cancelled with a question open", matches!(request.inquiry, Inquiry::Asked { .. }));
            self.requests.swap_remove(place);
            return "cancel";
        };
        let is_late = |op: u64| self.model.load(OpId(op)).0.is_some();
        let given_up = matches!(holds.waits, Waits::Nothing | Waits::ToCommit) && holds.seat.load.is_some_and(is_late);
        self.seen.when("let go of a planned load", matches!(holds.waits, Waits::ToStart(_)));
        self.seen.when("let go during a load", matches!(holds.waits, Waits::ForLoad(_)));
        self.seen.when("let go of a load given up", given_up);
        self.seen.when("let go before the pass ended", holds.waits == Waits::ToCommit);
        self.cache.release(holds.hold, Tokens(holds.reserved));
        self.model.release(holds.seat);
        if self.chance.percent(70) {
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
}
