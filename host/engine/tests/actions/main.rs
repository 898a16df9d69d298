//! What steps can do, against real things: requests to real sockets.

mod harness;
mod http;
