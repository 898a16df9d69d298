//! Asking a plugin who it is, once, when it is loaded. It gets nothing to read and little time.

use std::sync::Arc;
use std::time::Duration;

use caelum_core::id::Digest;
use caelum_core::plugin::{Description, HostReason};
use caelum_core::tree::MapTree;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::convert;
use crate::host::Host;
use crate::loader::{LoadError, Source};
use crate::plugin::Body;
use crate::state::{CallState, Caller, Place, Who};
use crate::target::Reads;
use crate::wasi::Determinism;

use super::perform::{Answer, Operation, perform};

/// Runs `describe` and checks the answer.
pub(crate) async fn describe(
    host: &Arc<Host>,
    body: &Body,
    source: &Source,
    digest: &Digest,
) -> Result<Description, LoadError> {
    let who =
        Who { plugin: source.to_string(), version: "unknown".to_owned(), digest: digest.clone() };
    let caller = Caller { who: Arc::new(who), call: host.next_call() };
    let reads = Reads::nothing(Arc::new(MapTree::new()), Arc::clone(&host.policy), &host.limits);
    let determinism = Determinism { seed: [0; 32], now: Duration::ZERO };
    // Whoever drops this future has lost interest: the guest is interrupted.
    let cancel = CancellationToken::new();
    let _interest = cancel.clone().drop_guard();
    let state = CallState::new(caller, host, Place::OwnThread, determinism, reads, cancel, None);
    let (sender, told) = oneshot::channel();
    let place = Arc::clone(&host.describes).acquire_owned().await.expect("it is never closed");
    let guest = {
        let (host, body) = (Arc::clone(host), body.clone());
        let deadline = host.limits.describe_deadline;
        move || {
            let _place = place;
            let (performed, _spent) = perform(&host, &body, &Operation::Describe, state, deadline);
            // Whoever has gone away is told nothing.
            drop(sender.send(performed));
        }
    };
    let failed = |message: String| LoadError::Describe { message };
    host.runtime.run_guest(guest).map_err(|error| {
        failed(format!("could not be asked: the system gave it no thread: {error}"))
    })?;
    let performed =
        told.await.map_err(|_| failed("was stopped, because the host broke down".to_owned()))?;
    let answer = performed.answer.map_err(|reason| match reason {
        HostReason::Contract { message } if !performed.stood => LoadError::Link { message },
        reason if !performed.stood => LoadError::Instantiate { message: reason.to_string() },
        // The engines of languages tell of an exception there, and here nobody else will show it.
        reason => failed(match performed.remains.logs.last_words() {
            Some(said) => format!("{reason}; it said: {said}"),
            None => reason.to_string(),
        }),
    })?;
    let described = match answer {
        Answer::Pattern(given) => convert::described_pattern(given),
        Answer::Validator(given) => convert::described_validator(given),
        _ => return Err(failed("answered something else".to_owned())),
    };
    described.map_err(|breaches| LoadError::Description { breaches })
}
