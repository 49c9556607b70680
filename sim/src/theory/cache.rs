//! Hit rates.
//!
//! All of these hold for prompts of one object each: in a prompt of several, what is behind a missing one counts for nothing,
//! and its tail goes first.

use alloc::vec::Vec;

/// How popular `objects` objects are by Zipf's law: the k-th has a share in proportion to `k^-skew`. They sum to 1.
#[must_use]
pub fn zipf(objects: u32, skew: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=objects).map(|rank| libm::pow(f64::from(rank), -skew)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Hits per request of a cache that drops the least recently used of more than `capacity` objects, under independent requests
/// (IRM) in these `shares`, which may sum to less than 1: then per request of all, of those that come here.
///
/// Che, Tung and Wang 2002 ("Hierarchical Web Caching Systems"), Fagin 1977: an object is there if it was asked for within the
/// characteristic time t, the root of `sum 1 - e^(-p t) = capacity`. An approximation: for hundreds of objects, within a
/// thousandth. Fricker, Robert and Roberts 2012 say why. O(objects) for each of some hundred bisections.
#[must_use]
pub fn lru(shares: &[f64], capacity: f64) -> f64 {
    if capacity >= shares.len() as f64 {
        return shares.iter().sum();
    }
    let held = |time: f64| shares.iter().map(|share| -libm::expm1(-share * time)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while held(high) < capacity && high < 1e18 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if held(middle) < capacity { low = middle } else { high = middle }
    }
    shares.iter().map(|share| share * -libm::expm1(-share * low)).sum()
}

/// The probability that an object is there which is asked for by a Poisson process, `load` times per time to live on average,
/// where each use renews it: that the last use was within the time to live.
///
/// Fofack, Nain, Neglia and Towsley 2012 ("Analysis of TTL-based Cache Networks"), section 3.
#[must_use]
pub fn renewed(load: f64) -> f64 {
    -libm::expm1(-load)
}

/// The same where it lives for that long from when it was written: each miss begins a life, which `load` hits follow on
/// average. Jung, Berger and Balakrishnan 2003 ("Modeling TTL-based Internet Caches").
#[must_use]
pub fn written(load: f64) -> f64 {
    load / (1.0 + load)
}

/// Of each request, how many different objects were asked for since the last one for its object; `None`: it is the first for
/// it. A cache that drops the least recently used of more than n objects hits exactly those below n, so the hits of a smaller
/// one are hits of a larger: inclusion. O(requests x distance).
///
/// Mattson, Gecsei, Slutz and Traiger 1970 ("Evaluation techniques for storage hierarchies").
#[must_use]
pub fn stack_distances(objects: impl Iterator<Item = u64>) -> Vec<Option<usize>> {
    let mut recent: Vec<u64> = Vec::new(); // the latest last
    let distance = |object: u64| {
        let place = recent.iter().rposition(|known| *known == object);
        if let Some(place) = place {
            recent.remove(place);
        }
        recent.push(object);
        place.map(|place| recent.len() - 1 - place)
    };
    objects.map(distance).collect()
}
