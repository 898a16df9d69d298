//! What steps can do, against real things: requests to real sockets, workflows as steps, reviews with rules.

mod children;
mod harness;
mod http;
mod reviews;
