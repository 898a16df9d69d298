//! `wasi:io/poll` for guests: the one place of inert WASI that can take its time, because a timer may be far away. It
//! waits on the guest's own thread, and no longer than the call may take.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll as waiting;
use wasmtime_wasi::p2::bindings::sync::io::poll;

use crate::state::CallState;

/// Offers inert WASI 0.2, with a `poll` that ends with the call.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // WASI's own would wait for as long as the guest likes.
    linker.allow_shadowing(true);
    poll::add_to_linker::<CallState, HasSelf<CallState>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl poll::Host for CallState {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.wait_with_table(async |table| waiting::Host::poll(table, pollables).await)?
    }
}

impl poll::HostPollable for CallState {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.wait_with_table(async |table| waiting::HostPollable::ready(table, pollable).await)?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.wait_with_table(async |table| waiting::HostPollable::block(table, pollable).await)?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.wait_with_table(async |table| waiting::HostPollable::drop(table, pollable))?
    }
}
