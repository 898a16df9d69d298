//! Sends one HTTP request as a task and judges the answer by what the task expects.
//!
//! - Redirects are not followed, proxies are not used, cookies are not kept: the request goes where its author said.
//! - A request that may have an effect carries the task's idempotency key as `Idempotency-Key`, unless its author set
//!   that header: a delivery that is repeated is the same request.
//! - Values of headers, the request's body and the query of its URL are in no outcome and in no log.
//!
//! This module knows no retries.

use std::sync::Arc;
use std::time::Duration;

use caelum_core::causes::chain;
use caelum_core::clock::Clock;
use caelum_core::task::{
    FailureClass, HttpSpec, OutcomeStatus, TaskFailure, TaskOutcome, TaskSpec, holds,
};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::capture::Streams;
use crate::options::MachineOptions;
use crate::web::{Body, checked, code, read, shown};

/// The header that names a request for ever (IETF draft "The Idempotency-Key HTTP Header Field").
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Sends requests from this machine.
#[derive(Debug)]
pub(crate) struct Requester {
    pub(crate) client: Client,
    pub(crate) options: MachineOptions,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What came of a request that was answered.
struct Answer {
    outputs: Map<String, Value>,
    failure: Option<TaskFailure>,
}

impl Requester {
    /// Sends a task's request and reports the answer. Never fails: what goes wrong is in the outcome.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the other side may have taken the request.
    pub(crate) async fn run(
        &self,
        spec: &TaskSpec,
        request: &HttpSpec,
        streams: &Streams,
        cancel: &CancellationToken,
    ) -> TaskOutcome {
        let started_at = self.clock.now();
        let built = match self.build(spec, request) {
            Ok(built) => built,
            Err(failure) => return TaskOutcome::not_started(started_at, failure),
        };
        let limit = Duration::from_millis(spec.run_timeout_ms);
        let (status, answer) = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                let failure = failure(
                    FailureClass::Permanent,
                    "cancelled",
                    "was broken off because somebody cancelled; the other side may have taken it",
                );
                (OutcomeStatus::Cancelled, Err(failure))
            }
            answered = tokio::time::timeout(limit, self.exchange(built, request, streams)) => {
                match answered {
                    Ok(Ok(answer)) if answer.failure.is_none() => {
                        (OutcomeStatus::Succeeded, Ok(answer))
                    }
                    Ok(Ok(answer)) => (OutcomeStatus::Failed, Ok(answer)),
                    Ok(Err(failure)) => (OutcomeStatus::NotStarted, Err(failure)),
                    Err(_) => {
                        let message = format!("no whole answer within {} ms", limit.as_millis());
                        let failure = failure(FailureClass::Transient, "run_timeout", message);
                        (OutcomeStatus::TimedOut, Err(failure))
                    }
                }
            }
        };
        let (outputs, failure) = match answer {
            Ok(answer) => (answer.outputs, answer.failure),
            Err(failure) => (Map::new(), Some(failure)),
        };
        TaskOutcome {
            status,
            exit_code: None,
            signal: None,
            started_at,
            ended_at: self.clock.now(),
            stdout: streams.stdout().output(),
            stderr: streams.stderr().output(),
            outputs,
            collected: Vec::new(),
            failure,
        }
    }

    fn build(
        &self,
        spec: &TaskSpec,
        request: &HttpSpec,
    ) -> Result<reqwest::RequestBuilder, TaskFailure> {
        let invalid =
            |message: String| failure(FailureClass::Permanent, "invalid_request", message);
        let (url, mut headers) = checked(&request.url, &request.headers).map_err(invalid)?;
        let method = match request.method.as_str() {
            "" => Method::GET,
            method => Method::from_bytes(method.as_bytes())
                .map_err(|_| invalid(format!("`{}` is no HTTP method", method.escape_debug())))?,
        };
        if !method.is_safe()
            && !headers.contains_key(IDEMPOTENCY_KEY)
            && let Ok(key) = HeaderValue::from_str(&spec.key.to_string())
        {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let body = match &request.body {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value) => {
                let json = HeaderValue::from_static("application/json");
                headers.entry(CONTENT_TYPE).or_insert(json);
                Some(value.to_string())
            }
        };
        if let Some(body) = &body
            && body.len() > self.options.stdin_bytes_max
        {
            return Err(invalid(format!(
                "the body has {} bytes; at most {}",
                body.len(),
                self.options.stdin_bytes_max
            )));
        }
        let builder = self.client.request(method, url).headers(headers);
        Ok(match body {
            Some(body) => builder.body(body),
            None => builder,
        })
    }

    async fn exchange(
        &self,
        built: reqwest::RequestBuilder,
        request: &HttpSpec,
        streams: &Streams,
    ) -> Result<Answer, TaskFailure> {
        let response = built.send().await.map_err(|error| unanswered(&request.url, error))?;
        let status = response.status().as_u16();
        let headers = shown(response.headers());
        let body_bytes_max = self.options.http_body_bytes_max;
        let body = read(response, body_bytes_max, |bytes| streams.stdout().push(bytes)).await;
        let json = parsed(&body);
        let failure = judged(request, status, &body, json.as_ref(), body_bytes_max);
        let small = body.bytes.len() <= self.options.outputs_bytes_max;
        let outputs = json!({
            "status": status,
            "headers": headers,
            "json": json.filter(|_| small),
        });
        let outputs = match outputs {
            Value::Object(outputs) => outputs,
            _ => Map::new(),
        };
        Ok(Answer { outputs, failure })
    }
}

