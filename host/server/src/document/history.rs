//! History as text: the executions of an exported document, or events as JSON lines, as an export (`ndjson`) and the
//! archives of retention have them. What events mean is the core's business; here they are only taken apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::workflow::{Event, EventBody, WorkflowDefinition};
use caelum_engine::import::History;
use caelum_store::ExecutionKind;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{DocumentError, Faults, WorkflowDocument, shaped, text};

/// What is handed in to be imported, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    /// The workflow.
    pub(crate) definition: Option<WorkflowDefinition>,
    /// Executions that ran.
    pub(crate) histories: Vec<History>,
}

/// Takes a text apart: a document in JSON or YAML, or lines of JSON. `bytes_max` bounds it; the caller has cut it to that.
///
/// # Errors
///
/// [`DocumentError`], with every fault at once.
pub(crate) fn read(
    text: &str,
    bytes_max: usize,
    now: Timestamp,
    by: &str,
) -> Result<Parcel, DocumentError> {
    if text.len() > bytes_max {
        return Err(DocumentError::TooLarge { bytes: text.len() });
    }
    if is_lines(text) {
        return lines(text);
    }
    document(text::parse_within(text, bytes_max)?, now, by)
}

/// Says whether the first line is one of events, and so the text is not one document.
fn is_lines(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some(first) = text.lines().find(|line| !line.trim().is_empty()) else { return false };
    let Ok(Value::Object(first)) = serde_json::from_str(first) else { return false };
    !first.contains_key("steps")
        && ["event", "kind", "document"].iter().any(|member| first.contains_key(*member))
}

fn document(value: Value, now: Timestamp, by: &str) -> Result<Parcel, DocumentError> {
    let document = shaped(value)?;
    let mut faults = Faults::default();
    let definition =
        document.to_definition(now, by).map_err(|problems| faults.0.extend(problems)).ok();
    let revisions = earlier(&document, &mut faults, now, by);
    let own = definition.clone().map(Arc::new);
    let mut histories = Vec::new();
    for (index, execution) in document.executions.iter().enumerate() {
        let place = format!("/executions/{index}");
        let Some(events) = events(&place, execution, &mut faults) else { continue };
        let revision = revision_of(&events);
        let ran_under = match &own {
            Some(own) if revision == Some(own.revision) => Some(Arc::clone(own)),
            _ => revision.and_then(|revision| revisions.get(&revision).cloned()),
        };
        let Some(execution_id) = execution.get("execution_id").and_then(Value::as_str) else {
            faults.add(format_args!("{place}/execution_id"), "expected a text");
            continue;
        };
        histories.push(History {
            place,
            execution_id: execution_id.to_owned(),
            kind: None,
            definition: ran_under,
            events,
        });
    }
    faults
        .done(Parcel { definition, histories })
        .map_err(|problems| DocumentError::Invalid { problems })
}

/// Reads the earlier revisions that a document carries along.
fn earlier(
    document: &WorkflowDocument,
    faults: &mut Faults,
    now: Timestamp,
    by: &str,
) -> HashMap<u32, Arc<WorkflowDefinition>> {
    let mut revisions = HashMap::new();
    for (index, revision) in document.revisions.iter().enumerate() {
        let read = match shaped(Value::Object(revision.clone())) {
            Ok(earlier) => earlier.to_definition(now, by),
            Err(DocumentError::Invalid { problems }) => Err(problems),
            Err(other) => Err(vec![format!("/: {other}")]),
        };
        match read {
            Ok(definition) => {
                revisions.insert(definition.revision, Arc::new(definition));
            }
            Err(problems) => {
                let placed =
                    problems.into_iter().map(|problem| format!("/revisions/{index}{problem}"));
                faults.0.extend(placed);
            }
        }
    }
    revisions
}

/// Reads the events of one execution of a document.
fn events(place: &str, execution: &Map<String, Value>, faults: &mut Faults) -> Option<Vec<Event>> {
    let Some(Value::Array(list)) = execution.get("events") else {
        faults.add(format_args!("{place}/events"), "expected a list of events");
        return None;
    };
    let mut events = Vec::with_capacity(list.len());
    for (index, event) in list.iter().enumerate() {
        match Event::deserialize(event) {
            Ok(event) => events.push(event),
            Err(error) => faults.add(format_args!("{place}/events/{index}"), error),
        }
    }
    (events.len() == list.len()).then_some(events)
}

