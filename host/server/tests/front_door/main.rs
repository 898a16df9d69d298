//! The front door against real sockets: both eras of the protocol, every transport, hostile input, limits, trust, and
//! stopping. The tools behind it are a few small ones of this test.

mod audit;
mod door;
mod http;
mod limits;
mod shutdown;
mod stdio;
mod tcp;
mod toolset;
mod trust;
mod websocket;
