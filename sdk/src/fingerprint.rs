//! Makes fingerprints: what lets two runs know the same finding although lines have moved.

use crate::file::sha256_hex;

/// How many hexadecimal digits of the hash a fingerprint keeps. 128 bits: far beyond chance collisions among the
/// thousand findings of an answer.
const DIGITS: usize = 32;

/// Makes the fingerprint of a finding from its rule, the file, what it is about, and its number among equals.
///
/// White space in the content is evened out, so that re-indenting keeps the fingerprint. The first of several equals
/// has number 0, which does not show: adding an equal further down leaves the first as it was.
pub(crate) fn fingerprint(
    rule: &str,
    path: Option<&str>,
    content: &str,
    occurrence: u32,
) -> String {
    let content: Vec<&str> = content.split_whitespace().collect();
    let path = path.unwrap_or_default();
    // NUL cannot stand in a rule or path, so the parts cannot run into each other.
    let digest = sha256_hex(format!("{rule}\0{path}\0{}", content.join(" ")).as_bytes());
    let digest = &digest[..DIGITS];
    if occurrence == 0 {
        format!("{rule}:{digest}")
    } else {
        format!("{rule}:{digest}:{occurrence}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_does_not_matter_and_everything_else_does() {
        let base = fingerprint("HC01", Some("compose.yml"), "image: postgres", 0);

        assert_eq!(fingerprint("HC01", Some("compose.yml"), "  image:\n\tpostgres ", 0), base);
        assert_ne!(fingerprint("HC02", Some("compose.yml"), "image: postgres", 0), base);
        assert_ne!(fingerprint("HC01", Some("other.yml"), "image: postgres", 0), base);
        assert_ne!(fingerprint("HC01", None, "image: postgres", 0), base);
        assert_ne!(fingerprint("HC01", Some("compose.yml"), "image: mysql", 0), base);
        assert_ne!(fingerprint("HC01", Some("compose.yml"), "image: postgres", 1), base);
    }
}
