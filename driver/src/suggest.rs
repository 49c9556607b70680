//! What was probably meant: the nearest known word.

/// Words at least this alike count as near even where many letters are missing ("tiered" for "tieredstorage").
const ALIKE: f64 = 0.87;

/// The known word nearest to `word`, if any is near enough to be worth proposing.
///
/// Case, hyphens and underscores do not count, since they are what people most often get wrong. Ties go to the first.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(word);
    if plain.is_empty() {
        return None;
    }
    let budget = (plain.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter_map(|candidate| {
            let other = self::plain(candidate);
            let distance = strsim::damerau_levenshtein(&plain, &other);
            let near = distance <= budget || strsim::jaro_winkler(&plain, &other) >= ALIKE;
            near.then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "x"?`, or nothing.
pub(crate) fn clause<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"))
}

fn plain(word: &str) -> String {
    // Distances are quadratic in the length, and no known word comes near this length.
    word.chars().take(100).filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}
