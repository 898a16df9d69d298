//! Tests of the plugin host against guests that are written for them: good ones, broken ones, hostile ones.

mod bystander;
mod calls;
mod compiler;
mod guests;
mod harness;
mod hostile;
mod inline;
mod live;
mod loading;
mod noticed;
mod numbers;
mod sdk;
mod security;
mod trees;
mod wasi;
mod watched;
