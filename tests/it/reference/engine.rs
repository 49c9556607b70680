//! One worker's engine as its rules read: a turn per pass, a visit per sequence and token.

use super::cache::{Cache, Held, Name};
use kvcache::{RequestId, Span, Time, Tokens};
use sim::cost::{CostModel, Shape};
use sim::replica::{EngineConfig, Output, Spent, Work};
use std::collections::VecDeque;

/// A pass that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) started: Time,
    pub(super) lasts: Span,
    pub(super) work: Work,
}

struct Sequence {
    request: RequestId,
    names: Vec<Name>,
    prompt: u32,
    output: u32,
    held: Held,
    /// Tokens with KV, once all planned passes have ended.
    computed: u32,
    /// Those that were there when it was admitted last.
    found: u32,
    /// Tokens of the reply that are out once all planned passes have ended.
    promised: u32,
    /// Tokens of the reply that are out.
    emitted: u32,
    last_token: Time,
    /// The pass that gave it a token, where it was in `running` ever since.
    sampled: Option<u64>,
    /// How often it was admitted.
    life: u32,
    /// What it spent its time on until its first token.
    spent: Spent,
    arrived: Time,
}

impl Sequence {
    fn total(&self) -> u32 {
        self.prompt + self.promised
    }

    fn is_ending(&self) -> bool {
        self.promised == self.output
    }
}

/// What a pass computes of one sequence.
struct Part {
    sequence: usize,
    life: u32,
    from: u32,
    new: u32,
    /// Tokens of its sequence that were there when that was admitted.
    found: u32,
    decodes: bool,
    samples: bool,
}

struct Pass {
    number: u64,
    parts: Vec<Part>,
}

pub(super) struct Engine {
    config: EngineConfig,
    pub(super) cache: Cache,
    sequences: Vec<Sequence>,
    waiting: VecDeque<usize>,
    running: Vec<usize>, // in order of admission
    flight: Option<Pass>,
    next: Option<Pass>, // planned while the one in flight runs
    planned: u64,
    pub(super) ends: Option<Time>,
    pub(super) ran: Vec<Ran>,
    pub(super) told: Vec<Output>,
    pub(super) gaps: Vec<Span>,
    /// Engine time of passes that never ended.
    pub(super) lost: Span,
    /// Times that a decoder found no budget.
    pub(super) sat_out: u64,
    /// Up to when it is told what time was spent on.
    told_upto: Time,
    /// The head of the queue found no room, and nothing has been released or become visible since.
    short: bool,
    /// The latest plan left the queue standing for lack of room.
    lacks_room: bool,
    /// Blocks that requests held, over time, block-picoseconds; and the most at a moment.
    pub(super) held: u128,
    pub(super) most_held: u64,
}

