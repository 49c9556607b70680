//! Whole numbers of a command line.

/// Reads a whole number from 1 to `most`.
pub(super) fn up_to<T: TryFrom<u64>>(most: u32) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse().ok().filter(|number| (1..=u64::from(most)).contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("a whole number from 1 to {most} is expected"))
    }
}

/// Reads a whole number from 0 on.
pub(super) fn from_zero(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| "a whole number is expected".to_owned())
}
