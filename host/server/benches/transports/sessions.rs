//! Many sessions that are open at once and do nothing.

use crate::caller::{Caller, Era, Way};

/// Sessions; they end when this is dropped.
pub(crate) struct Held {
    pub(crate) count: usize,
    _callers: Vec<Caller>,
}

/// Opens so many sessions, each with a connection of its own. A server that keeps none for a client that greets counts
/// as holding none.
pub(crate) async fn hold(way: &Way, count: usize) -> Result<Held, String> {
    let mut callers = Vec::with_capacity(count);
    for number in 0..count {
        let caller = Caller::connect(way, Era::Older).await;
        callers.push(caller.map_err(|error| format!("session {number}: {error}"))?);
    }
    let count = callers.iter().filter(|caller| caller.has_session()).count();
    Ok(Held { count, _callers: callers })
}