fn revision_of(events: &[Event]) -> Option<u32> {
    match events.first().map(|event| &event.body) {
        Some(EventBody::Started(started)) => Some(started.revision),
        _ => None,
    }
}

/// One line: a definition, the head of an execution, or an event.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    document: Option<String>,
    #[serde(default, borrow)]
    definition: Option<&'a RawValue>,
    #[serde(default)]
    execution_id: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default, borrow)]
    event: Option<&'a RawValue>,
}

/// What lines said of one execution so far.
#[derive(Default)]
struct Gathered {
    line: usize,
    kind: Option<ExecutionKind>,
    document: Option<String>,
    events: Vec<Event>,
}

fn lines(text: &str) -> Result<Parcel, DocumentError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut faults = Faults::default();
    let mut definitions: HashMap<String, Arc<WorkflowDefinition>> = HashMap::new();
    let mut gathered: BTreeMap<String, Gathered> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let parsed: Line<'_> = match serde_json::from_str(line) {
            Ok(parsed) => parsed,
            Err(error) => {
                faults.add(format_args!("line {number}"), error);
                continue;
            }
        };
        if let Err(problem) = take(parsed, number, &mut definitions, &mut gathered) {
            faults.add(format_args!("line {number}"), problem);
        }
    }
    let mut histories = Vec::with_capacity(gathered.len());
    for (execution_id, one) in gathered {
        let place = format!("line {}", one.line);
        let definition = match &one.document {
            None => None,
            Some(digest) => match definitions.get(digest) {
                Some(definition) => Some(Arc::clone(definition)),
                None => {
                    faults.add(&place, format_args!("there is no definition `{digest}` before it"));
                    continue;
                }
            },
        };
        let (kind, events) = (one.kind, one.events);
        histories.push(History { place, execution_id, kind, definition, events });
    }
    faults
        .done(Parcel { definition: None, histories })
        .map_err(|problems| DocumentError::Invalid { problems })
}

fn take(
    line: Line<'_>,
    number: usize,
    definitions: &mut HashMap<String, Arc<WorkflowDefinition>>,
    gathered: &mut BTreeMap<String, Gathered>,
) -> Result<(), String> {
    if let (Some(digest), Some(definition)) = (&line.document, line.definition) {
        let definition = serde_json::from_str(definition.get())
            .map_err(|error| format!("definition: {error}"))?;
        definitions.insert(digest.clone(), Arc::new(definition));
        return Ok(());
    }
    let Some(execution_id) = line.execution_id else {
        return Err("expected `execution_id`, or `document` with `definition`".to_owned());
    };
    let one = gathered
        .entry(execution_id)
        .or_insert_with(|| Gathered { line: number, ..Gathered::default() });
    if let Some(kind) = &line.kind {
        one.document = line.document;
        one.kind = Some(match kind.as_str() {
            "workflow" => ExecutionKind::Workflow,
            "task_group" => ExecutionKind::TaskGroup,
            other => {
                return Err(format!("kind: found `{other}`, expected workflow or task_group"));
            }
        });
        return Ok(());
    }
    let (Some(seq), Some(at), Some(event)) = (line.seq, line.at, line.event) else {
        return Err("expected `seq`, `at` and `event`".to_owned());
    };
    let body: EventBody =
        serde_json::from_str(event.get()).map_err(|error| format!("event: {error}"))?;
    one.events.push(Event { seq, at, body });
    Ok(())
}

