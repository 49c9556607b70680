//! Where a request went and why, in the head of its response.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use router::{Decision, Strategy};

/// Says in the response's head where the request went, and why. What the router did not look for is
/// left out.
pub(crate) fn add(headers: &mut HeaderMap, strategy: Strategy, tiers_known: [bool; 3], decision: Option<&Decision>) {
    headers.insert(HeaderName::from_static("x-podlab-strategy"), HeaderValue::from_static(strategy.as_str()));
    let Some(decision) = decision else { return };
    headers.insert(HeaderName::from_static("x-podlab-worker"), HeaderValue::from(decision.worker.0));
    headers.insert(HeaderName::from_static("x-podlab-reason"), HeaderValue::from_static(decision.reason.as_str()));
    let fallback = decision.reason.fallback().map(HeaderValue::from_static);
    headers.extend(fallback.map(|cause| (HeaderName::from_static("x-podlab-fallback"), cause)));
    let [l0, l1, l2] = tiers_known;
    let by_tier = decision.scores.get(decision.worker.index()).and_then(|score| score.matched);
    let counts = [
        ("x-podlab-matched-tokens", decision.matched),
        ("x-podlab-matched-l0-tokens", by_tier.map(|tiers| tiers.l0).filter(|_| l0)),
        ("x-podlab-matched-l1-tokens", by_tier.map(|tiers| tiers.l1).filter(|_| l1)),
        ("x-podlab-matched-l2-tokens", by_tier.map(|tiers| tiers.l2).filter(|_| l2)),
        ("x-podlab-best-tokens", decision.best),
    ];
    for (name, tokens) in counts {
        headers.extend(tokens.map(|tokens| (HeaderName::from_static(name), HeaderValue::from(tokens.0))));
    }
    let age = decision.age.map(|age| format!("{:.3}", age.as_millis_f64()));
    let age = age.and_then(|age| HeaderValue::try_from(age).ok());
    headers.extend(age.map(|age| (HeaderName::from_static("x-podlab-age-ms"), age)));
}