fn parsed(body: &Body) -> Option<Value> {
    (!body.truncated).then(|| serde_json::from_slice(&body.bytes).ok()).flatten()
}

/// Compares an answer with what was expected; nothing when it is good.
fn judged(
    request: &HttpSpec,
    status: u16,
    body: &Body,
    json: Option<&Value>,
    body_bytes_max: usize,
) -> Option<TaskFailure> {
    let expect = &request.expect;
    let shown = target(&request.url);
    if !expect.accepts(status) {
        return Some(unexpected_status(&shown, status, &expect.status));
    }
    if let Some(error) = &body.error {
        let message = format!("the answer of {shown} broke off: {error}");
        return Some(failure(FailureClass::Transient, "http_io", message));
    }
    if expect.contains.is_none() && expect.json.is_none() {
        return None;
    }
    if body.truncated {
        let message = format!(
            "the answer of {shown} is longer than {body_bytes_max} bytes and cannot be judged"
        );
        return Some(failure(FailureClass::Exit, "http_body_too_long", message));
    }
    let unmet = |message: String| {
        Some(failure(
            FailureClass::Exit,
            "http_expectation",
            format!("{shown} answered {status}, but {message}"),
        ))
    };
    if let Some(text) = &expect.contains
        && !String::from_utf8_lossy(&body.bytes).contains(text.as_str())
    {
        return unmet(format!("its body does not hold `{text}`"));
    }
    match (&expect.json, json) {
        (None, _) => None,
        (Some(_), None) => unmet("its body is not JSON".to_owned()),
        (Some(expected), Some(found)) => match holds(expected, found) {
            Ok(()) => None,
            Err(difference) => unmet(format!("its JSON differs: {difference}")),
        },
    }
}

fn unexpected_status(shown: &str, status: u16, expected: &[u16]) -> TaskFailure {
    // What the other side calls passing: too early, too many, too slow, or a fault of its own.
    let passing = matches!(status, 408 | 425 | 429 | 500..);
    let class = if passing { FailureClass::Transient } else { FailureClass::Exit };
    let wanted = if expected.is_empty() {
        "200 to 299".to_owned()
    } else {
        expected.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let message = format!("{shown} answered {status}; expected {wanted}");
    let hint = match status {
        300..=399 => Some("redirects are not followed: name the final URL, or expect this status"),
        401 | 403 => Some("look at the credentials in `headers`"),
        _ => None,
    };
    TaskFailure { hint: hint.map(str::to_owned), ..failure(class, "http_status", message) }
}

/// Says why there is no answer.
fn unanswered(url: &str, error: reqwest::Error) -> TaskFailure {
    let code = code(&error);
    // A URL may hold secrets, and the client's own messages hold the URL.
    let error = error.without_url();
    // A name that nobody trusts stays so; everything else may go away.
    let class = if code == "tls" { FailureClass::Permanent } else { FailureClass::Transient };
    let message = format!("{} did not answer: {}", target(url), chain(&error));
    failure(class, &format!("http_{code}"), message)
}

/// Names where a request goes, without credentials and query.
fn target(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => "the URL".to_owned(),
    }
}

fn failure(class: FailureClass, code: &str, message: impl Into<String>) -> TaskFailure {
    TaskFailure { class, code: code.to_owned(), message: message.into(), hint: None }
}
