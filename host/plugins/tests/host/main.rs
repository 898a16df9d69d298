//! Tests of the plugin host against guests that are written for them: good ones, broken ones, hostile ones.

mod calls;
mod guests;
mod harness;
mod hostile;
mod loading;
mod sdk;
mod wasi;
