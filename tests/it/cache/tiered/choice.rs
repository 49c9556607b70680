//! Load, or compute again, as one would write it down: every end is weighed, and what loads and questions took is kept in
//! plain numbers.

use super::super::host::model::Object;
use super::super::prompts::Chance;
use super::model::{Ask, tokens_of};
use super::settings::costs;
use kvcache::{Choice, LoadMode, RequestId, Span, TierConfig, TierCost};

/// What is where: the device has `device` tokens, L1 objects `from..host`, L2 perhaps `host..end`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    pub(super) device: u32,
    pub(super) from: usize,
    pub(super) host: usize,
    pub(super) end: usize,
}

impl Reach {
    /// Tokens that need not be computed once objects before `to` are loaded.
    pub(super) fn cached(&self, ask: Ask<'_>, to: usize) -> u32 {
        tokens_of(ask.objects, to).min(ask.total - 1).max(self.device)
    }

    /// Tokens that are loaded for that, from L1 and from L2.
    fn moved(&self, ask: Ask<'_>, to: usize) -> (u32, u32) {
        let (upper, lower) = (&ask.objects[self.from..self.host.min(to)], &ask.objects[self.host.min(to)..to]);
        (tokens_of(upper, upper.len()), tokens_of(lower, lower.len()))
    }
}

/// Who decides, and what he has seen.
pub(super) struct Judge {
    choice: Choice,
    overlapped: bool,
    /// Fewer tokens are not worth a load.
    least: u32,
    /// Permille of the expected duration: L1, L2.
    pace: (u64, u64),
    /// Permille of the questions that were of use.
    useful: u64,
    /// How long it took to learn that the pool has nothing.
    wasted: Option<u64>,
}

impl Judge {
    pub(super) fn new(tiers: Option<TierConfig>) -> Self {
        let (choice, least) = tiers.map_or((Choice::Never, 0), |tiers| (tiers.choice, tiers.min_retrieve.0));
        let overlapped = tiers.is_some_and(|tiers| tiers.load == LoadMode::Overlapped);
        Self { choice, overlapped, least, pace: (1000, 1000), useful: 125, wasted: None }
    }

    /// Picoseconds gained by a load that ends there, expected from what loads have taken.
    fn gain(&self, ask: Ask<'_>, reach: Reach, to: usize) -> i128 {
        let (had, cached) = (reach.device, reach.cached(ask, to));
        let costs = match self.choice {
            Choice::Never => return 0,
            Choice::Always => return i128::from(cached),
            Choice::ByCost(costs) => costs,
        };
        let (new, pairs) =
            (i128::from(cached - had), (u64::from(had)..u64::from(cached)).map(|at| 2 * at + 1).sum::<u64>());
        let computing =
            new * i128::from(costs.new_token.0) + i128::from(pairs / 2) * i128::from(costs.pairs_1024.0) / 1024;
        // Of those who wait, whom the engine could serve meanwhile, a quarter counts.
        let others = if self.overlapped { ask.others } else { 0 };
        let computing = computing * i128::from(4 + others) / 4;
        let loading = |cost: TierCost, tokens: u32, pace: u64| match tokens {
            0 => 0,
            _ => {
                let moving = i128::from(cost.per_token.0) * i128::from(tokens);
                (i128::from(cost.fixed.0) + moving) * i128::from(pace) / 1000
            }
        };
        let (from_host, from_pool) = reach.moved(ask, to);
        computing - loading(costs.host, from_host, self.pace.0) - loading(costs.pool, from_pool, self.pace.1)
    }

    /// Whether a load that ends there brings as much as a load must.
    fn is_enough(&self, ask: Ask<'_>, reach: Reach, to: usize) -> bool {
        let cached = reach.cached(ask, to);
        to > reach.from && cached > reach.device && cached - reach.device >= self.least
    }

    /// The gain of a load that may be; `None`: it may not.
    fn worth(&self, ask: Ask<'_>, reach: Reach, to: usize) -> Option<i128> {
        let gain = self.gain(ask, reach, to);
        (self.is_enough(ask, reach, to) && gain > 0).then_some(gain)
    }

    /// How long to wait for an answer: a quarter of what there is to be gained, where that, as often as answers are of use,
    /// is more than it takes to learn that there is nothing.
    pub(super) fn patience(&self, ask: Ask<'_>, reach: Reach) -> Option<Span> {
        let Choice::ByCost(costs) = self.choice else { return Some(Span::from_secs(3)) };
        let worth = |to: usize| self.worth(ask, reach, to).unwrap_or(0);
        let gain = (worth(reach.end) - worth(reach.host)).max(0);
        let wasted = self.wasted.unwrap_or(costs.pool.fixed.0);
        let worth_it = gain * i128::from(self.useful) / 1000 > i128::from(wasted);
        worth_it.then(|| Span(u64::try_from(gain / 4).expect("it fits")))
    }

    /// All of what L1 has, or that and all of what L2 has, or nothing: whichever gains most.
    pub(super) fn decide(&self, ask: Ask<'_>, reach: Reach) -> Option<usize> {
        let mut best: Option<(i128, usize)> = None;
        for to in [reach.host, reach.end] {
            if let Some(gain) = self.worth(ask, reach, to)
                && best.is_none_or(|(most, _)| gain >= most)
            {
                best = Some((gain, to));
            }
        }
        let most = best.map_or(0, |(gain, _)| gain);
        self.weigh_every_end(ask, reach, most);
        best.map(|(_, to)| to)
    }

