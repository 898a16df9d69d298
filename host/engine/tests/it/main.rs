//! The engine against real things: a store on disk, real programs, requests to real sockets, real components.

mod actions;
mod changes;
mod executions;
mod harness;
mod keeping;
mod patterns;
