//! What the tiers hold of a prompt.

use super::{Choice, Contact, Done, Failed, LoadMode, Op, OpId, Probe, Task, TieredCache, Tiers, Woken};
use crate::chain::Chain;
use crate::time::{Span, Time};
use crate::units::{Blocks, RequestId, Tokens};
use crate::worker::Found;

/// Who always loads waits so long for an answer: LMCache's `lookup_timeout_ms`. (There all is lost then, even what L1 has;
/// here what is known by then counts.)
const LOOK_UP_TIMEOUT: Span = Span::from_secs(3);

/// What a request has learnt of the pool. Kept by whoever keeps the request; a new one knows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inquiry {
    /// Nobody asked.
    #[default]
    New,
    /// The question is on its way.
    Asked {
        /// By this operation.
        op: OpId,
        /// From this object on.
        from: Blocks,
    },
    /// The pool has objects `from..upto`.
    Known {
        /// The first.
        from: Blocks,
        /// The end.
        upto: Blocks,
    },
    /// Lower tiers are not asked: a load for this request came short before.
    Closed,
}

impl Inquiry {
    /// Takes in an answer, if it is the one waited for. Says whether it was.
    pub fn answer(&mut self, op: OpId, upto: Option<Blocks>) -> bool {
        match *self {
            Self::Asked { op: asked, from } if asked == op => {
                *self = Self::Known { from, upto: upto.unwrap_or(from) };
                true
            }
            _ => false,
        }
    }
}

/// A look-up's answer. Valid until the cache changes.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub(super) found: Found,
    pub(super) device: Tokens,
    pub(super) from: Blocks,
    pub(super) host: Blocks,
    pub(super) to: Blocks,
    /// Objects that need not be stored: the tiers have them, or were seen to.
    pub(super) known: Blocks,
    pub(super) declined: Tokens,
    pub(super) prompt: Tokens,
    /// Whether the pool has answered for it.
    pub(super) asked: bool,
    cached: Tokens,
}

impl Offer {
    /// Prompt tokens on the device.
    #[must_use]
    pub const fn device(&self) -> Tokens {
        self.device
    }

    /// Prompt tokens that need not be computed once what is to be loaded has been.
    #[must_use]
    pub const fn cached(&self) -> Tokens {
        self.cached
    }

    /// Prompt tokens that need not be computed once objects before `to` have been loaded: something must be left to do.
    fn cached_by(&self, objects: Chain<'_>, to: Blocks, total: Tokens) -> Tokens {
        objects.tokens_before(to).min(total - Tokens(1)).max(self.device)
    }

    /// Whether something is to be loaded.
    #[must_use]
    pub fn loads(&self) -> bool {
        self.to > self.from
    }
}

/// Whether the answer is there.
#[derive(Clone, Copy, Debug)]
pub enum Looked {
    /// It is.
    Ready(Offer),
    /// Something is on its way that decides it; [`TieredCache::op_done`] will tell.
    Waiting,
}

impl TieredCache {
    /// The longest prefix that need not be computed. May ask the pool. O(runs and strips on the path).
    pub fn look_up(&mut self, wanted: Wanted<'_>, inquiry: &mut Inquiry, now: Time) -> Looked {
        let found = self.find(&wanted);
        match &mut self.tiers {
            Some(tiers) => tiers.look_up(Ask { wanted, found }, inquiry, now),
            None => Looked::Ready(Offer::of_device(found, found.blocks().tokens(self.device.config().block))),
        }
    }

    /// Asks the pool ahead of need, where one may choose: so the answer may be there when the request's turn comes.
    pub fn ask_ahead(&mut self, wanted: Wanted<'_>, inquiry: &mut Inquiry, now: Time) {
        if self.tiers.as_ref().is_some_and(|tiers| tiers.config.pool && tiers.config.asks_ahead()) {
            let found = self.find(&wanted);
            if let Some(tiers) = &mut self.tiers {
                tiers.ask_ahead(Ask { wanted, found }, inquiry, now);
            }
        }
    }

    fn find(&self, wanted: &Wanted<'_>) -> Found {
        let most = (wanted.total - Tokens(1)).full_blocks(self.device.config().block);
        self.device.find(wanted.chain, most)
    }
}

/// What a request wants to have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whose.
    pub request: RequestId,
    /// What it is.
    pub chain: Chain<'a>,
    /// Tokens of its prompt.
    pub prompt: Tokens,
    /// Tokens to have, of which the last is computed in any case.
    pub total: Tokens,
    /// Requests that wait for the engine besides. Only who may choose asks, and only where loads are overlapped: then the
    /// engine serves those while this one is loaded for.
    pub others: u32,
}

#[derive(Clone, Copy)]
struct Ask<'a> {
    wanted: Wanted<'a>,
    found: Found,
}