    /// Asserts that no end gains more, but for what the one token costs that is computed in any case. From the device's
    /// end to L1's, and from there to L2's, the gain is convex: attention makes later tokens dearer to compute, and each
    /// is as dear to move. It begins at nothing or less, and at L1's end it falls by what L2 takes however little it is.
    ///
    /// Not so where what L1 has is too little for a load: then an end in L2's part may live off the gain of what L1 has,
    /// with tokens of L2 at a loss that only lift it over the threshold. Whoever sets one does not want that. Counts such
    /// ends.
    fn weigh_every_end(&self, ask: Ask<'_>, reach: Reach, most: i128) -> u32 {
        let Reach { from, host, end, .. } = reach;
        let mut over_the_threshold = 0;
        for to in (from + 1..=end).filter(|to| self.is_enough(ask, reach, *to)) {
            let gain = self.gain(ask, reach, to);
            if gain > most + self.dearest_token(ask) {
                let lives_off_the_host = host > from && gain <= self.gain(ask, reach, host);
                let too_little = to > host && !self.is_enough(ask, reach, host) && lives_off_the_host;
                assert!(too_little, "a load to {to} gains {gain}, more than {most}: {reach:?}");
                over_the_threshold += 1;
            }
        }
        over_the_threshold
    }

    /// What computing the last token takes at most, counted as often as somebody waits for it.
    fn dearest_token(&self, ask: Ask<'_>) -> i128 {
        let Choice::ByCost(costs) = self.choice else { return 0 };
        let others = if self.overlapped { ask.others } else { 0 };
        let dearest = costs.new_token.0 + u64::from(ask.total) * costs.pairs_1024.0 / 1024 + 2;
        i128::from(dearest) * i128::from(4 + others) / 4 + 1
    }

    /// Something was not loaded: what is not tried is not learnt about.
    pub(super) fn forget(&mut self) {
        self.pace.0 -= self.pace.0.saturating_sub(1000) / 64;
        self.pace.1 -= self.pace.1.saturating_sub(1000) / 64;
    }

    /// The pool was asked for a request that begins, and that was of use, or not.
    pub(super) fn asked(&mut self, useful: bool) {
        self.useful = ((3 * self.useful + if useful { 1000 } else { 0 }) / 4).max(8);
    }

    /// A request begins for which nobody was asked.
    pub(super) fn asked_nobody(&mut self) {
        if let Some(wasted) = &mut self.wasted {
            *wasted -= *wasted / 128;
        }
    }

    /// The pool has nothing, or does not say.
    pub(super) fn learnt_nothing(&mut self, took: Span) {
        let Choice::ByCost(costs) = self.choice else { return };
        let before = self.wasted.unwrap_or(costs.pool.fixed.0);
        self.wasted = Some((3 * before + took.0) / 4);
    }

    /// What a load of so many tokens took, against what was expected of it with nobody else on the way.
    pub(super) fn saw(&mut self, (from_host, from_pool): (u32, u32), whole: bool, took: Span) {
        let Choice::ByCost(costs) = self.choice else { return };
        let of = |cost: TierCost, tokens: u32| {
            if tokens > 0 { cost.fixed.0 + cost.per_token.0 * u64::from(tokens) } else { 0 }
        };
        let Some(ratio) = (took.0 * 1000).checked_div(of(costs.host, from_host) + of(costs.pool, from_pool)) else {
            return;
        };
        let ratio = ratio.min(100_000);
        let pace = if from_pool > 0 { &mut self.pace.1 } else { &mut self.pace.0 };
        if whole || ratio > *pace {
            *pace = (3 * *pace + ratio) / 4;
        }
    }
}

/// No history is needed for that: costs, paces, thresholds and what is where, by chance.
#[test]
fn no_end_inside_a_tier_gains_more() {
    let mut chance = Chance::new(14);
    let (mut inside, mut over_the_threshold) = (0, 0);
    for _ in 0..40_000 {
        let chunk = chance.within(1, 20);
        let mut objects: Vec<Object> = (0..chance.within(1, 9)).map(|name| (name as usize, chunk.into())).collect();
        let end = objects.len() as u32;
        if let Some(last) = objects.last_mut()
            && chance.percent(30)
        {
            last.1 = chance.within(1, chunk).into();
        }
        let tokens = tokens_of(&objects, objects.len());
        let total = tokens + chance.below(2) * chance.below(2 * chunk);
        let device = chance.below(tokens.min(total - 1) + 1);
        let from = (device / chunk).min(end);
        let host = chance.within(from, end);
        let ask = Ask { request: RequestId(1), names: &[], objects: &objects, prompt: tokens, total, others: 0 };
        let reach = Reach { device, from: from as usize, host: host as usize, end: end as usize };
        let pace = (u64::from(chance.within(500, 3000)), u64::from(chance.within(500, 3000)));
        let least = if chance.percent(50) { 0 } else { chance.below(4 * chunk) };
        let judge = Judge { choice: Choice::ByCost(costs(&mut chance)), least, pace, ..Judge::new(None) };
        let decided = judge.decide(ask, reach);
        inside += u32::from(decided.is_some() && end > from + 1);
        let most = decided.map_or(0, |to| judge.gain(ask, reach, to));
        let over = judge.weigh_every_end(ask, reach, most);
        assert!(least > 0 || over == 0, "where there is no threshold, nothing is lifted over it");
        over_the_threshold += over;
    }
    assert!(inside > 5000 && over_the_threshold > 20, "{inside} choices, {over_the_threshold} ends over a threshold");
}