impl Engine {
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self {
            config: *config,
            cache: Cache::new(&config.cache),
            sequences: Vec::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            flight: None,
            next: None,
            planned: 0,
            ends: None,
            ran: Vec::new(),
            told: Vec::new(),
            gaps: Vec::new(),
            lost: Span::ZERO,
            sat_out: 0,
            told_upto: Time::ZERO,
            short: false,
            lacks_room: false,
            held: 0,
            most_held: 0,
        }
    }

    /// Says whether it will ever serve the request.
    pub(super) fn submit(
        &mut self,
        request: RequestId,
        names: Vec<Name>,
        (prompt, output): (Tokens, Tokens),
        now: Time,
    ) -> bool {
        self.spend(now);
        if prompt.0 == 0 || output.0 == 0 || prompt.0 + output.0 > self.config.max_model_len.0 {
            return false;
        }
        self.waiting.push_back(self.sequences.len());
        self.sequences.push(Sequence {
            request,
            names,
            prompt: prompt.0,
            output: output.0,
            held: Held::default(),
            computed: 0,
            found: 0,
            promised: 0,
            emitted: 0,
            last_token: Time::ZERO,
            sampled: None,
            life: 0,
            spent: Spent::default(),
            arrived: now,
        });
        true
    }

    /// Time passes up to `now`: whoever waits for a first token spends it on something.
    fn spend(&mut self, now: Time) {
        let span = now.since(self.told_upto);
        self.told_upto = now;
        let held = u64::from(self.config.cache.capacity.0 - self.cache.available());
        self.held += u128::from(held) * u128::from(span.0);
        self.most_held = self.most_held.max(held);
        for id in self.waiting.iter().chain(&self.running).copied() {
            let computed = self.flight.iter().flat_map(|pass| &pass.parts).any(|part| part.sequence == id);
            let spent = &mut self.sequences[id].spent;
            if computed {
                spent.compute += span;
            } else if self.lacks_room && self.waiting.contains(&id) {
                spent.kv_wait += span;
            } else {
                spent.budget_wait += span;
            }
        }
    }

    /// Starts a pass where none runs and there is something to compute.
    pub(super) fn start(&mut self, model: &dyn CostModel, now: Time) {
        self.spend(now);
        if self.flight.is_some() {
            return;
        }
        let Some(pass) = self.next.take().or_else(|| self.plan(now)) else { return };
        let shape = self.shape(&pass);
        let lasts = model.segment(&shape).at(shape.context).max(Span(1));
        self.ran.push(Ran { started: now, lasts, work: self.work(&pass) });
        self.ends = Some(now + lasts);
        self.flight = Some(pass);
        if self.config.async_scheduling {
            self.next = self.plan(now);
        }
    }

    fn plan(&mut self, now: Time) -> Option<Pass> {
        loop {
            let mut pass = Pass { number: self.planned + 1, parts: Vec::new() };
            let mut budget = self.config.max_num_batched_tokens.0;
            let preempted = self.serve_running(&mut pass, &mut budget);
            if !preempted {
                self.short |= self.admit(&mut pass, &mut budget, now);
            }
            self.lacks_room = preempted || self.short;
            if !pass.parts.is_empty() {
                self.count(&pass);
                return Some(pass);
            }
            if !preempted || self.flight.is_some() {
                return None;
            }
        }
    }

    fn blocks(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.config.cache.block.0)
    }

    fn most_of_a_chunk(&self) -> u32 {
        match self.config.long_prefill_token_threshold {
            Some(tokens) => tokens.0,
            None if self.config.max_num_partial_prefills > 1 => (self.config.max_model_len.0 * 4 / 100).max(1),
            None => u32::MAX,
        }
    }

    fn part(&self, sequence: usize, pass: &Pass, from: u32, new: u32) -> Part {
        let of = &self.sequences[sequence];
        let decodes = of.sampled.is_some_and(|sampled| sampled + 1 == pass.number);
        Part { sequence, life: of.life, from, new, found: of.found, decodes, samples: from + new == of.total() }
    }

    /// Whoever runs gets its share, in order of admission. Says whether somebody was preempted.
    fn serve_running(&mut self, pass: &mut Pass, budget: &mut u32) -> bool {
        let (mut place, mut preempted) = (0, false);
        while place < self.running.len() {
            let id = self.running[place];
            let sequence = &self.sequences[id];
            if sequence.is_ending() {
                place += 1;
                continue;
            }
            if *budget == 0 {
                self.sat_out += u64::from(sequence.sampled == Some(self.planned));
                place += 1;
                continue;
            }
            let from = sequence.computed;
            let new = (sequence.total() - from).min(self.most_of_a_chunk()).min(*budget);
            let needed = self.blocks(from + new) - self.blocks(from);
            while self.cache.available() < needed {
                preempted = true;
                if self.preempt_last() == id {
                    return preempted;
                }
            }
            self.cache.take(&mut self.sequences[id].held, needed);
            pass.parts.push(self.part(id, pass, from, new));
            *budget -= new;
            place += 1;
        }
        preempted
    }

    fn preempt_last(&mut self) -> usize {
        let mut place = self.running.len() - 1;
        while self.sequences[self.running[place]].is_ending() {
            place -= 1;
        }
        let id = self.running.remove(place);
        self.let_go(id);
        self.sequences[id].computed = 0;
        self.sequences[id].sampled = None;
        self.waiting.push_front(id);
        self.short = false;
        self.told.push(Output::Preempted { request: self.sequences[id].request });
        id
    }

    fn commit(&mut self, id: usize, upto: u32) {
        let sequence = &mut self.sequences[id];
        let full = (upto / self.config.cache.block.0) as usize;
        self.cache.commit(&mut sequence.held, &sequence.names[..full]);
    }

    fn let_go(&mut self, id: usize) {
        self.commit(id, self.sequences[id].computed);
        self.cache.release(&mut self.sequences[id].held);
    }

    /// Says whether the head of the queue finds no room.
    fn admit(&mut self, pass: &mut Pass, budget: &mut u32, now: Time) -> bool {
        let block = self.config.cache.block.0;
        while *budget > 0 && self.running.len() < self.config.max_num_seqs as usize {
            let Some(id) = self.waiting.front().copied() else { return false };
            let sequence = &self.sequences[id];
            let total = sequence.total();
            let matched = self.cache.find(&sequence.names[..((total - 1) / block) as usize]);
            let matched = &sequence.names[..matched];
            let cached = matched.len() as u32 * block;
            let rest = total - cached;
            if !self.config.chunked_prefill && rest > *budget {
                return false;
            }
            let new = rest.min(self.most_of_a_chunk()).min(*budget);
            let must_fit = if self.config.reserve_full_isl { total } else { cached + new };
            let lacking = self.blocks(must_fit) - matched.len() as u32;
            if lacking > self.cache.available() - self.cache.idle_among(matched) {
                return true;
            }
            let mut held = self.cache.begin(matched);
            self.cache.take(&mut held, self.blocks(cached + new) - matched.len() as u32);
            self.waiting.pop_front();
            self.running.push(id);
            let sequence = &mut self.sequences[id];
            (sequence.held, sequence.computed, sequence.found) = (held, cached, cached);
            sequence.life += 1;
            self.told.push(Output::Admitted { request: sequence.request, cached: Tokens(cached), at: now });
            pass.parts.push(self.part(id, pass, cached, new));
            *budget -= new;
        }
        false
    }

    /// What is planned counts as done by later plans.
    fn count(&mut self, pass: &Pass) {
        self.planned = pass.number;
        for part in &pass.parts {
            let sequence = &mut self.sequences[part.sequence];
            sequence.computed += part.new;
            if part.samples {
                sequence.promised += 1;
                sequence.sampled = Some(pass.number);
            }
        }
    }

    fn shape(&self, pass: &Pass) -> Shape {
        let mut shape = Shape::default();
        for part in &pass.parts {
            let (from, new) = (u64::from(part.from), u64::from(part.new));
            shape.tokens += new;
            shape.samples += u64::from(part.samples);
            // Whoever has emitted and computes just the token that it emitted last decodes, even if it sat out a pass
            // or was preempted since.
            let begun = part.from + part.new > self.sequences[part.sequence].prompt;
            if part.samples && new == 1 && begun {
                shape.decoders += 1;
                shape.context += from + 1;
                shape.longest = shape.longest.max(from + 1);
            } else {
                shape.pairs += (from + 1..=from + new).sum::<u64>();
                shape.prefill_context += from + new;
                shape.squares += new * new;
            }
        }
        shape
    }

    fn work(&self, pass: &Pass) -> Work {
        let mut work = Work::default();
        for part in &pass.parts {
            let request = self.sequences[part.sequence].request;
            if part.decodes {
                work.decoding.push(request);
            } else {
                work.chunks.push((request, Tokens(part.from), Tokens(part.new)));
            }
        }
        work
    }

    /// The pass in flight ended. Gives the number of requests that ended with it.
    pub(super) fn end(&mut self, now: Time) -> usize {
        self.spend(now);
        let pass = self.flight.take().expect("a pass ends once");
        self.ends = None;
        for part in &pass.parts {
            let still_here = self.running.contains(&part.sequence) && self.sequences[part.sequence].life == part.life;
            if still_here && !part.decodes {
                self.commit(part.sequence, part.from + part.new);
                self.short = false;
            }
            if part.samples {
                self.emit(part.sequence, part.from + part.new - part.found, now);
            }
        }
        let ended: Vec<usize> = self.running.iter().copied().filter(|id| self.is_complete(*id)).collect();
        for id in &ended {
            self.short = false;
            self.let_go(*id);
            self.told.push(Output::Finished { request: self.sequences[*id].request, at: now });
        }
        self.running.retain(|id| !ended.contains(id));
        ended.len()
    }

    fn is_complete(&self, id: usize) -> bool {
        self.sequences[id].emitted == self.sequences[id].output
    }

    fn emit(&mut self, id: usize, computed: u32, now: Time) {
        let sequence = &mut self.sequences[id];
        if sequence.emitted == 0 {
            self.told.push(Output::Split { request: sequence.request, spent: sequence.spent, since: sequence.arrived });
            self.told.push(Output::FirstToken { request: sequence.request, computed: Tokens(computed), at: now });
        } else {
            self.gaps.push(now.since(sequence.last_token));
        }
        sequence.emitted += 1;
        sequence.last_token = now;
    }

    /// The process dies: what is planned or under way comes to nothing, and everybody waits again, first come first served.
    pub(super) fn restart(&mut self, now: Time) {
        self.spend(now);
        (self.short, self.lacks_room) = (false, false);
        if self.flight.take().is_some() {
            let ran = self.ran.pop().expect("the one under way was begun last");
            self.lost += now.since(ran.started);
        }
        (self.next, self.ends) = (None, None);
        self.cache = Cache::new(&self.config.cache);
        let mut here: Vec<usize> = self.running.iter().chain(&self.waiting).copied().collect();
        here.sort_unstable();
        for id in &here {
            let sequence = &mut self.sequences[*id];
            if self.running.contains(id) {
                self.told.push(Output::Preempted { request: sequence.request });
            }
            (sequence.held, sequence.computed, sequence.sampled) = (Held::default(), 0, None);
            sequence.promised = sequence.emitted;
        }
        self.running.clear();
        self.waiting = here.into();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.flight.is_none() && self.next.is_none()
    }
}
