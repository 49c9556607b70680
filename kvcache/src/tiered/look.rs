//! What the tiers hold of a prompt.

use super::{Choice, Done, Failed, Op, OpId, Probe, Task, TieredCache, Tiers, Woken};
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
    /// The longest prefix of `chain` that need not be computed: of a request with `prompt` tokens of prompt and `total`
    /// tokens to have, of which the last is computed in any case. May ask the pool. O(runs and strips on the path).
    pub fn look_up(
        &mut self,
        request: RequestId,
        chain: Chain<'_>,
        prompt: Tokens,
        total: Tokens,
        inquiry: &mut Inquiry,
        now: Time,
    ) -> Looked {
        let block = self.device.config().block;
        let found = self.device.find(chain, (total - Tokens(1)).full_blocks(block));
        match &mut self.tiers {
            Some(tiers) => tiers.look_up(Ask { request, chain, prompt, total, found }, inquiry, now),
            None => Looked::Ready(Offer::of_device(found, found.blocks().tokens(block))),
        }
    }

    /// Asks the pool ahead of need, where one may choose: so the answer may be there when the request's turn comes.
    pub fn ask_ahead(
        &mut self,
        request: RequestId,
        chain: Chain<'_>,
        prompt: Tokens,
        total: Tokens,
        inquiry: &mut Inquiry,
        now: Time,
    ) {
        let ahead = self.tiers.as_ref().is_some_and(|tiers| tiers.config.pool && tiers.config.asks_ahead());
        if ahead {
            let _ = self.look_up(request, chain, prompt, total, inquiry, now);
        }
    }
}

#[derive(Clone, Copy)]
struct Ask<'a> {
    request: RequestId,
    chain: Chain<'a>,
    prompt: Tokens,
    total: Tokens,
    found: Found,
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
        let device = ask.found.blocks().tokens(self.block);
        let mut offer = Offer { prompt: ask.prompt, ..Offer::of_device(ask.found, device) };
        let objects = self.objects(ask.chain, ask.prompt);
        let chunk = self.config.chunk;
        // The tail of a prompt is an object only where the prompt is all there is to have.
        let full = objects.tokens().min(ask.total).full_blocks(chunk);
        let end = if ask.total == objects.tokens() { objects.objects() } else { full };
        let from = device.full_blocks(chunk).min(end);
        let head = self.host.as_ref().map_or(Blocks::ZERO, |host| host.find(objects, Blocks::ZERO, end));
        // Where the head is in L1 as far as the device has it, one walk has told all.
        let host = match &self.host {
            Some(_) if head >= from => head,
            Some(host) => host.find(objects, from, end),
            None => from,
        };
        offer.known = if self.host.is_some() && head < from { head } else { host };
        // Where the device lacks nothing but the token that is computed in any case, there is nothing to gain either.
        let lacking = offer.cached_by(objects, end, ask.total) > device;
        if !lacking || *inquiry == Inquiry::Closed || self.config.choice == Choice::Never {
            return Looked::Ready(offer);
        }
        if self.is_under_way(objects, from) {
            self.counts.shared_loads += 1;
            return Looked::Waiting;
        }
        let patience = self.patience(&offer, objects, (from, host, end), ask.total);
        let Some(pool) = self.ask_pool(ask.request, (host, end), patience, inquiry, now) else {
            return Looked::Waiting;
        };
        let pool = pool.max(host);
        offer.asked = matches!(inquiry, Inquiry::Known { .. });
        self.choose(&mut offer, objects, (from, host, pool), ask.total);
        if self.host.is_none() || head >= from {
            // What is computed though L2 has it, L1 is to have: only what is loaded need not be stored.
            offer.known = offer.known.max(offer.to);
        }
        Looked::Ready(offer)
    }

    /// How long an answer of the pool is worth waiting for; `None`: it is not.
    ///
    /// Who may choose compares what there is to be gained where the pool has all of it, times how often answers turned out
    /// useful, with how long it takes to learn that the pool has nothing; and waits for a part of that gain at most.
    fn patience(
        &self,
        offer: &Offer,
        objects: Chain<'_>,
        (from, host, end): (Blocks, Blocks, Blocks),
        total: Tokens,
    ) -> Option<Span> {
        let Choice::ByCost(costs) = self.config.choice else { return Some(LOOK_UP_TIMEOUT) };
        let gain = |to: Blocks| self.worth(offer, objects, (from, host, to), total).unwrap_or(0);
        self.pace.patience(gain(end).saturating_sub(gain(host)), &costs)
    }

    /// How far the pool reaches behind `host`; `None`: the question is on its way.
    fn ask_pool(
        &mut self,
        request: RequestId,
        (host, end): (Blocks, Blocks),
        patience: Option<Span>,
        inquiry: &mut Inquiry,
        now: Time,
    ) -> Option<Blocks> {
        if !self.config.pool || host == end {
            return Some(host);
        }
        match *inquiry {
            // What L1 has lost since the question was asked, nobody asked about.
            Inquiry::Known { from, upto } => return Some(if from <= host { upto.min(end) } else { host }),
            Inquiry::Asked { .. } => return None,
            Inquiry::Closed => return Some(host),
            Inquiry::New => {}
        }
        let Some(patience) = patience.filter(|_| self.breaker.may_call(now)) else { return Some(host) };
        let id = self.number();
        self.probes.push(Probe { op: id, request, from: host, at: now, deadline: now + patience });
        self.ops.push_back(Op { id, request, task: Task::Probe { from: host, to: end } });
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
        total: Tokens,
    ) -> Option<u64> {
        let ends_at = |object: Blocks| objects.tokens_before(object);
        let cached = offer.cached_by(objects, to, total);
        let new = cached - offer.device;
        let moved = (ends_at(host.min(to)).saturating_sub(ends_at(from)), ends_at(to).saturating_sub(ends_at(host)));
        let enough = to > from && new > Tokens::ZERO && new >= self.config.min_retrieve;
        enough.then(|| self.config.choice.gain(&self.pace, (offer.device, cached), moved)).flatten()
    }

    /// Decides how much of `from..host` (L1) and `host..pool` (L2) to load.
    fn choose(
        &mut self,
        offer: &mut Offer,
        objects: Chain<'_>,
        (from, host, pool): (Blocks, Blocks, Blocks),
        total: Tokens,
    ) {
        let worth = |to: Blocks| self.worth(offer, objects, (from, host, to), total);
        // Costs are convex between the ends of tiers, so the best is one of them.
        let candidates = [host, pool].into_iter().filter_map(|to| Some((worth(to)?, to)));
        let best = candidates.max_by_key(|(gain, to)| (*gain, *to)).map(|(_, to)| to);
        let most = offer.cached_by(objects, pool.max(host), total);
        match best {
            Some(to) => {
                (offer.from, offer.host, offer.to) = (from, host.min(to), to);
                offer.cached = offer.cached_by(objects, to, total);
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
        self.heard(outcome.err(), now);
        Woken::Answered { request, op, upto }
    }

    /// The pool answered, or could not be reached.
    pub(super) fn heard(&mut self, failed: Option<Failed>, now: Time) {
        if failed == Some(Failed::Unreachable) {
            self.breaker.failed(now);
        } else {
            self.breaker.succeeded(now);
        }
    }
}
