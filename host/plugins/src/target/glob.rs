//! Globs over a tree: which directories a pattern can match in, so that a narrow pattern looks at little.

use globset::{GlobBuilder, GlobMatcher};

/// The longest pattern, in bytes; a path has at most as many.
const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern of a plugin's `glob` call.
#[derive(Debug)]
pub(crate) struct TreeGlob {
    matcher: GlobMatcher,
    /// The directory that every match lies in; empty for the root.
    base: String,
    /// How many parts a match has at most.
    depth_max: Option<usize>,
}

impl TreeGlob {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the plugin's author.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!(
                "the pattern has {} bytes; at most {PATTERN_BYTES_MAX}",
                pattern.len()
            ));
        }
        let matcher = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(false)
            .build()
            .map_err(|error| format!("the pattern cannot be parsed: {}", error.kind()))?
            .compile_matcher();
        let literal = |part: &&str| !part.contains(['*', '?', '[', '{', '}']);
        let parts: Vec<&str> = pattern.split('/').collect();
        let directories = &parts[..parts.len() - 1];
        // Braces may hold slashes, and then the parts are not those of the path.
        let base: Vec<&str> = directories.iter().copied().take_while(literal).collect();
        let counted = !pattern.contains("**") && !pattern.contains('{');
        Ok(TreeGlob { matcher, base: base.join("/"), depth_max: counted.then_some(parts.len()) })
    }

    /// The directory to begin at.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether a file matches.
    pub(crate) fn is_match(&self, path: &str) -> bool {
        self.matcher.is_match(path)
    }

    /// Whether something beneath this directory can match.
    pub(crate) fn may_match_beneath(&self, directory: &str) -> bool {
        self.depth_max.is_none_or(|max| directory.split('/').count() < max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_begins_at_its_literal_directories() {
        let base = |pattern| TreeGlob::parse(pattern).expect("a pattern").base().to_owned();

        assert_eq!(base("a/b/*.rs"), "a/b");
        assert_eq!(base("**/Dockerfile"), "");
        assert_eq!(base("Dockerfile"), "");
        assert_eq!(base("a/{b/c,d}/e"), "a");
    }

    #[test]
    fn a_pattern_without_a_double_star_has_a_depth() {
        let glob = TreeGlob::parse("services/*/Dockerfile").expect("a pattern");
        assert!(glob.may_match_beneath("services/a"));
        assert!(!glob.may_match_beneath("services/a/b"));

        let glob = TreeGlob::parse("**/Dockerfile").expect("a pattern");
        assert!(glob.may_match_beneath("a/b/c/d"));
    }

    #[test]
    fn patterns_match_as_the_contract_says() {
        let is_match = |pattern, path| TreeGlob::parse(pattern).expect("a pattern").is_match(path);

        assert!(is_match("*.rs", "main.rs"));
        assert!(!is_match("*.rs", "src/main.rs"));
        assert!(is_match("**/*.rs", "main.rs"));
        assert!(is_match("**/*.rs", "a/b/main.rs"));
        assert!(is_match("a/**/b", "a/b"));
        assert!(is_match("a/**", "a/b/c"));
        assert!(is_match("[!ab]?{.yml,.yaml}", "cd.yaml"));
        assert!(!is_match("[!ab]?{.yml,.yaml}", "ad.yaml"));
        assert!(is_match("*", ".hidden"));
        assert!(!is_match("a", "A"));
    }

    #[test]
    fn a_broken_pattern_says_what_is_wrong() {
        assert_eq!(
            TreeGlob::parse("[a").expect_err("unclosed"),
            "the pattern cannot be parsed: unclosed character class; missing ']'"
        );
        assert_eq!(
            TreeGlob::parse(&"x".repeat(1025)).expect_err("long"),
            "the pattern has 1025 bytes; at most 1024"
        );
    }
}
