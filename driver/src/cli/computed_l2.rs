//! L2 in a Redis, for workers that compute: where it is, and how it is asked.

use super::super::warn;
use crate::endpoint::Endpoint;
use crate::experiment::Assembled;
use crate::failure::Failure;
use crate::l2::{Place, Remote, Terms};
use kvcache::{Backend, Span};
use std::time::Duration;

/// The variable that names it, before all else: it may hold a password.
const VARIABLE: &str = "REDIS_URL";
/// How long a Redis may say nothing, unless `l2.silence` is set.
const SILENCE: Span = Span::from_millis(20);
/// How often it is tried whether it is back, unless `l2.breaker_probe` is set.
const PROBE: Span = Span::from_secs(2);

/// The Redis that the endpoint file or the settings ask for; `None`: L2 is a pool of this process, or there is none.
/// `is_set` says which settings somebody set.
pub(super) fn remote(
    endpoint: &Endpoint,
    assembled: &mut Assembled,
    is_set: &dyn Fn(&str) -> bool,
) -> Result<Option<Remote>, Failure> {
    let variable = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    let access = assembled.transport.as_mut().and_then(|ways| ways.pool.as_mut());
    let (Some(tiers), Some(access)) = (assembled.engine.tiers.as_mut().filter(|tiers| tiers.pool), access) else {
        return Ok(None);
    };
    if access.pool.backend != Backend::Redis {
        if variable.is_some() {
            warn(&format!(
                "warning: {VARIABLE} is set and not used: L2 is tieredstorage; --set l2.backend=redis asks it"
            ));
        }
        return Ok(None);
    }
    let (url, named_by) = match (variable, &endpoint.l2_url) {
        (Some(url), _) => (url, VARIABLE),
        (None, Some(url)) => (url.clone(), "spec.kvCacheSpec.l2CacheSpec.l2CacheLocalUrl"),
        (None, None) => {
            warn(&format!(
                "warning: L2 is redis, and nobody says where: it is a pool of this process; set {VARIABLE}, or l2CacheLocalUrl in \
                 the endpoint file"
            ));
            return Ok(None);
        }
    };
    let place = Place::parse(&url).map_err(|error| Failure::Invalid(format!("{named_by} {error}")))?;
    if !is_set("l2.silence") {
        tiers.breaker.silence = SILENCE;
    }
    if !is_set("l2.breaker_probe") {
        tiers.breaker.probe_every = PROBE;
    }
    let wall = |span: Span| Duration::from_secs_f64(span.as_secs_f64());
    let terms = Terms {
        silence: wall(tiers.breaker.silence),
        in_flight: access.in_flight as usize,
        ttl: access.pool.ttl.map(wall),
    };
    warn(&format!("L2: redis at {place}, by {named_by}; shared with all who serve this model from there"));
    let remote = Remote::new(place, terms, warn);
    remote.map(Some).map_err(|error| Failure::Failed(format!("cannot start L2's thread: {error}")))
}
