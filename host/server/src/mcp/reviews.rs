//! Asks the person at the client for a review that a step waits for, where the client can show a form. The answer goes
//! the way of every review, `review_step`, so its rules hold: whoever did the work does not review it, and a rejection
//! gives a reason.
//!
//! Clients of the older era are sent a request, with a deadline; those of the newer one get an answer that says what is
//! needed, sealed so that it cannot be bent, and call again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, ElicitRequestParams, ErrorData, InputRequest, InputRequests,
    InputRequiredResult, RequestStateCodec, SealOptions,
};
use rmcp::service::RequestContext;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::inquiry::{Inquiry, rows, text};
use super::tool::Reply;

/// The tool whose waiting calls ask: it is the one that is called to learn what an execution waits for.
const ASKING_TOOL: &str = "get_workflow_status";

/// How long a person of the older era has for an answer; 2 min. After that the call answers as if nobody had been asked,
/// and the step still waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// How long a question of the newer era can be answered; 15 min.
const STATE_TTL: Duration = Duration::from_secs(15 * 60);

/// How many reviews one call asks for at most; the next call asks for more.
const ROUNDS_MAX: usize = 5;

/// How many questions that were declined are remembered, so that nobody is asked the same again and again; the oldest are
/// forgotten first.
const DECLINED_MAX: usize = 1_000;

/// How many characters of a reason are taken.
const REASON_CHARS_MAX: usize = 4_000;

/// A review that a step waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    /// Names this very question: another attempt, or another review of it, is another question.
    pub(super) key: String,
    execution_id: String,
    step_id: String,
    message: String,
}

impl Question {
    /// Returns the form to fill in, as the protocol writes it.
    fn form(&self) -> Value {
        json!({
            "mode": "form",
            "message": self.message,
            "requestedSchema": {
                "type": "object",
                "properties": {
                    "decision": {
                        "type": "string",
                        "title": "Decision",
                        "enum": ["approved", "rejected", "abstained"],
                    },
                    "reviewer": {
                        "type": "string",
                        "title": "Your name",
                        "description": "For the record; whoever did the work cannot review it.",
                        "minLength": 1,
                        "maxLength": 100,
                    },
                    "reason": {
                        "type": "string",
                        "title": "Reason",
                        "description": "Required for a rejection.",
                        "maxLength": REASON_CHARS_MAX,
                    },
                },
                "required": ["decision", "reviewer"],
            },
        })
    }

    /// Returns the question as something that a task or a call needs.
    pub(super) fn request(&self) -> Option<InputRequest> {
        let request = json!({ "method": "elicitation/create", "params": self.form() });
        serde_json::from_value(request)
            .inspect_err(
                |error| tracing::error!(%error, "a review's form does not follow the protocol"),
            )
            .ok()
    }
}

/// Questions that a client's person did not want to answer.
#[derive(Debug, Default)]
pub(super) struct Declined(Mutex<VecDeque<String>>);

impl Declined {
    /// Says whether this client declined this question.
    pub(super) fn contains(&self, client: Option<&str>, question: &Question) -> bool {
        let name = Self::name(client, question);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&name)
    }

    fn add(&self, client: Option<&str>, question: &Question) {
        let mut declined = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if declined.len() >= DECLINED_MAX {
            declined.pop_front();
        }
        declined.push_back(Self::name(client, question));
    }

    fn name(client: Option<&str>, question: &Question) -> String {
        let client: String = client.unwrap_or_default().chars().take(100).collect();
        format!("{client}\n{}\n{}", question.execution_id, question.key)
    }
}

/// Says whether a client can show its person a form.
pub(super) fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    context.client_capabilities().and_then(|client| client.elicitation).is_some_and(|asking| {
        // A client that names neither form means the one that was there first.
        asking.form.is_some() || asking.url.is_none()
    })
}

