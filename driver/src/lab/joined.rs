//! One table of settings out of several.

use super::settings::Setting;

/// How many settings there are in all parts.
pub(super) const fn count(parts: &[&[Setting]]) -> usize {
    let (mut all, mut part) = (0, 0);
    while part < parts.len() {
        all += parts[part].len();
        part += 1;
    }
    all
}

/// A constant slice cannot be put together from others in any shorter way.
pub(super) const fn joined<const N: usize>(parts: &[&[Setting]]) -> [Setting; N] {
    let (mut all, mut next) = ([parts[0][0]; N], 0);
    let mut part = 0;
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            (all[next], next, index) = (parts[part][index], next + 1, index + 1);
        }
        part += 1;
    }
    all
}
