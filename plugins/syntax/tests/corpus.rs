//! Reads every file of a corpus of real components: nothing panics, and what can be read is read.
//!
//! The corpus lies outside of the repository; `CAELUM_CORPUS` names its directory. Without it the test says so and
//! ends.

use std::fs;
use std::path::{Path, PathBuf};

use caelum_plugin_syntax::compose::{ComposeFile, is_compose_name};
use caelum_plugin_syntax::dockerfile::Dockerfile;
use caelum_plugin_syntax::dotenv::Dotenv;
use caelum_plugin_syntax::yaml::{YamlFile, insert};

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(directory).expect("can be listed").flatten().collect();
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "says that the test did not run, and what it counted")]
fn real_files_are_read() {
    let Some(corpus) = std::env::var_os("CAELUM_CORPUS") else {
        eprintln!("skipped: CAELUM_CORPUS names no directory with real components");
        return;
    };
    let mut paths = Vec::new();
    files(Path::new(&corpus), &mut paths);
    let (mut yaml, mut refused, mut compose, mut docker, mut odd, mut env) = (0, 0, 0, 0, 0, 0);
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if name.contains("Dockerfile") {
            let file = Dockerfile::parse(&text);
            docker += 1;
            odd += usize::from(!file.problems.is_empty());
            for problem in &file.problems {
                eprintln!("{}:{}: {}", path.display(), problem.position.line, problem.message);
            }
        } else if name.ends_with(".env") {
            assert_eq!(Dotenv::parse(&text).problems, [], "{}", path.display());
            env += 1;
        } else if name.ends_with(".yaml") || name.ends_with(".yml") {
            yaml += 1;
            match YamlFile::parse(&text) {
                Ok(file) => {
                    for root in file.documents() {
                        for entry in root.entries() {
                            insert::new_entry(
                                entry.value,
                                "caelum-new",
                                &insert::Fragment::text("1"),
                            );
                        }
                    }
                    if is_compose_name(&name) {
                        let services =
                            ComposeFile::read(&file).expect("is a compose file").services();
                        assert!(!services.is_empty(), "{}", path.display());
                        compose += 1;
                    }
                }
                Err(error) => {
                    eprintln!("{}: {error}", path.display());
                    refused += 1;
                }
            }
        }
    }
    eprintln!(
        "{yaml} YAML files ({refused} refused), {compose} compose, {docker} Dockerfiles ({odd} with problems), {env} .env"
    );
    assert!(compose > 0 && docker > 0, "the corpus is not what was expected");
    assert!(refused * 20 < yaml, "{refused} of {yaml} YAML files could not be read");
}
