//! How many retries there may be: a share of the requests and a few per second, so that retries are no storm.
//!
//! Linkerd's rule: 20 % of the requests and 10 per second, a request counting for 10 s. Law: within any span of time,
//! retries are at most 20 % of the requests since 10 s before it began, and 10 for each second of it and of those 10 s.
//! From the start on: at most 20 % of the requests, 10 for each second, and 10 with which the budget starts.

use kvcache::{Span, Time};

/// How often requests may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// A request is sent so many times at most, the first time included.
    pub attempts: u32,
    /// For each 100 requests, so many retries.
    pub percent: u32,
    /// And so many per second whatever the requests, so that few requests find retries too.
    pub per_second: u32,
    /// What is not used is lost after so long, or up to a tenth of it earlier.
    pub window: Span,
}

impl Default for RetryConfig {
    /// Linkerd's budget (`retryRatio` 0.2, `minRetriesPerSecond` 10, `ttl` 10 s), and three attempts.
    fn default() -> Self {
        Self { attempts: 3, percent: 20, per_second: 10, window: Span::from_secs(10) }
    }
}

// A retry in units of which one comes in each picosecond at one retry per second: all sums are exact.
const RETRY: u64 = Span::from_secs(1).0;
const PARTS: u64 = 10;

/// The retries that all requests together may still have. All operations are O(1).
#[derive(Clone, Debug)]
pub struct RetryBudget {
    config: RetryConfig,
    reserve: u64, // by the second
    reserve_at: Time,
    deposits: [u64; PARTS as usize], // by the request, for each part of the window
    part: u64,                       // the one at `reserve_at`, counted from the start of the run
    withdrawn: u64,
    refused: u64,
}

impl RetryBudget {
    /// A budget with what comes in within a second.
    ///
    /// # Panics
    /// Where no attempt is allowed, or the window is shorter than its ten parts.
    #[must_use]
    pub const fn new(config: RetryConfig) -> Self {
        assert!(config.attempts > 0, "a request is sent at least once");
        assert!(config.window.0 >= PARTS, "a window has ten parts");
        let mut budget = Self {
            config,
            reserve: 0,
            reserve_at: Time::ZERO,
            deposits: [0; PARTS as usize],
            part: 0,
            withdrawn: 0,
            refused: 0,
        };
        budget.earn(Span(RETRY));
        budget
    }

    /// A request came in. Its retries do not count as requests.
    pub const fn deposit(&mut self, now: Time) {
        self.advance(now);
        let deposit = &mut self.deposits[(self.part % PARTS) as usize];
        *deposit = deposit.saturating_add(self.config.percent as u64 * (RETRY / 100));
    }

    /// Whether there is one more retry; if so, it is used.
    pub fn try_withdraw(&mut self, now: Time) -> bool {
        self.advance(now);
        let deposited = self.deposits.iter().fold(0, |sum: u64, deposit| sum.saturating_add(*deposit));
        if deposited.saturating_add(self.reserve) < RETRY {
            self.refused += 1;
            return false;
        }
        let mut due = RETRY;
        // The oldest first, which would be lost first.
        for part in self.part + 1..=self.part + PARTS {
            let deposit = &mut self.deposits[(part % PARTS) as usize];
            let paid = due.min(*deposit);
            *deposit -= paid;
            due -= paid;
        }
        self.reserve -= due;
        self.withdrawn += 1;
        true
    }

    const fn advance(&mut self, now: Time) {
        self.earn(now.since(self.reserve_at));
        self.reserve_at = now;
        let part = now.0 / (self.config.window.0 / PARTS);
        if part >= self.part + PARTS {
            self.deposits = [0; PARTS as usize];
            self.part = part;
        }
        while self.part < part {
            self.part += 1;
            self.deposits[(self.part % PARTS) as usize] = 0;
        }
    }

    const fn earn(&mut self, span: Span) {
        let rate = self.config.per_second as u64;
        let most = rate.saturating_mul(self.config.window.0);
        let reserve = self.reserve.saturating_add(rate.saturating_mul(span.0));
        self.reserve = if reserve < most { reserve } else { most };
    }

    /// By which numbers.
    #[must_use]
    pub const fn config(&self) -> &RetryConfig {
        &self.config
    }

    /// Retries used so far.
    #[must_use]
    pub const fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    /// Retries refused so far.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}
