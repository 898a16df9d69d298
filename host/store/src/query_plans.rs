//! Every query that runs often is answered from an index, in its order: asked from SQLite's own plan.

use rusqlite::Connection;

use crate::{StoreOptions, Synchronous};
use crate::{
    append, applications, archive, body, definition_lists, definitions, documents, executions,
    idempotency, load, metrics, plans, retention, schema, settings, unfinished,
};

/// A query, and the index (or primary key) that its plan has to name.
const HOT: &[(&str, &[&str])] = &[
    (append::UPSERT_STEP, &[]),
    (append::UPSERT_TARGET, &[]),
    (append::INSERT_EVENT, &[]),
    (append::DELETE_TARGETS, &["PRIMARY KEY (execution=? AND step=?)"]),
    (body::SELECT_BLOB, &["sqlite_autoindex_blob_1 (digest=?)"]),
    (documents::SELECT_DOCUMENT, &["INTEGER PRIMARY KEY (rowid=?)"]),
    (documents::SELECT_DOCUMENT_KEY, &["sqlite_autoindex_document_1 (digest=?)"]),
    (documents::SELECT_DOCUMENT_EXISTS, &["INTEGER PRIMARY KEY (rowid=?)"]),
    (executions::SELECT_LEN, &["sqlite_autoindex_execution_1 (id=?)"]),
    (executions::UPDATE_HEAD, &["INTEGER PRIMARY KEY (rowid=?)"]),
    (executions::UPDATE_STATUS, &["INTEGER PRIMARY KEY (rowid=?)"]),
    (load::SELECT_EXECUTION, &["sqlite_autoindex_execution_1 (id=?)"]),
    (load::SELECT_STARTED, &["PRIMARY KEY (execution=? AND seq=?)"]),
    (load::SELECT_STEPS, &["PRIMARY KEY (execution=?)"]),
    (load::SELECT_TARGETS, &["PRIMARY KEY (execution=?)"]),
    (load::SELECT_EVENTS, &["PRIMARY KEY (execution=? AND seq>?)"]),
    (load::SELECT_OPEN, &["COVERING INDEX execution_open (key>?)"]),
    (unfinished::SELECT_HEADS, &["execution_open (key>?)"]),
    (
        unfinished::SELECT_STARTED,
        &["COVERING INDEX execution_open (key>? AND key<?)", "PRIMARY KEY (execution=? AND seq=?)"],
    ),
    (
        unfinished::SELECT_STEPS,
        &["COVERING INDEX execution_open (key>? AND key<?)", "PRIMARY KEY (execution=?)"],
    ),
    (
        unfinished::SELECT_TARGETS,
        &["COVERING INDEX execution_open (key>? AND key<?)", "PRIMARY KEY (execution=?)"],
    ),
    (load::LIST_ALL, &["INTEGER PRIMARY KEY (rowid<?)"]),
    (load::LIST_BY_KIND, &["execution_by_kind (kind=? AND rowid<?)"]),
    (load::LIST_BY_KIND_STATUS, &["execution_by_kind_status (kind=? AND status=? AND rowid<?)"]),
    (load::LIST_BY_STATUS, &["execution_by_status (status=? AND rowid<?)"]),
    (load::LIST_BY_WORKFLOW, &["execution_by_workflow (workflow_id=? AND rowid<?)"]),
    (
        load::LIST_BY_WORKFLOW_STATUS,
        &["execution_by_workflow_status (workflow_id=? AND status=? AND rowid<?)"],
    ),
    (definitions::SELECT_WORKFLOW, &["sqlite_autoindex_workflow_1 (id=?)"]),
    (definitions::SELECT_REVISION, &["PRIMARY KEY (workflow=? AND revision=?)"]),
    (
        definition_lists::SELECT_REVISIONS,
        &["sqlite_autoindex_workflow_1 (id=?)", "PRIMARY KEY (workflow=?)"],
    ),
    (definition_lists::SELECT_IDS, &["INTEGER PRIMARY KEY (rowid<?)"]),
    (definition_lists::LIST_ALL, &["INTEGER PRIMARY KEY (rowid<?)"]),
    (definition_lists::LIST_BY_STATUS, &["workflow_by_status (status=? AND rowid<?)"]),
    (definition_lists::LIST_BY_PATTERN, &["workflow_by_pattern (pattern=? AND rowid<?)"]),
    (applications::SELECT_APPLICATION, &["sqlite_autoindex_application_1 (id=?)"]),
    (applications::UPDATE_APPLICATION, &["sqlite_autoindex_application_1 (id=?)"]),
    (applications::LIST_ALL, &["INTEGER PRIMARY KEY (rowid<?)"]),
    (applications::LIST_BY_COMPONENT, &["application_by_component (component=? AND rowid<?)"]),
    (applications::LIST_BY_PATTERN, &["application_by_pattern (pattern=? AND rowid<?)"]),
    (applications::LIST_BY_STATUS, &["application_by_status (status=? AND rowid<?)"]),
    (plans::SELECT_PLAN, &["sqlite_autoindex_plan_1 (id=?)"]),
    (plans::TAKE_PLAN, &["sqlite_autoindex_plan_1 (id=?)"]),
    (plans::RELEASE_PLAN, &["sqlite_autoindex_plan_1 (id=?)"]),
    (idempotency::SELECT_KEY, &["PRIMARY KEY (scope=? AND key=?)"]),
    (settings::SELECT_SETTING, &["PRIMARY KEY (key=?)"]),
    (metrics::COUNT_STARTED, &["execution_by_start (started_at>?)"]),
    (metrics::SELECT_EXECUTIONS, &["COVERING INDEX execution_finished (ended_at>?)"]),
    (
        metrics::SELECT_STEPS,
        &["COVERING INDEX step_finished (ended_at>?)", "INTEGER PRIMARY KEY (rowid=?)"],
    ),
    (
        metrics::SELECT_TARGETS,
        &["COVERING INDEX target_finished (ended_at>?)", "INTEGER PRIMARY KEY (rowid=?)"],
    ),
    (
        metrics::SELECT_MEASURED,
        &["COVERING INDEX event_measured (kind=? AND at>?)", "INTEGER PRIMARY KEY (rowid=?)"],
    ),
    (metrics::SELECT_PATTERNS, &["COVERING INDEX application_measured (applied_at>?)"]),
    (
        metrics::SELECT_RECENT,
        &[
            "execution_by_workflow (workflow_id=? AND rowid<?)",
            "SEARCH t USING PRIMARY KEY (execution=?)",
            "SEARCH s USING PRIMARY KEY (execution=? AND idx=?)",
        ],
    ),
    (metrics::history::SELECT_FIRST_ENDED, &["COVERING INDEX execution_finished (ended_at>?)"]),
    (metrics::history::SELECT_ENDED, &["COVERING INDEX execution_finished (ended_at>?)"]),
    (
        metrics::history::SELECT_JUDGED,
        &["COVERING INDEX event_measured (kind=? AND at>?)", "INTEGER PRIMARY KEY (rowid=?)"],
    ),
    (metrics::SELECT_COMPLIANCE, &["application_measured (applied_at>?)"]),
    (retention::SELECT_OLD, &["COVERING INDEX execution_finished (ended_at>? AND ended_at<?)"]),
    (retention::SELECT_FINISHED_AT, &["COVERING INDEX execution_finished (ended_at>?)"]),
    (retention::SELECT_STILL_OLD, &["INTEGER PRIMARY KEY (rowid=?)"]),
    (retention::SELECT_OLDEST_KEY, &["idempotency_by_age (at>?)"]),
    (retention::SELECT_OLDEST_PLAN, &["plan_by_age (created_at>?)"]),
    (archive::SELECT_ARCHIVED, &["execution_finished (ended_at>? AND ended_at<?)"]),
    (archive::SELECT_EVENT_BODIES, &["PRIMARY KEY (execution=?)"]),
    (retention::UNLINK_LAST, &["sqlite_autoindex_workflow_1 (id=?)"]),
    (retention::DELETE_EVENTS, &["PRIMARY KEY (execution=?)"]),
    (retention::DELETE_STEPS, &["PRIMARY KEY (execution=?)"]),
    (retention::DELETE_TARGETS, &["PRIMARY KEY (execution=?)"]),
    (retention::DELETE_EXECUTION, &["INTEGER PRIMARY KEY (rowid=?)"]),
    (retention::DELETE_KEYS, &["idempotency_by_age (at<?)", "PRIMARY KEY (scope=? AND key=?)"]),
    (retention::DELETE_PLANS, &["plan_by_age (created_at<?)"]),
    (
        retention::SELECT_DOCUMENTS,
        &[
            "INTEGER PRIMARY KEY (rowid>?)",
            "execution_by_document (document=?)",
            "definition_by_document (document=?)",
        ],
    ),
    (
        retention::SELECT_BLOBS,
        &[
            "INTEGER PRIMARY KEY (rowid>?)",
            "event_blob (blob=?)",
            "step_blob (blob=?)",
            "target_blob (blob=?)",
            "application_blob (blob=?)",
            "plan_blob (blob=?)",
        ],
    ),
];

fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement =
        connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("the query is legal");
    let mut rows = statement.raw_query();
    let mut lines: Vec<String> = Vec::new();
    while let Some(row) = rows.next().expect("it has a plan") {
        lines.push(row.get(3).expect("text"));
    }
    lines.join("\n")
}

#[test]
fn every_hot_query_uses_its_index_and_sorts_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = StoreOptions::new(directory.path());
    options.synchronous = Synchronous::Off;
    let connection = schema::open_writer(&options, &std::sync::Arc::default()).expect("opens");

    let mut problems = Vec::new();
    for (sql, indexes) in HOT {
        let plan = plan(&connection, sql);
        let missing: Vec<_> = indexes.iter().filter(|index| !plan.contains(**index)).collect();
        // `e` is a subquery of bounded length.
        let scans = plan.lines().any(|line| line.contains("SCAN") && line != "SCAN e");
        if !missing.is_empty() || scans || plan.contains("TEMP B-TREE") {
            problems.push(format!("{sql}\nplan:\n{plan}\nmissing: {missing:?}\n"));
        }
    }

    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
