//! A duration by one quantity: straight lines between the points that were measured.

use super::InvalidProfile;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Points in rising order, at least one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// The sum of some parts, each so many times. Parts need not be measured at the same points: the sum has a point where
    /// one of them has, as far as all reach. `None`: a part, or all of them, were not measured.
    pub(super) fn sums(
        rows: &[(String, u64, f64)],
        names: &[&str],
        times: impl Fn(&str) -> f64,
    ) -> Result<Option<Self>, InvalidProfile> {
        let mut parts = Vec::new();
        for name in names {
            let Some(part) = Self::of(rows, name)? else { return Ok(None) };
            parts.push((times(name), part));
        }
        let Some(last) = parts.iter().map(|(_, part)| part.last()).reduce(f64::min) else { return Ok(None) };
        let mut at: Vec<f64> = parts.iter().flat_map(|(_, part)| part.points.iter().map(|(x, _)| *x)).collect();
        at.retain(|x| *x <= last);
        at.sort_unstable_by(f64::total_cmp);
        at.dedup();
        let sum = |x: f64| parts.iter().map(|(times, part)| times * part.at(x)).sum();
        Ok(Some(Self { points: at.into_iter().map(|x| (x, sum(x))).collect() }))
    }

    fn of(rows: &[(String, u64, f64)], name: &str) -> Result<Option<Self>, InvalidProfile> {
        let mut points = Vec::new();
        for (_, at, time) in rows.iter().filter(|(of, ..)| of == name) {
            if !(time.is_finite() && *time > 0.0) {
                return Err(InvalidProfile::Time { what: format!("{name} at {at}"), time: time.to_string() });
            }
            points.push((*at as f64, *time));
        }
        points.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        if let Some(pair) = points.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(InvalidProfile::Twice(format!("{name} at {}", pair[0].0)));
        }
        Ok(if points.is_empty() { None } else { Some(Self { points }) })
    }

    pub(super) fn scale(&mut self, factor: f64) {
        for (_, time) in &mut self.points {
            *time *= factor;
        }
    }

    fn last(&self) -> f64 {
        self.points[self.points.len() - 1].0
    }

    pub(super) fn is_beyond(&self, x: f64) -> bool {
        x > self.last()
    }

    /// The duration at `x`: below the first point as long as there (a kernel of one token reads as many weights), above the
    /// last one in proportion to it.
    pub(super) fn at(&self, x: f64) -> f64 {
        let above = self.points.partition_point(|(at, _)| *at < x);
        match (above.checked_sub(1).map(|below| self.points[below]), self.points.get(above)) {
            (None, first) => first.map_or(0.0, |(_, time)| *time),
            (Some((last, time)), None) => time * x / last,
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        }
    }
}
