//! The set-up of a desk, as the first line of a log. Times are picoseconds.

use kvcache::{Span, TierCost, Time, Tokens};
use router::{
    DeskConfig, Forecast, HealthConfig, IndexConfig, Kept, Loading, LowerTiers, RetryConfig, RouterConfig, Strategy,
    TierCredits,
};
use serde::{Deserialize, Serialize};

/// What such a line says that it is.
const KIND: &str = "gateway-decisions";
const VERSION: u32 = 1;
/// Tokens of a block or chunk.
const LARGEST_UNIT: u32 = 1 << 20;
/// Of so many parts is the smallest that an index gets of the limit.
const PARTS: u64 = 8;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetUp {
    podlab: String,
    version: u32,
    router: RouterLine,
    health: [u64; 4],
    retries: [u64; 4],
    forecast: Option<ForecastLine>,
    learns: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouterLine {
    strategy: String,
    workers: u16,
    seed: u64,
    block: u32,
    chunk: u32,
    prefix_min_match: u32,
    kv_aware_threshold: u32,
    lmcache_chunk: u32,
    qps_window: u64,
    index_limit: u64,
    load_slack: u32,
    load_bound: u32,
    credits: [u16; 3],
    context_weight: u16,
    externality: u16,
    lost_again: u16,
    speculative: u64,
    guessed: Option<(u64, Option<u64>)>,
    silence: Option<u64>,
    lower: Option<(u32, Option<u64>, Option<u64>)>,
    strands: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForecastLine {
    fixed: u64,
    least: u64,
    per_new_token: u64,
    per_1024_pairs: u64,
    per_context_token: u64,
    pass: u32,
    l1: [u64; 2],
    l2: [u64; 2],
    loading: String,
    capacity: u64,
    as_of: u64,
}

const LOADING: [(&str, Loading); 3] =
    [("always", Loading::Always), ("never", Loading::Never), ("where-faster", Loading::WhereFaster)];

impl SetUp {
    pub(super) fn of(config: &DeskConfig) -> Self {
        let DeskConfig { router, health, retries, forecast, learns } = *config;
        let HealthConfig { failures, open, open_most, probe_lost } = health;
        let RetryConfig { attempts, percent, per_second, window } = retries;
        Self {
            podlab: KIND.to_owned(),
            version: VERSION,
            router: RouterLine::of(&router),
            health: [failures.into(), open.0, open_most.0, probe_lost.0],
            retries: [attempts.into(), percent.into(), per_second.into(), window.0],
            forecast: forecast.map(|forecast| ForecastLine::of(&forecast)),
            learns,
        }
    }

    /// The set-up that it tells.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn config(&self) -> Result<DeskConfig, String> {
        if (self.podlab.as_str(), self.version) != (KIND, VERSION) {
            return Err(format!("it is no log of decisions of version {VERSION}"));
        }
        let small = |number: u64| u32::try_from(number).map_err(|_| format!("{number} is too large a number"));
        let [failures, open, open_most, probe_lost] = self.health;
        let [attempts, percent, per_second, window] = self.retries;
        let health = HealthConfig {
            failures: small(failures)?,
            open: Span(open),
            open_most: Span(open_most),
            probe_lost: Span(probe_lost),
        };
        let retries = RetryConfig {
            attempts: small(attempts)?,
            percent: small(percent)?,
            per_second: small(per_second)?,
            window: Span(window),
        };
        let is_sound = failures > 0 && 0 < open && open <= open_most && probe_lost > 0 && attempts > 0 && window >= 10;
        if !is_sound {
            return Err("no breakers and no budget are set up like that".to_owned());
        }
        let forecast = self.forecast.as_ref().map(ForecastLine::forecast).transpose()?;
        Ok(DeskConfig { router: self.router.config()?, health, retries, forecast, learns: self.learns })
    }
}

impl RouterLine {
    fn of(config: &RouterConfig) -> Self {
        let RouterConfig {
            strategy,
            workers,
            seed,
            block,
            chunk,
            prefix_min_match,
            kv_aware_threshold,
            lmcache_chunk,
            qps_window,
            index_limit,
            load_slack,
            load_bound,
            credits: TierCredits { l0, l1, l2 },
            context_weight,
            externality,
            lost_again,
            speculative,
            guessed,
            silence,
            lower,
            strands,
        } = *config;
        Self {
            strategy: strategy.as_str().to_owned(),
            workers,
            seed,
            block: block.0,
            chunk: chunk.0,
            prefix_min_match: prefix_min_match.0,
            kv_aware_threshold: kv_aware_threshold.0,
            lmcache_chunk: lmcache_chunk.0,
            qps_window: qps_window.0,
            index_limit,
            load_slack,
            load_bound,
            credits: [l0, l1, l2],
            context_weight,
            externality,
            lost_again,
            speculative: speculative.0,
            guessed: guessed.map(|Kept { tokens, ttl }| (tokens, ttl.map(|ttl| ttl.0))),
            silence: silence.map(|silence| silence.0),
            lower: lower.map(|LowerTiers { chunk, l1, l2 }| (chunk.0, l1, l2)),
            strands,
        }
    }

    fn config(&self) -> Result<RouterConfig, String> {
        let strategy: Strategy = self.strategy.parse().map_err(|error| format!("failed to {error}"))?;
        let lower = self.lower.map(|(chunk, ..)| chunk);
        let units = [Some(self.block), Some(self.chunk), Some(self.lmcache_chunk), lower];
        // Positions are rounded up to the end of a unit, in 32 bits.
        if self.workers == 0 || units.into_iter().flatten().any(|unit| unit == 0 || unit > LARGEST_UNIT) {
            return Err(format!("there is no worker, or a block or chunk is not of 1 to {LARGEST_UNIT} tokens"));
        }
        // What is stored in several indexes has a part of it in each.
        let least = PARTS * IndexConfig::least(self.workers);
        if self.index_limit < least {
            return Err(format!("an index of {} bytes; it takes at least {least}", self.index_limit));
        }
        let [l0, l1, l2] = self.credits;
        Ok(RouterConfig {
            seed: self.seed,
            block: Tokens(self.block),
            chunk: Tokens(self.chunk),
            prefix_min_match: Tokens(self.prefix_min_match),
            kv_aware_threshold: Tokens(self.kv_aware_threshold),
            lmcache_chunk: Tokens(self.lmcache_chunk),
            qps_window: Span(self.qps_window),
            index_limit: self.index_limit,
            load_slack: self.load_slack,
            load_bound: self.load_bound,
            credits: TierCredits { l0, l1, l2 },
            context_weight: self.context_weight,
            externality: self.externality,
            lost_again: self.lost_again,
            speculative: Span(self.speculative),
            guessed: self.guessed.map(|(tokens, ttl)| Kept { tokens, ttl: ttl.map(Span) }),
            silence: self.silence.map(Span),
            lower: self.lower.map(|(chunk, l1, l2)| LowerTiers { chunk: Tokens(chunk), l1, l2 }),
            strands: self.strands,
            ..RouterConfig::new(strategy, self.workers)
        })
    }
}

impl ForecastLine {
    fn of(forecast: &Forecast) -> Self {
        let Forecast {
            fixed,
            least,
            per_new_token,
            per_1024_pairs,
            per_context_token,
            pass,
            l1,
            l2,
            loading,
            capacity,
            as_of,
        } = *forecast;
        let cost = |TierCost { fixed, per_token }: TierCost| [fixed.0, per_token.0];
        let name = LOADING.iter().find(|(_, one)| *one == loading).map(|(name, _)| *name).unwrap_or_default();
        Self {
            fixed: fixed.0,
            least: least.0,
            per_new_token: per_new_token.0,
            per_1024_pairs: per_1024_pairs.0,
            per_context_token: per_context_token.0,
            pass: pass.0,
            l1: cost(l1),
            l2: cost(l2),
            loading: name.to_owned(),
            capacity,
            as_of: as_of.0,
        }
    }

    fn forecast(&self) -> Result<Forecast, String> {
        let cost = |[fixed, per_token]: [u64; 2]| TierCost { fixed: Span(fixed), per_token: Span(per_token) };
        let loading = LOADING.iter().find(|(name, _)| *name == self.loading).map(|(_, one)| *one);
        Ok(Forecast {
            fixed: Span(self.fixed),
            least: Span(self.least),
            per_new_token: Span(self.per_new_token),
            per_1024_pairs: Span(self.per_1024_pairs),
            per_context_token: Span(self.per_context_token),
            pass: Tokens(self.pass),
            l1: cost(self.l1),
            l2: cost(self.l2),
            loading: loading.ok_or_else(|| format!("nobody loads {:?}", self.loading))?,
            capacity: self.capacity,
            as_of: Time(self.as_of),
        })
    }
}
