//! The journeys: what people and programs do with the server, through the real program and nothing else.

mod authors;
mod cli;
mod control;
mod corpus;
mod gates;
mod guide;
mod keys;
mod maps;
mod patterns;
mod plugins;
mod polyglot;
mod protocol;
mod restart;
mod strangers;
mod tasks;
mod tools;
mod workflow;

use caelum_tests::Home;

/// Makes a home for the real program.
fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_caelum-workflow-under-test"))
}

/// Returns a step of a view by its id.
fn step<'a>(status: &'a serde_json::Value, id: &str) -> &'a serde_json::Value {
    status["steps"]
        .as_array()
        .and_then(|steps| steps.iter().find(|step| step["id"] == id))
        .unwrap_or_else(|| panic!("no step `{id}` in {status:#}"))
}

/// Returns the strings of a list.
fn words(list: &serde_json::Value) -> Vec<&str> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|word| word.as_str().expect("a list of words")).collect()
}
