//! The author guide, `docs/plugins.md`, walked as it stands: its files are written, its commands are run in their order,
//! and what it shows of their output must be there.
//!
//! A block ```` ```LANGUAGE file=PATH ```` is a file (`without-line-end` leaves the last line end out). In a block
//! ```` ```console ````, `$` begins a command; the lines after it must stand in its output in this order, `…` stands for
//! anything, and `… exit N` for the exit code. Other languages have a kit of their own (`tests/polyglot`).

use std::fs;
use std::path::Path;
use std::process::Command;

use caelum_tests::{Home, repository};

use crate::authors::{finish, target_dir, toolchain};
use crate::home;

/// The first heading that is not walked here.
const END: &str = "## Other languages";

/// Something that the guide wants done.
#[derive(Debug)]
enum Step {
    File { path: String, text: String },
    Run { command: String, shown: Vec<String>, exit: i32, line: usize },
}

/// Takes the guide apart.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = guide.lines().enumerate().take_while(|(_, line)| *line != END);
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<(usize, &str)> =
            lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        let mut words = info.split(' ');
        let language = words.next().unwrap_or_default();
        let file = info.split(' ').find_map(|word| word.strip_prefix("file="));
        if let Some(path) = file {
            let mut text: Vec<&str> = block.iter().map(|(_, line)| *line).collect();
            if !info.ends_with("without-line-end") {
                text.push("");
            }
            steps.push(Step::File { path: path.to_owned(), text: text.join("\n") });
        } else {
            assert_eq!(language, "console", "a block that no test would run: {info}");
            steps.extend(commands(&block));
        }
    }
    steps
}

fn commands(block: &[(usize, &str)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, text) in block {
        if let Some(command) = text.strip_prefix("$ ") {
            steps.push(Step::Run {
                command: command.to_owned(),
                shown: Vec::new(),
                exit: 0,
                line: number + 1,
            });
            continue;
        }
        let Some(Step::Run { shown: expected, exit: code, .. }) = steps.last_mut() else {
            panic!("line {}: output without a command", number + 1)
        };
        match text.strip_prefix("… exit ") {
            Some(number) => *code = number.parse().expect("an exit code"),
            None => expected.push((*text).to_owned()),
        }
    }
    steps
}

/// Says whether a line of output is what the guide shows: `…` stands for anything.
fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    // The text ends where the line ends, unless the last thing shown is `…`.
    last == Some("") || rest.is_empty() || last.is_some_and(|part| line.ends_with(part))
}

/// Asserts that the shown lines stand in the output in their order.
fn compare(output: &str, shown: &[String], what: &str) {
    let mut lines = output.lines();
    for expected in shown.iter().filter(|shown| *shown != "…") {
        assert!(
            lines.any(|line| is_like(line, expected)),
            "{what}: `{expected}` is not (or not in this order) in:\n{output}"
        );
    }
}

/// Runs a command of the guide in a shell.
async fn run(home: &Home, bin: &Path, command: &str) -> caelum_tests::Finished {
    let mut shell = Command::new("sh");
    let program = home.command();
    shell.args(["-c", command]).current_dir(home.root()).env_clear().envs(toolchain());
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&paths));
    shell
        .env("PATH", std::env::join_paths(paths).expect("paths without `:`"))
        .env("CAELUM_PLUGIN_TARGET_DIR", target_dir())
        .env("CARGO_TARGET_DIR", repository().join("target/guide"))
        .stdin(std::process::Stdio::null());
    finish(shell).await
}

#[tokio::test]
async fn the_guide_is_walked_as_it_stands() {
    let home = home();
    let guide = fs::read_to_string(repository().join("docs/plugins.md")).expect("the guide");
    let bin = home.path().join("bin");
    fs::create_dir(&bin).expect("a folder can be made");
    let program = home.command().get_program().to_owned();
    std::os::unix::fs::symlink(program, bin.join("caelum-workflow")).expect("a link can be made");
    let steps = steps(&guide);
    assert!(steps.len() > 15, "the guide has lost its commands: {steps:#?}");

    for step in steps {
        match step {
            Step::File { path, text } => {
                let path = home.root().join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, text).expect("written");
            }
            Step::Run { command, shown, exit, line } => {
                let ran = run(&home, &bin, &command).await.expect_code(exit);
                let output = format!("{}{}", ran.stdout, ran.stderr);
                compare(&output, &shown, &format!("docs/plugins.md:{line}: `{command}`"));
            }
        }
    }
}

#[test]
fn what_is_shown_is_compared_with_what_was_written() {
    for (line, shown) in [
        ("a b c", "a b c"),
        ("a b c", "a …"),
        ("a b c", "… c"),
        ("a b c", "a … c"),
        ("", ""),
        ("test result: ok. 2 passed; 0 failed", "test result: ok. 2 passed; …"),
    ] {
        assert!(is_like(line, shown), "{line} {shown}");
    }
    for (line, shown) in [("a b c", "a b"), ("a b c", "b c"), ("a b c", "a … d"), ("a", "")] {
        assert!(!is_like(line, shown), "{line} {shown}");
    }
}
