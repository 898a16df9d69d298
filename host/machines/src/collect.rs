//! Files that a command left, kept as evidence: globs relative to the task's directory, confined to it, within limits.
//!
//! Names are sorted and come with their whole size. When there are more files than may be kept, the first by name keep
//! their text and the others are named without it (`truncated`), so that a gate sees that it does not see everything.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use caelum_core::evidence::EvidenceFile;
use caelum_core::task::{FailureClass, TaskFailure};
use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};

use crate::options::MachineOptions;
use crate::tree;

/// How deep a search for files goes.
const DEPTH_MAX: usize = 64;

/// Globs that were checked.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    /// The directory beneath which everything that matches lies; empty for the task's directory.
    start: String,
    /// Nothing when the pattern is a plain path: then that file, or everything beneath that directory.
    matcher: Option<GlobMatcher>,
}

impl Patterns {
    /// Checks globs.
    ///
    /// `*`, `?`, `[…]` and `{a,b}` stand for parts of a name, `**` for any number of directories. A plain path names a
    /// file, or everything beneath a directory.
    ///
    /// # Errors
    ///
    /// A permanent failure `invalid_command` that names every bad glob.
    pub fn parse(globs: &[String]) -> Result<Patterns, TaskFailure> {
        let mut problems = Vec::new();
        let mut patterns = Vec::new();
        for glob in globs {
            match pattern(glob) {
                Ok(pattern) => patterns.push(pattern),
                Err(problem) => problems.push(format!("`{}`: {problem}", glob.escape_debug())),
            }
        }
        if problems.is_empty() {
            return Ok(Patterns(patterns));
        }
        Err(TaskFailure {
            class: FailureClass::Permanent,
            code: "invalid_command".to_owned(),
            message: format!("`collect` has globs that cannot be used: {}", problems.join("; ")),
            hint: Some(
                "globs are relative to the task's directory, such as `reports/**/*.xml`".to_owned(),
            ),
        })
    }
}

fn pattern(glob: &str) -> Result<Pattern, String> {
    let plain = glob.strip_suffix('/').unwrap_or(glob);
    let plain = plain.strip_prefix("./").unwrap_or(plain);
    if plain.is_empty() || plain == "." {
        return Err("it names the whole directory; say which files with `**/*.xml`".to_owned());
    }
    if plain.starts_with('/') || plain.split('/').any(|part| part == "..") {
        return Err("it leaves the task's directory".to_owned());
    }
    let is_glob = |part: &&str| part.contains(['*', '?', '[', '{', '\\']);
    let literal: Vec<&str> = plain.split('/').take_while(|part| !is_glob(part)).collect();
    let start = literal.join("/");
    if start == plain {
        return Ok(Pattern { start, matcher: None });
    }
    let glob = GlobBuilder::new(plain)
        .literal_separator(true)
        .build()
        .map_err(|error| error.kind().to_string())?;
    Ok(Pattern { start, matcher: Some(glob.compile_matcher()) })
}

/// Collects the files that match, sorted by path. Blocks on the file system.
///
/// A file that cannot be read is named without its text. Links are followed as long as they stay beneath the directory;
/// linked directories are not searched.
pub fn collect(dir: &Dir, patterns: &Patterns, options: &MachineOptions) -> Vec<EvidenceFile> {
    let mut search =
        Search { dir, found: BTreeSet::new(), entries_left: options.collect_entries_max };
    for pattern in &patterns.0 {
        search.run(pattern);
    }
    if search.entries_left == 0 {
        tracing::warn!(limit = options.collect_entries_max, "the search for evidence ended early");
    }
    let mut bytes_left = options.collect_total_bytes_max;
    search
        .found
        .iter()
        .take(options.collect_names_max)
        .enumerate()
        .filter_map(|(index, path)| {
            let limit = match index < options.collect_files_max {
                true => options.collect_file_bytes_max.min(bytes_left),
                false => 0,
            };
            let file = keep(dir, path, limit)?;
            bytes_left -= (file.text.len() as u64).min(bytes_left);
            Some(file)
        })
        .collect()
}

fn keep(dir: &Dir, path: &str, limit: u64) -> Option<EvidenceFile> {
    let unread = |total_bytes| EvidenceFile {
        path: path.to_owned(),
        text: String::new(),
        total_bytes,
        truncated: true,
    };
    match tree::open_file(dir, Path::new(path)) {
        Ok(None) => None,
        Ok(Some((_, metadata))) if limit == 0 && metadata.len() > 0 => Some(unread(metadata.len())),
        Ok(Some((mut file, metadata))) => match tree::read_text(&mut file, limit) {
            Ok((text, truncated)) => Some(EvidenceFile {
                path: path.to_owned(),
                text,
                total_bytes: metadata.len(),
                truncated,
            }),
            Err(_) => Some(unread(metadata.len())),
        },
        // Gone since it was listed, or a link that leads nowhere or outside: nothing that could be evidence.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => dir
            .symlink_metadata(path)
            .ok()
            .filter(|found| found.is_file())
            .map(|found| unread(found.len())),
        Err(_) => None,
    }
}

struct Search<'a> {
    dir: &'a Dir,
    found: BTreeSet<String>,
    entries_left: usize,
}

