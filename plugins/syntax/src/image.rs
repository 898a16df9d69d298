//! Names of container images, and `${VAR:-default}` in them.

/// The longest text that comes out of an interpolation. Longer results are given up: defaults can nest.
const EXPANDED_MAX: usize = 4096;

/// The parts of an image's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// Host of the registry, when it is named.
    pub registry: Option<String>,
    /// Everything between registry and tag, such as `library/postgres`.
    pub repository: String,
    /// The tag, when there is one.
    pub tag: Option<String>,
    /// The digest, when there is one.
    pub digest: Option<String>,
}

impl ImageName {
    /// Takes a name apart. Nothing for text that is no name: empty, with blanks, or with a variable left in it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let odd = |letter: char| {
            letter.is_whitespace() || letter.is_control() || "${}<>\"'".contains(letter)
        };
        if text.is_empty() || text.contains(odd) {
            return None;
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (name, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                (Some(host.to_owned()), rest)
            }
            _ => (None, name),
        };
        if repository.is_empty() {
            return None;
        }
        Some(ImageName { registry, repository: repository.to_owned(), tag, digest })
    }

    /// Returns the last part of the repository: `postgres` of `docker.io/library/postgres:16`.
    pub fn short(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }

    /// Returns the name of an official image of Docker Hub, nothing for any other image.
    pub fn official(&self) -> Option<&str> {
        match self.registry.as_deref() {
            None | Some("docker.io" | "index.docker.io" | "registry-1.docker.io") => {}
            // Mirrors of the official images.
            Some("public.ecr.aws") => return self.repository.strip_prefix("docker/library/"),
            Some("mirror.gcr.io") => {}
            Some(_) => return None,
        }
        let name = self.repository.strip_prefix("library/").unwrap_or(&self.repository);
        (!name.contains('/')).then_some(name)
    }

    /// Returns whether a word stands in the tag between its dashes, dots and digits: `alpine` in `3.12-alpine3.20`.
    pub fn tag_has(&self, word: &str) -> bool {
        let Some(tag) = &self.tag else { return false };
        tag.split(|letter: char| !letter.is_ascii_alphabetic()).any(|part| part == word)
    }

    /// Returns the numbers that the tag begins with: `[3, 12]` of `3.12-slim`. Empty for `latest` and no tag.
    pub fn tag_version(&self) -> Vec<u32> {
        let Some(tag) = &self.tag else { return Vec::new() };
        let tag = tag.strip_prefix('v').unwrap_or(tag);
        let end =
            tag.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(tag.len());
        tag[..end].split('.').map_while(|part| part.parse().ok()).collect()
    }
}

/// Puts values in place of `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:+word}` and
/// `${NAME:?message}`; `$$` is a dollar. `lookup` answers what a name stands for.
///
/// Nothing when a name has neither value nor default, or the text is malformed or grows out of bounds.
pub fn interpolate(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    expand(text, lookup, 0)
}

fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize) -> Option<String> {
    if depth > 8 {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = closing(inner)?;
            out.push_str(&braced(&inner[..end], lookup, depth)?);
            rest = &inner[end + 1..];
        } else {
            let end = after.find(|letter: char| !is_name(letter)).unwrap_or(after.len());
            if end == 0 {
                return None;
            }
            out.push_str(&lookup(&after[..end])?);
            rest = &after[end..];
        }
        if out.len() > EXPANDED_MAX {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= EXPANDED_MAX).then_some(out)
}

fn closing(inner: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn braced(inner: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize) -> Option<String> {
    let end = inner.find(|letter: char| !is_name(letter)).unwrap_or(inner.len());
    let (name, operator) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    let value = lookup(name);
    let filled = value.clone().filter(|value| !value.is_empty());
    if operator.is_empty() {
        return value;
    }
    let word = |word: &str| expand(word, lookup, depth + 1);
    if let Some(default) = operator.strip_prefix(":-") {
        return filled.or_else(|| word(default));
    }
    if let Some(default) = operator.strip_prefix('-') {
        return value.or_else(|| word(default));
    }
    if let Some(alternative) = operator.strip_prefix(":+") {
        return if filled.is_some() { word(alternative) } else { Some(String::new()) };
    }
    if let Some(alternative) = operator.strip_prefix('+') {
        return if value.is_some() { word(alternative) } else { Some(String::new()) };
    }
    if operator.starts_with(":?") {
        return filled;
    }
    if operator.starts_with('?') {
        return value;
    }
    None
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let name =
            ImageName::parse("docker.io/library/postgres:15.2-alpine3.19").expect("is a name");
        assert_eq!((name.official(), name.short()), (Some("postgres"), "postgres"));
        assert!(name.tag_has("alpine"));
        assert_eq!(name.tag_version(), [15, 2]);

        let name = ImageName::parse("localhost:5000/team/app@sha256:abc").expect("is a name");
        assert_eq!(name.registry.as_deref(), Some("localhost:5000"));
        assert_eq!((name.official(), name.tag.as_deref()), (None, None));

        for text in ["", "a b", "${X}", "host.example/"] {
            assert_eq!(ImageName::parse(text), None, "{text:?}");
        }
        assert_eq!(ImageName::parse("itzg/minecraft-server").expect("is a name").official(), None);
    }

    #[test]
    fn variables_take_their_value_or_default() {
        let lookup = |name: &str| (name == "TAG").then(|| "16".to_owned());
        assert_eq!(interpolate("pg:${TAG}-$TAG", &lookup).as_deref(), Some("pg:16-16"));
        assert_eq!(
            interpolate("${R:-docker.io/${N:-x}}/a", &lookup).as_deref(),
            Some("docker.io/x/a")
        );
        assert_eq!(interpolate("a$$b", &lookup).as_deref(), Some("a$b"));
        assert_eq!(interpolate("${TAG:+yes}${NO:+no}", &lookup).as_deref(), Some("yes"));
        for text in ["$NO", "${NO}", "${NO:?set it}", "${", "$", "${}"] {
            assert_eq!(interpolate(text, &lookup), None, "{text:?}");
        }
    }

    #[test]
    fn growth_without_bounds_is_given_up() {
        let lookup = |_: &str| Some("x".repeat(2000));
        assert_eq!(interpolate("$A$A$A", &lookup), None);
    }
}
