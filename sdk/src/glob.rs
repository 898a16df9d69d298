//! Globs as the contract defines them, for plugins that sieve paths themselves (an `exclude` parameter, say) and for
//! the fake target.

use std::fmt;

/// A pattern for paths: `*` and `?` within one part, `[abc]`, `[a-z]`, `[!abc]`, `{one,two}`, and `**` as a whole part
/// for any number of directories.
///
/// ```
/// let glob = caelum_sdk::Glob::new("**/*.{yml,yaml}").expect("a glob");
/// assert!(glob.matches("compose.yml") && glob.matches("deploy/app.yaml"));
/// assert!(!glob.matches("compose.json"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// One entry for each way to choose among the braces; each is the parts between the slashes.
    alternatives: Vec<Vec<Part>>,
}

/// Why a text is no glob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobError {
    /// A `[` or `{` has no end; holds the character.
    Unclosed(char),
    /// Braces stand inside braces, or a class is empty.
    Malformed,
    /// The braces make more than [`Glob::ALTERNATIVES_MAX`] combinations.
    TooMany,
}

impl fmt::Display for GlobError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed(what) => write!(formatter, "`{what}` is not closed"),
            Self::Malformed => {
                formatter.write_str("braces stand inside braces, or a class is empty")
            }
            Self::TooMany => write!(
                formatter,
                "the braces make more than {} combinations",
                Glob::ALTERNATIVES_MAX
            ),
        }
    }
}

impl std::error::Error for GlobError {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    AnyDirectories,
    Name(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(char),
    Any,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// How many combinations braces may make. Each is matched in turn, so this bounds the work for one path.
    pub const ALTERNATIVES_MAX: usize = 256;

    /// Reads a glob.
    ///
    /// # Errors
    /// Whatever makes the text no glob, see [`GlobError`].
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let alternatives = expand(pattern)?;
        Ok(Self {
            alternatives: alternatives.iter().map(|one| parse(one)).collect::<Result<_, _>>()?,
        })
    }

    /// Answers whether a whole path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<Vec<char>> = path.split('/').map(|name| name.chars().collect()).collect();
        self.alternatives.iter().any(|parts| matches_parts(parts, &names))
    }
}

/// Writes out every choice among the braces.
fn expand(pattern: &str) -> Result<Vec<String>, GlobError> {
    let mut done = vec![String::new()];
    let mut rest = pattern;
    while let Some(open) = rest.find(['{', '[']) {
        let (literal, from) = rest.split_at(open);
        let (choices, after) = if from.starts_with('[') {
            // A class is one piece here: braces inside it are characters.
            let end = class_end(from).ok_or(GlobError::Unclosed('['))?;
            (vec![&from[..=end]], &from[end + 1..])
        } else {
            let end = from.find('}').ok_or(GlobError::Unclosed('{'))?;
            let inner = &from[1..end];
            if inner.contains('{') {
                return Err(GlobError::Malformed);
            }
            (inner.split(',').collect(), &from[end + 1..])
        };
        if done.len() * choices.len() > Glob::ALTERNATIVES_MAX {
            return Err(GlobError::TooMany);
        }
        done = done
            .iter()
            .flat_map(|start| choices.iter().map(move |choice| format!("{start}{literal}{choice}")))
            .collect();
        rest = after;
    }
    Ok(done.into_iter().map(|start| start + rest).collect())
}

/// Returns where the class ends that the text begins with. A `]` right after `[` or `[!` is a member.
fn class_end(text: &str) -> Option<usize> {
    let skipped = if text.starts_with("[!") { 3 } else { 2 };
    let start = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
    text[start..].find(']').map(|at| start + at)
}

fn parse(pattern: &str) -> Result<Vec<Part>, GlobError> {
    // A slash inside a class would split it; no name holds a slash, so such a class is simply unclosed.
    pattern
        .split('/')
        .map(|part| if part == "**" { Ok(Part::AnyDirectories) } else { parse_name(part) })
        .collect()
}

fn parse_name(part: &str) -> Result<Part, GlobError> {
    let mut pieces = Vec::new();
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let mut taken = first.len_utf8();
        match first {
            // Two stars in a row within a name mean the same as one.
            '*' if pieces.last() == Some(&Piece::Many) => {}
            '*' => pieces.push(Piece::Many),
            '?' => pieces.push(Piece::Any),
            '[' => {
                let end = class_end(rest).ok_or(GlobError::Unclosed('['))?;
                pieces.push(parse_class(&rest[1..end])?);
                taken = end + 1;
            }
            literal => pieces.push(Piece::Literal(literal)),
        }
        rest = &rest[taken..];
    }
    Ok(Part::Name(pieces))
}