/// What there is of a prompt above the pool, in objects.
#[derive(Clone, Copy)]
struct Seen<'a> {
    objects: Chain<'a>,
    /// The first that the device lacks.
    from: Blocks,
    /// From there on, what L1 has ends here.
    host: Blocks,
    /// The end of what counts.
    end: Blocks,
    /// Whether L1, if there is one, has also what comes before.
    has_head: bool,
}

impl Offer {
    const fn of_device(found: Found, device: Tokens) -> Self {
        let none = Blocks::ZERO;
        let declined = Tokens::ZERO;
        Self {
            found,
            device,
            from: none,
            host: none,
            to: none,
            known: none,
            declined,
            prompt: Tokens::ZERO,
            asked: false,
            cached: device,
        }
    }
}

impl Tiers {
    fn look_up(&mut self, ask: Ask<'_>, inquiry: &mut Inquiry, now: Time) -> Looked {
        let (mut offer, seen) = self.see(&ask);
        let Seen { objects, from, host, end, .. } = seen;
        if !self.may_load(&offer, &seen, ask.wanted.total, inquiry) {
            return Looked::Ready(offer);
        }
        if self.is_under_way(objects, from) {
            self.counts.shared_loads += 1;
            return Looked::Waiting;
        }
        let Some(pool) = self.ask_pool(&ask.wanted, &offer, &seen, inquiry, now) else {
            return Looked::Waiting;
        };
        let pool = pool.max(host);
        offer.asked = matches!(inquiry, Inquiry::Known { .. });
        self.choose(&mut offer, objects, (from, host, pool), &ask.wanted);
        debug_assert!(offer.to <= end, "no more than there is");
        if seen.has_head {
            // What is computed though L2 has it, L1 is to have: only what is loaded need not be stored.
            offer.known = offer.known.max(offer.to);
        }
        Looked::Ready(offer)
    }

    /// Asks the pool, if that is of use, and does nothing else.
    fn ask_ahead(&mut self, ask: Ask<'_>, inquiry: &mut Inquiry, now: Time) {
        let (offer, seen) = self.see(&ask);
        if self.may_load(&offer, &seen, ask.wanted.total, inquiry) && !self.is_under_way(seen.objects, seen.from) {
            let _ = self.ask_pool(&ask.wanted, &offer, &seen, inquiry, now);
        }
    }

    /// Whether anything may be loaded: where the device lacks nothing but the token that is computed in any case, there is
    /// nothing to gain.
    fn may_load(&self, offer: &Offer, seen: &Seen<'_>, total: Tokens, inquiry: &Inquiry) -> bool {
        let lacking = offer.cached_by(seen.objects, seen.end, total) > offer.device;
        lacking && *inquiry != Inquiry::Closed && self.config.choice != Choice::Never
    }

