//! Guests that read real directories in which everything lies that is not a plain file.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use caelum_components::{Component, Components};
use caelum_core::tree::Tree;
use caelum_plugin_host::{CallControl, Plugin};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::judge_with;
use crate::sdk::{hostile, patient};
use crate::watched::Watched;

/// A component, and a secret that lies outside of it.
struct Place {
    outside: TempDir,
    root: TempDir,
    _data: TempDir,
    component: Component,
}

impl Place {
    fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        let (outside, root, data) = (folder(), folder(), folder());
        fs::write(outside.path().join("secret"), "secret").expect("writes");
        fs::create_dir_all(root.path().join("dir")).expect("creates");
        fs::write(root.path().join("dir/file"), "inside").expect("writes");
        let components = Components::open(&[root.path().to_owned()], None, data.path());
        let component = components.expect("opens").resolve(".").expect("is there");
        Place { outside, root, _data: data, component }
    }

    fn tree(&self) -> Arc<dyn Tree> {
        self.component.tree()
    }
}

/// What the hostile guest answers when it reads a path as a file and as a directory.
async fn read(
    plugins: &Watched,
    plugin: &Arc<Plugin>,
    place: &Place,
    path: &str,
) -> (String, String) {
    let parameters = json!({"behavior": "read-one", "path": path});
    let called =
        judge_with(plugins, plugin, place.tree(), &parameters, CallControl::default()).await;
    let metrics = called.outcome.expect("a verdict").metrics;
    let text = |key: &str| match &metrics[key] {
        Value::String(text) => text.clone(),
        other => panic!("{path}: {other}"),
    };
    (text("text"), text("entries"))
}

/// Tests 38, 40 and 41: what is no plain file of the component gives nothing, and nothing waits for it: a pipe that
/// nobody writes to would hold up who opens it for ever.
#[tokio::test]
async fn n38_n40_n41_links_pipes_sockets_and_secrets_give_a_guest_nothing() {
    let place = Place::new();
    let at = |name: &str| place.root.path().join(name);
    symlink(place.outside.path(), at("out")).expect("links");
    symlink(place.outside.path().join("secret"), at("secret")).expect("links");
    symlink("/proc/self/fd", at("fd")).expect("links");
    symlink("chain-b", at("chain-a")).expect("links");
    symlink("chain-a", at("chain-b")).expect("links");
    let _socket = UnixListener::bind(at("socket")).expect("binds");
    assert!(Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo runs").success());
    fs::write(at(".env"), "KEY=1").expect("writes");
    fs::create_dir(at(".git")).expect("creates");
    fs::write(at(".git/config"), "x").expect("writes");
    let (plugins, plugin) = hostile(patient()).await;

    for (path, text, entries) in [
        ("out", "denied", "denied"),
        ("out/secret", "denied", "denied"),
        ("secret", "denied", "denied"),
        ("fd/0", "denied", "denied"),
        ("chain-a", "denied", "denied"),
        ("pipe", "not-a-file", "not-a-directory"),
        ("socket", "not-a-file", "not-a-directory"),
        ("dir", "not-a-file", "dir/file"),
        (".env", "denied", "denied"),
        (".git", "denied", "denied"),
        (".git/config", "denied", "denied"),
        ("dir/file", "inside", "not-a-directory"),
    ] {
        let answer = read(&plugins, &plugin, &place, path).await;
        assert_eq!(answer, (text.to_owned(), entries.to_owned()), "{path}");
    }
    let (_, root) = read(&plugins, &plugin, &place, "").await;
    assert!(
        !root.contains(".env") && !root.contains(".git"),
        "what is withheld is not listed: {root}"
    );
}

/// Test 38: a directory that is exchanged for a link while it is read gives what was in it, or nothing.
#[tokio::test]
async fn n38_a_directory_that_is_exchanged_for_a_link_during_calls_gives_no_secret() {
    let place = Arc::new(Place::new());
    fs::write(place.outside.path().join("file"), "secret").expect("writes");
    let is_over = Arc::new(AtomicBool::new(false));
    let exchanging = {
        let (place, is_over) = (Arc::clone(&place), Arc::clone(&is_over));
        std::thread::spawn(move || {
            let at = |name: &str| place.root.path().join(name);
            symlink(place.outside.path(), at("link")).expect("links");
            while !is_over.load(Ordering::SeqCst) {
                for (from, to) in
                    [("dir", "kept"), ("link", "dir"), ("dir", "link"), ("kept", "dir")]
                {
                    fs::rename(at(from), at(to)).expect("renames");
                }
            }
        })
    };
    let (plugins, plugin) = hostile(patient()).await;

    let mut answers = Vec::new();
    for _ in 0..200 {
        answers.push(read(&plugins, &plugin, &place, "dir/file").await.0);
    }

    is_over.store(true, Ordering::SeqCst);
    exchanging.join().expect("no panic");
    for answer in answers {
        assert!(["inside", "denied", "not-found"].contains(&answer.as_str()), "{answer}");
    }
}
