//! Near names, for errors that say what the caller may have meant.

/// Returns up to three of `known` that look like `name`, nearest first.
///
/// Two names are near when at most a third of the longer one differs (Damerau-Levenshtein), or when one begins with
/// the other.
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let lowered = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&wanted, &lowered);
            let longest = wanted.chars().count().max(lowered.chars().count());
            let begins =
                wanted.len() >= 3 && (lowered.starts_with(&wanted) || wanted.starts_with(&lowered));
            (begins || distance * 3 <= longest).then_some((distance, candidate))
        })
        .collect();
    scored.sort();
    scored.dedup();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Returns `` did you mean `a` or `b`? `` for near names, or `known: a, b, c` when none is near and few are known.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let near = near(name, known.iter().copied());
    if !near.is_empty() {
        let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
        return Some(format!("did you mean {}?", quoted.join(" or ")));
    }
    (!known.is_empty() && known.len() <= 24).then(|| format!("known: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_name_with_two_letters_swapped() {
        assert_eq!(near("unit-tsets", ["unit-tests", "code-review"]), ["unit-tests"]);
    }

    #[test]
    fn lists_what_is_known_when_nothing_is_near() {
        assert_eq!(
            did_you_mean("zebra", ["unit-tests", "code-review"]).as_deref(),
            Some("known: unit-tests, code-review")
        );
    }
}