fn parse_class(inner: &str) -> Result<Piece, GlobError> {
    let (negated, members) = match inner.strip_prefix('!') {
        Some(members) => (true, members),
        None => (false, inner),
    };
    let members: Vec<char> = members.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < members.len() {
        let is_range = members.get(at + 1) == Some(&'-') && at + 2 < members.len();
        ranges.push((members[at], if is_range { members[at + 2] } else { members[at] }));
        at += if is_range { 3 } else { 1 };
    }
    if ranges.is_empty() { Err(GlobError::Malformed) } else { Ok(Piece::Class { negated, ranges }) }
}

fn matches_parts(parts: &[Part], names: &[Vec<char>]) -> bool {
    // `reached[n]` tells whether the parts so far can have taken the first n names: linear in parts × names, so a
    // hostile row of `**` costs nothing more.
    let mut reached = vec![false; names.len() + 1];
    reached[0] = true;
    for part in parts {
        let mut next = vec![false; names.len() + 1];
        match part {
            Part::AnyDirectories => {
                let mut any = false;
                for (taken, before) in reached.iter().enumerate() {
                    any |= before;
                    next[taken] = any;
                }
            }
            Part::Name(pieces) => {
                for (taken, name) in names.iter().enumerate() {
                    next[taken + 1] = reached[taken] && matches_name(pieces, name);
                }
            }
        }
        reached = next;
    }
    reached[names.len()]
}

fn matches_name(pieces: &[Piece], name: &[char]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for piece in pieces {
        let mut next = vec![false; name.len() + 1];
        if piece == &Piece::Many {
            let mut any = false;
            for (taken, before) in reached.iter().enumerate() {
                any |= before;
                next[taken] = any;
            }
        } else {
            for (taken, character) in name.iter().enumerate() {
                next[taken + 1] = reached[taken] && matches_one(piece, *character);
            }
        }
        reached = next;
    }
    reached[name.len()]
}

fn matches_one(piece: &Piece, character: char) -> bool {
    match piece {
        Piece::Literal(literal) => *literal == character,
        Piece::Any | Piece::Many => true,
        Piece::Class { negated, ranges } => {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_the_contract_says() {
        let table = [
            ("Dockerfile", "Dockerfile", true),
            ("Dockerfile", "app/Dockerfile", false),
            ("**/Dockerfile", "Dockerfile", true),
            ("**/Dockerfile", "a/b/Dockerfile", true),
            ("*.yml", "a.yml", true),
            ("*.yml", "a/b.yml", false),
            ("*.yml", ".yml", true),
            ("**/*.{yml,yaml}", "k8s/a.yaml", true),
            ("{a,b}/**", "b/c/d", true),
            ("{a,b}/**", "c/c", false),
            ("src/**/x?.rs", "src/x1.rs", true),
            ("src/**/x?.rs", "src/a/b/x.rs", false),
            ("[a-c]*[!0-9]", "bat", true),
            ("[a-c]*[!0-9]", "bat1", false),
            ("[]x]", "]", true),
            ("[!]]", "a", true),
            ("[{]a", "{a", true),
            ("a**b", "axxb", true),
            ("**", "any/thing", true),
            ("ä?", "äö", true),
            ("", "a", false),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(
                Glob::new(pattern).expect(pattern).matches(path),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn text_that_is_no_glob_is_refused() {
        assert_eq!(Glob::new("a{b"), Err(GlobError::Unclosed('{')));
        assert_eq!(Glob::new("a[b"), Err(GlobError::Unclosed('[')));
        assert_eq!(Glob::new("[!"), Err(GlobError::Unclosed('[')));
        assert_eq!(Glob::new("["), Err(GlobError::Unclosed('[')));
        assert_eq!(Glob::new("{a,{b,c}}"), Err(GlobError::Malformed));
        assert_eq!(Glob::new(&"{a,b}".repeat(9)), Err(GlobError::TooMany));
    }

    #[test]
    fn hostile_stars_are_matched_in_linear_time() {
        let glob = Glob::new(&format!("{}b", "*a".repeat(200))).expect("a glob");

        assert!(!glob.matches(&"a".repeat(2_000)));
    }
}
