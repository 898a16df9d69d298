//! Finds the place of a failure in its message: `File "x.py", line 3`, `src/lib.rs:10:5`, `(Foo.java:33)`.

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as the message names it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// How much of a message is looked through, in bytes.
const SEARCHED_MAX: usize = 64 * 1024;

/// Returns the place that a message most likely speaks of: the last frame of a Python traceback, otherwise the first
/// place that does not lie in a library.
pub fn locate(message: &str) -> Option<Place> {
    let mut end = message.len().min(SEARCHED_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let message = &message[..end];
    let python = message.lines().filter_map(python_frame).rfind(|place| !is_library(&place.file));
    if python.is_some() {
        return python;
    }
    let words =
        message.split(|letter: char| letter.is_whitespace() || "()[]{}\"'`<>,;".contains(letter));
    words.filter_map(colon_place).find(|place| !is_library(&place.file))
}

fn python_frame(line: &str) -> Option<Place> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(", line ")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    place(file, &rest[..digits])
}

/// Reads `path:line` and `path:line:column`, where the path has an extension.
fn colon_place(word: &str) -> Option<Place> {
    let word = word.trim_end_matches([':', '.', '!']);
    let word = word.strip_prefix("file://").unwrap_or(word);
    let (front, last) = word.rsplit_once(':')?;
    if let Some((path, line)) = front.rsplit_once(':')
        && line.parse::<u32>().is_ok()
        && let Some(found) = place(path, line)
    {
        return Some(found);
    }
    place(front, last)
}

fn place(file: &str, line: &str) -> Option<Place> {
    let line: u32 = line.parse().ok().filter(|line| *line > 0)?;
    let name = file.rsplit('/').next()?;
    let (stem, extension) = name.rsplit_once('.')?;
    let letters = !extension.is_empty()
        && extension.len() <= 5
        && extension.chars().all(|letter| letter.is_ascii_alphanumeric())
        && extension.chars().any(|letter| letter.is_ascii_alphabetic());
    let plain = !stem.is_empty() && !file.contains("://") && file.len() <= 512;
    (letters && plain).then(|| Place { file: file.to_owned(), line })
}

fn is_library(file: &str) -> bool {
    const PARTS: [&str; 9] = [
        "site-packages/",
        "node_modules/",
        "node:",
        "/rustc/",
        "/lib/python",
        "/unittest/",
        "/.cargo/registry/",
        "/usr/lib/",
        "/go/src/testing/",
    ];
    PARTS.iter().any(|part| file.contains(part)) || file.starts_with("<frozen")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str) -> Option<(String, u32)> {
        locate(message).map(|place| (place.file, place.line))
    }

    #[test]
    fn places_are_found_in_the_words_of_many_runners() {
        for (message, file, line) in [
            (
                "Traceback:\n  File \"/usr/lib/python3/unittest/case.py\", line 57\n  File \"tests/a.py\", line 12, in x\n",
                "tests/a.py",
                12,
            ),
            ("thread 'x' panicked at src/lib.rs:10:5:\nboom", "src/lib.rs", 10),
            ("    a_test.go:7: expected 1, got 2", "a_test.go", 7),
            ("at Object.<anonymous> (/app/sum.test.js:5:17)", "/app/sum.test.js", 5),
            ("at node:internal/x.js:1:1\nat file:///app/sum.test.mjs:9:3", "/app/sum.test.mjs", 9),
            ("org.Foo.bar(Foo.java:33)", "Foo.java", 33),
            ("tests/test_a.py:12: AssertionError", "tests/test_a.py", 12),
        ] {
            assert_eq!(found(message), Some((file.to_owned(), line)), "{message}");
        }
    }

    #[test]
    fn what_only_looks_like_a_place_is_none() {
        for message in
            ["http://localhost:8080", "at 12:30:01", "127.0.0.1:80", "a: 1", "x.py:0", ""]
        {
            assert_eq!(found(message), None, "{message}");
        }
    }
}