impl Search<'_> {
    fn run(&mut self, pattern: &Pattern) {
        let start = pattern.start.as_str();
        if start.is_empty() {
            return self.walk(self.dir, "", pattern, DEPTH_MAX);
        }
        match self.dir.metadata(start) {
            Ok(metadata) if metadata.is_dir() => {
                if let Ok(below) = self.dir.open_dir(start) {
                    self.walk(&below, start, pattern, DEPTH_MAX);
                }
            }
            Ok(_) if pattern.matcher.is_none() => {
                self.found.insert(start.to_owned());
            }
            _ => {}
        }
    }

    fn walk(&mut self, dir: &Dir, path: &str, pattern: &Pattern, depth: usize) {
        let Ok(entries) = dir.entries() else {
            return;
        };
        for entry in entries.flatten() {
            if self.entries_left == 0 {
                return;
            }
            self.entries_left -= 1;
            let name = entry.file_name();
            // A name that is not UTF-8 cannot be told to a gate.
            let (Some(name), Ok(kind)) = (name.to_str(), entry.file_type()) else {
                continue;
            };
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if kind.is_dir() {
                if let (true, Ok(dir)) = (depth > 0, entry.open_dir()) {
                    self.walk(&dir, &below, pattern, depth - 1);
                }
            } else if pattern.matcher.as_ref().is_none_or(|matcher| matcher.is_match(&below)) {
                self.found.insert(below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn globs(globs: &[&str]) -> Patterns {
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        Patterns::parse(&globs).expect("good globs")
    }

    fn paths(root: &Path, wanted: &[&str]) -> Vec<String> {
        let dir = tree::open(root).expect("opens");
        let files = collect(&dir, &globs(wanted), &MachineOptions::default());
        files.into_iter().map(|file| file.path).collect()
    }

    fn sample() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("temporary directory");
        for path in ["reports/b.xml", "reports/deep/er/a.xml", "top.xml", "reports/x.txt"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("creates");
            fs::write(path, "<x/>").expect("writes");
        }
        root
    }

    #[test]
    fn globs_and_plain_paths_find_files_sorted_and_once() {
        let root = sample();

        assert_eq!(paths(root.path(), &["reports/*.xml"]), ["reports/b.xml"]);
        assert_eq!(
            paths(root.path(), &["**/*.xml", "top.xml", "./top.xml"]),
            ["reports/b.xml", "reports/deep/er/a.xml", "top.xml"]
        );
        assert_eq!(paths(root.path(), &["*.xml"]), ["top.xml"]);
        assert_eq!(
            paths(root.path(), &["reports/"]),
            ["reports/b.xml", "reports/deep/er/a.xml", "reports/x.txt"]
        );
        assert_eq!(paths(root.path(), &["nowhere", "no/*.xml"]), [""; 0]);
    }

    #[test]
    fn links_that_leave_the_directory_give_nothing() {
        let outside = tempfile::tempdir().expect("temporary directory");
        fs::write(outside.path().join("secret.xml"), "secret").expect("writes");
        let root = sample();
        symlink(outside.path(), root.path().join("out")).expect("links");
        symlink(outside.path().join("secret.xml"), root.path().join("s.xml")).expect("links");
        symlink("reports/b.xml", root.path().join("inside.xml")).expect("links");
        symlink(".", root.path().join("loop")).expect("links");

        assert_eq!(
            paths(root.path(), &["out/*.xml", "out/secret.xml", "*.xml", "loop/**/x.txt"]),
            ["inside.xml", "loop/reports/x.txt", "top.xml"]
        );
    }

    #[test]
    fn a_pipe_does_not_hold_the_search_up() {
        let root = sample();
        let pipe = root.path().join("pipe.xml");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());

        assert_eq!(paths(root.path(), &["*.xml"]), ["top.xml"]);
    }

    #[test]
    fn every_limit_is_kept_and_shown() {
        let root = tempfile::tempdir().expect("temporary directory");
        for name in ["a", "b", "c", "d", "e"] {
            fs::write(root.path().join(name), "12345").expect("writes");
        }
        let dir = tree::open(root.path()).expect("opens");
        let options = MachineOptions {
            collect_files_max: 3,
            collect_names_max: 4,
            collect_file_bytes_max: 4,
            collect_total_bytes_max: 7,
            ..MachineOptions::default()
        };

        let files = collect(&dir, &globs(&["*"]), &options);

        let shown: Vec<(&str, &str, u64, bool)> = files
            .iter()
            .map(|file| (file.path.as_str(), file.text.as_str(), file.total_bytes, file.truncated))
            .collect();
        assert_eq!(
            shown,
            [("a", "1234", 5, true), ("b", "123", 5, true), ("c", "", 5, true), ("d", "", 5, true)]
        );
    }

    #[test]
    fn bad_globs_are_all_named() {
        let globs = ["../x", "/etc/*", "a[", "", "ok/*.xml"].map(str::to_owned);

        let failure = Patterns::parse(&globs).expect_err("four are bad");

        for part in ["`../x`", "`/etc/*`", "`a[`", "``"] {
            assert!(failure.message.contains(part), "{}", failure.message);
        }
        assert!(!failure.message.contains("ok/"));
    }
}