/// Writes histories as lines in parts of about so many bytes, each of which can be handed in by itself; the oldest first,
/// so that lists have their order when they are taken in one after the other. One execution is never divided.
pub(crate) fn parts(histories: &[History], part_bytes: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut histories: Vec<&History> = histories.iter().collect();
    let began = |history: &History| history.events.first().map(|event| event.at);
    histories.sort_by(|a, b| (began(a), &a.execution_id).cmp(&(began(b), &b.execution_id)));
    // Definitions that stand in the part already, by identity: task groups share their names.
    let mut told: Vec<&Arc<WorkflowDefinition>> = Vec::new();
    for history in histories {
        let lines = events_of(history);
        if !part.is_empty() && part.len() + lines.len() > part_bytes {
            parts.push(std::mem::take(&mut part));
            told.clear();
        }
        if let Some(definition) = &history.definition {
            let known = told.iter().position(|known| Arc::ptr_eq(known, definition));
            let number = known.unwrap_or_else(|| {
                told.push(definition);
                let line = json!({"document": told.len().to_string(), "definition": definition});
                part.push_str(&format!("{line}\n"));
                told.len() - 1
            });
            let kind = history.kind.unwrap_or(ExecutionKind::Workflow);
            let head = json!({
                "execution_id": history.execution_id,
                "kind": kind.as_str(),
                "document": (number + 1).to_string(),
            });
            part.push_str(&format!("{head}\n"));
        }
        part.push_str(&lines);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn events_of(history: &History) -> String {
    let mut text = String::new();
    for Event { seq, at, body } in &history.events {
        let execution_id = &history.execution_id;
        let line = json!({"execution_id": execution_id, "seq": seq, "at": at, "event": body});
        text.push_str(&format!("{line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn problems(text: &str) -> Vec<String> {
        match read(text, 1_000_000, NOW, "tests").expect_err("it is wrong") {
            DocumentError::Invalid { problems } => problems,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_document_without_history_is_a_definition_with_its_own_times() {
        let text = "workflow_id: a\nrevision: 7\ncreated_at: 2026-01-31T12:00:00Z\nsteps: []\n";

        let parcel = read(text, 1_000_000, NOW, "tests").expect("it is right");

        let definition = parcel.definition.expect("a definition");
        assert_eq!((definition.revision, definition.created_by.as_str()), (7, "tests"));
        assert_eq!(definition.created_at.to_string(), "2026-01-31T12:00:00.000000Z");
        assert_eq!(definition.updated_at, NOW);
        assert!(parcel.histories.is_empty());
    }

    #[test]
    fn every_fault_of_a_document_and_its_history_is_named_at_once() {
        let found = problems(
            r#"{"workflow_id": "a b", "steps": [], "created_at": "yesterday", "revision": 0,
                "revisions": [{"workflow_id": "a", "steps": [{"id": "x"}]}],
                "executions": [{"execution_id": "e", "events": [{"seq": 0}]}, {"execution_id": "f"}, {"events": []}]}"#,
        );

        for expected in [
            "/workflow_id: workflow_id `a b`",
            "/created_at: `yesterday` is not a timestamp",
            "/revision: found 0",
            "/revisions/0/steps/0/type: required",
            "/executions/0/events/0: missing field `at`",
            "/executions/1/events: expected a list",
            "/executions/2/execution_id: expected a text",
        ] {
            assert!(
                found.iter().any(|line| line.starts_with(expected)),
                "{expected} is not in {found:#?}"
            );
        }
    }

    #[test]
    fn every_faulty_line_is_named_at_once() {
        let found = problems(
            "{\"execution_id\": \"e\", \"kind\": \"other\"}\n\nno JSON\n{\"seq\": 1}\n\
             {\"execution_id\": \"e\", \"seq\": 1, \"at\": \"2026-01-31T12:00:00Z\", \"event\": {\"type\": \"nothing\"}}\n\
             {\"execution_id\": \"f\", \"kind\": \"workflow\", \"document\": \"gone\"}\n\
             {\"document\": \"d\", \"definition\": {}}\n",
        );

        let places: Vec<&str> =
            found.iter().filter_map(|line| line.split_once(':').map(|(place, _)| place)).collect();
        assert_eq!(
            places,
            ["line 1", "line 3", "line 4", "line 5", "line 7", "line 6"],
            "{found:#?}"
        );
    }

    #[test]
    fn parts_hold_what_was_divided() {
        let definition = Arc::new(
            read("workflow_id: a\nsteps: []\n", 1_000, NOW, "tests")
                .expect("it is right")
                .definition
                .expect("a definition"),
        );
        let histories: Vec<History> = (0..10)
            .map(|index| History {
                place: String::new(),
                execution_id: format!("ex_{index}"),
                kind: Some(ExecutionKind::TaskGroup),
                definition: Some(Arc::clone(&definition)),
                events: vec![Event { seq: 0, at: NOW, body: EventBody::Completed }; 5],
            })
            .collect();

        let parts = parts(&histories, 2_000);

        assert!(parts.len() > 2, "{}", parts.len());
        let mut again: Vec<History> = Vec::new();
        for part in &parts {
            again.extend(read(part, 10_000, NOW, "tests").expect("it is right").histories);
        }
        let plain = |history: &History| History { place: String::new(), ..history.clone() };
        assert_eq!(again.iter().map(plain).collect::<Vec<_>>(), histories);
    }
}