/// Says whether a call is one that asks: a call that waits and does not ask for silence, by somebody who may review.
pub(super) fn asks(request: &CallToolRequestParams, inquiry: &Inquiry) -> bool {
    let argument = |name: &str| request.arguments.as_ref().and_then(|given| given.get(name));
    request.name == ASKING_TOOL
        && argument("wait_s").and_then(Value::as_u64).is_some_and(|seconds| seconds > 0)
        && argument("ask").and_then(Value::as_bool).unwrap_or(true)
        && inquiry.may_write()
        && inquiry.has("review_step")
}

/// Returns the reviews that an execution waits for.
pub(super) fn pending(reply: &Reply) -> Vec<Question> {
    let execution_id = text(&reply.structured, "execution_id");
    rows(reply, "waiting_for")
        .filter(|waiting| text(waiting, "kind") == "review")
        .map(|waiting| {
            let step_id = text(waiting, "step_id");
            let gate = text(waiting, "gate");
            let step = rows(reply, "steps").find(|step| text(step, "id") == step_id);
            let count = |list: &str| {
                let list = step.and_then(|step| step.get(list)).and_then(Value::as_array);
                list.map_or(0, Vec::len)
            };
            let attempt = step.and_then(|step| step.get("attempt")).and_then(Value::as_u64);
            let key = format!(
                "review/{step_id}/{gate}/{}/{}.{}",
                attempt.unwrap_or_default(),
                count("gates"),
                count("reviews")
            );
            Question {
                key,
                execution_id: execution_id.to_owned(),
                step_id: step_id.to_owned(),
                message: message(reply, waiting, step),
            }
        })
        .collect()
}

fn message(
    reply: &Reply,
    waiting: &Map<String, Value>,
    step: Option<&Map<String, Value>>,
) -> String {
    let mut message = format!(
        "Step `{}` of workflow `{}` waits for a review (execution {}).\n{}\nWho may review: {}.",
        text(waiting, "step_id"),
        text(&reply.structured, "workflow_id"),
        text(&reply.structured, "execution_id"),
        text(waiting, "instructions"),
        text(waiting, "who"),
    );
    if let Some(report) = step.map(|step| text(step, "report")).filter(|report| !report.is_empty())
    {
        let report: String = report.chars().take(REASON_CHARS_MAX).collect();
        message.push_str(&format!("\nReported: {report}"));
    }
    message
}

/// Takes the answer to one question: reviews the step, or remembers that nobody wanted to.
///
/// # Errors
///
/// What is wrong with the answer, or why the review was refused, in one sentence.
pub(super) async fn take(
    inquiry: &Inquiry,
    question: &Question,
    answer: &Value,
    declined: &Declined,
) -> Result<(), String> {
    match answer["action"].as_str() {
        Some("accept") => {}
        Some("decline" | "cancel") => {
            declined.add(inquiry.client_name(), question);
            return Ok(());
        }
        _ => return Err("an answer has `action`: accept, decline or cancel".to_owned()),
    }
    let content = &answer["content"];
    let field = |name: &str| content[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let Some(decision) = field("decision") else {
        return Err("`content.decision` is missing: approved, rejected or abstained".to_owned());
    };
    let Some(reviewer) = field("reviewer") else {
        return Err("`content.reviewer` is missing: the name of whoever reviews".to_owned());
    };
    let mut arguments = json!({
        "execution_id": question.execution_id,
        "step_id": question.step_id,
        "decision": decision,
        "reviewer": reviewer.chars().take(100).collect::<String>(),
    });
    if let Some(reason) = field("reason") {
        arguments["reason"] = json!(reason.chars().take(REASON_CHARS_MAX).collect::<String>());
    }
    inquiry.ask("review_step", arguments).await.map(drop).map_err(|error| error.text())
}

/// What became of asking.
pub(super) enum Asked {
    /// Nothing was asked, or nobody answered: the answer stands as it is.
    Nothing,
    /// Something was answered: the call has news, and this is what could not be taken of it.
    Answered(Option<String>),
    /// The client must answer and call again.
    Needed(Box<InputRequiredResult>),
}

/// The one who asks; shared by all calls of a server.
pub(super) struct Reviews {
    codec: RequestStateCodec,
    declined: Declined,
}

impl std::fmt::Debug for Reviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviews").field("declined", &self.declined).finish_non_exhaustive()
    }
}

