//! The local machine against real processes, files and sockets.

mod command;
mod harness;
mod orphans;
mod probe;
mod queue;
mod request;
mod results;
mod tools;