    /// What device and host have of a prompt. Changes nothing.
    fn see<'a>(&self, ask: &Ask<'a>) -> (Offer, Seen<'a>) {
        let device = ask.found.blocks().tokens(self.block);
        let mut offer = Offer { prompt: ask.wanted.prompt, ..Offer::of_device(ask.found, device) };
        let objects = self.objects(ask.wanted.chain, ask.wanted.prompt);
        let chunk = self.config.chunk;
        // The tail of a prompt is an object only where the prompt is all there is to have.
        let full = objects.tokens().min(ask.wanted.total).full_blocks(chunk);
        let end = if ask.wanted.total == objects.tokens() { objects.objects() } else { full };
        let from = device.full_blocks(chunk).min(end);
        let head = self.host.as_ref().map_or(Blocks::ZERO, |host| host.find(objects, Blocks::ZERO, end));
        // Where the head is in L1 as far as the device has it, one walk has told all.
        let host = match &self.host {
            Some(_) if head >= from => head,
            Some(host) => host.find(objects, from, end),
            None => from,
        };
        let has_head = self.host.is_none() || head >= from;
        offer.known = if has_head { host } else { head };
        (offer, Seen { objects, from, host, end, has_head })
    }

    /// How long an answer of the pool is worth waiting for; `None`: it is not.
    ///
    /// Who may choose compares what there is to be gained where the pool has all of it, times how often answers turned out
    /// useful, with how long it takes to learn that the pool has nothing; and waits for a part of that gain at most.
    fn patience(&self, offer: &Offer, seen: &Seen<'_>, wanted: &Wanted<'_>) -> Option<Span> {
        let Choice::ByCost(costs) = self.config.choice else { return Some(LOOK_UP_TIMEOUT) };
        let Seen { objects, from, host, end, .. } = *seen;
        let gain = |to: Blocks| self.worth(offer, objects, (from, host, to), wanted).unwrap_or(0);
        self.pace.patience(gain(end).saturating_sub(gain(host)), &costs)
    }

    /// How far the pool reaches behind what L1 has; `None`: the question is on its way.
    fn ask_pool(
        &mut self,
        wanted: &Wanted<'_>,
        offer: &Offer,
        seen: &Seen<'_>,
        inquiry: &mut Inquiry,
        now: Time,
    ) -> Option<Blocks> {
        let Seen { host, end, .. } = *seen;
        if !self.config.pool || host == end {
            return Some(host);
        }
        match *inquiry {
            // Who is left alone is not loaded from either. What L1 has lost since the question was asked, nobody asked about.
            Inquiry::Known { from, upto } => {
                return Some(if from <= host && self.breaker.is_closed() { upto.min(end) } else { host });
            }
            Inquiry::Asked { .. } => return None,
            Inquiry::Closed => return Some(host),
            Inquiry::New => {}
        }
        let patience = self.patience(offer, seen, wanted);
        let Some(patience) = patience.filter(|_| self.breaker.may_call(now)) else { return Some(host) };
        let id = self.number();
        self.probes.push(Probe { op: id, request: wanted.request, from: host, at: now, deadline: now + patience });
        self.ops.push_back(Op { id, request: wanted.request, task: Task::Probe { from: host, to: end } });
        *inquiry = Inquiry::Asked { op: id, from: host };
        None
    }

    /// Whether object `index` of the prompt is being loaded for somebody else.
    fn is_under_way(&self, objects: Chain<'_>, index: Blocks) -> bool {
        let here = |load: &&super::Load| load.from <= index && index < load.to && !load.given_up;
        let mut loads = self.loads.iter().filter(here).peekable();
        if loads.peek().is_none() {
            return false;
        }
        let key = objects.key(index);
        loads.any(|load| load.keys[(index - load.from).0 as usize] == key)
    }

    /// Picoseconds expected to be gained by loading objects `from..to`, those before `host` from L1; `None`: not to be loaded.
    fn worth(
        &self,
        offer: &Offer,
        objects: Chain<'_>,
        (from, host, to): (Blocks, Blocks, Blocks),
        wanted: &Wanted<'_>,
    ) -> Option<u64> {
        let ends_at = |object: Blocks| objects.tokens_before(object);
        let cached = offer.cached_by(objects, to, wanted.total);
        let new = cached - offer.device;
        let moved = (ends_at(host.min(to)).saturating_sub(ends_at(from)), ends_at(to).saturating_sub(ends_at(host)));
        let enough = to > from && new > Tokens::ZERO && new >= self.config.min_retrieve;
        let others = if self.config.load == LoadMode::Overlapped { wanted.others } else { 0 };
        enough.then(|| self.config.choice.gain(&self.pace, (offer.device, cached), moved, others)).flatten()
    }

    /// Decides how much of `from..host` (L1) and `host..pool` (L2) to load.
    fn choose(
        &mut self,
        offer: &mut Offer,
        objects: Chain<'_>,
        (from, host, pool): (Blocks, Blocks, Blocks),
        wanted: &Wanted<'_>,
    ) {
        let worth = |to: Blocks| self.worth(offer, objects, (from, host, to), wanted);
        // Between the ends of tiers the gain is convex in what is loaded, and it starts at nothing or less, so no end inside
        // gains more than the better of them (but for the one token that is computed in any case). Only where L1's part alone
        // is fewer tokens than min_retrieve can an end inside L2's part gain more: with tokens of L2 at a loss that merely
        // lift it over the threshold. Whoever sets one would rather not have those.
        let candidates = [host, pool].into_iter().filter_map(|to| Some((worth(to)?, to)));
        let best = candidates.max_by_key(|(gain, to)| (*gain, *to)).map(|(_, to)| to);
        let most = offer.cached_by(objects, pool.max(host), wanted.total);
        match best {
            Some(to) => {
                (offer.from, offer.host, offer.to) = (from, host.min(to), to);
                offer.cached = offer.cached_by(objects, to, wanted.total);
            }
            None if pool > from => self.pace.forget(),
            None => {}
        }
        offer.declined = most - offer.cached;
    }

    pub(super) fn probed(&mut self, place: usize, outcome: Result<Done, Failed>, now: Time) -> Woken {
        let Probe { op, request, from, at, .. } = self.probes.swap_remove(place);
        let upto = match outcome {
            Ok(Done::Probed(upto)) => Some(upto),
            _ => None,
        };
        if upto.is_none_or(|upto| upto <= from) {
            self.pace.learnt_nothing(now.since(at), &self.config.choice);
        }
        self.heard(Contact::of(&outcome), at, now);
        Woken::Answered { request, op, upto }
    }

    /// What an operation that began at `at` has heard of the pool. Who did not wait long enough has not heard anything.
    pub(super) fn heard(&mut self, contact: Contact, at: Time, now: Time) {
        match contact {
            Contact::Answered => self.breaker.succeeded(now),
            Contact::Refused => self.breaker.failed(now),
            Contact::Silent if now.since(at) >= self.config.breaker.silence => self.breaker.failed(now),
            Contact::Silent | Contact::Unasked => {}
        }
    }
}