impl Default for Reviews {
    fn default() -> Self {
        // Questions need not outlive the process: whoever answers an old one is asked anew.
        let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        Self {
            codec: RequestStateCodec::try_new(key).expect("a key of 32 bytes is long enough"),
            declined: Declined::default(),
        }
    }
}

impl Reviews {
    /// Returns the questions that were declined.
    pub(super) fn declined(&self) -> &Declined {
        &self.declined
    }

    /// Returns how many questions one call may ask in the older era.
    pub(super) fn rounds_max(&self) -> usize {
        ROUNDS_MAX
    }

    /// Takes what came back with a call of the newer era, before it is carried out.
    ///
    /// # Errors
    ///
    /// The state is not what this server sent to this client, or has expired.
    pub(super) async fn answered(
        &self,
        inquiry: &Inquiry,
        request: &CallToolRequestParams,
    ) -> Result<Option<String>, ErrorData> {
        let Some(sealed) = &request.request_state else { return Ok(None) };
        let bound = bound_to(inquiry, request);
        let question: Question = self.codec.open_json_with(sealed, bound.as_bytes()).map_err(|error| {
            tracing::debug!(%error, "a request state was refused");
            ErrorData::invalid_params(
                "the request state is not one of this server's, belongs to another call, or has expired; call again \
                 without it",
                None,
            )
        })?;
        let responses = request.input_responses.as_ref();
        let Some(answer) = responses.and_then(|responses| responses.get(&question.key)) else {
            // Without an answer the call asks again.
            return Ok(None);
        };
        Ok(take(inquiry, &question, answer, &self.declined).await.err())
    }

    /// Asks for the first review that an execution waits for and that was not declined.
    pub(super) async fn ask(
        &self,
        inquiry: &Inquiry,
        request: &CallToolRequestParams,
        reply: &Reply,
        context: &RequestContext<RoleServer>,
    ) -> Asked {
        let client = inquiry.client_name();
        let mut questions = pending(reply).into_iter();
        let Some(question) = questions.find(|question| !self.declined.contains(client, question))
        else {
            return Asked::Nothing;
        };
        if super::wire::is_newer_era(context) {
            return self.needed(inquiry, request, question);
        }
        let Ok(params) = serde_json::from_value::<ElicitRequestParams>(question.form()) else {
            return Asked::Nothing;
        };
        let asking = context.peer.create_elicitation_with_timeout(params, Some(ANSWER_TIMEOUT));
        let answer = tokio::select! {
            answer = asking => answer,
            () = context.ct.cancelled() => return Asked::Nothing,
        };
        match answer.map(serde_json::to_value) {
            Ok(Ok(answer)) => {
                let taken = take(inquiry, &question, &answer, &self.declined).await;
                Asked::Answered(taken.err())
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "an answer to a review is no JSON");
                Asked::Nothing
            }
            Err(error) => {
                tracing::debug!(%error, "nobody answered a review");
                self.declined.add(client, &question);
                Asked::Nothing
            }
        }
    }

    fn needed(
        &self,
        inquiry: &Inquiry,
        request: &CallToolRequestParams,
        question: Question,
    ) -> Asked {
        let bound = bound_to(inquiry, request);
        let options = SealOptions::new().associated_data(bound.as_bytes()).ttl(STATE_TTL);
        let Some(form) = question.request() else { return Asked::Nothing };
        match self.codec.seal_json_with(&question, &options) {
            Ok(sealed) => {
                let requests = InputRequests::from([(question.key, form)]);
                Asked::Needed(Box::new(InputRequiredResult::new(Some(requests), Some(sealed))))
            }
            Err(error) => {
                tracing::error!(%error, "a question could not be sealed");
                Asked::Nothing
            }
        }
    }
}

/// Returns what a question is bound to: the client that was asked, and the call it asked with.
fn bound_to(inquiry: &Inquiry, request: &CallToolRequestParams) -> String {
    let execution = request.arguments.as_ref().and_then(|arguments| arguments.get("execution_id"));
    json!([request.name, execution, inquiry.client_name(), inquiry.identity()]).to_string()
}
