//! What steps can do, against real things: requests to real sockets, workflows as steps, reviews with rules, tools
//! of other servers.

mod children;
mod harness;
mod http;
mod maps;
mod reviews;
mod tools;
