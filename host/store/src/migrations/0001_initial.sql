-- The first schema. Times are microseconds since 1970-01-01T00:00:00Z; digests are the 32 bytes of a SHA-256;
-- `body` and `state` are JSON. A value that is too large for a row is NULL there and `blob` names it in the table
-- `blob`. Rows of one execution are written and deleted together by one writer, so there are no foreign keys: they
-- would cost a look-up in every insert of the hottest path.

-- Values of the store itself and of the server, by name.
CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Large values, each kept once. What no row names any more is swept by retention.
CREATE TABLE blob (
    key INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    bytes BLOB NOT NULL
) STRICT;

-- Definitions as they were when a revision was made or an execution began; never changed. Keys are never used twice,
-- because parsed documents are cached under them.
CREATE TABLE document (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

-- Workflows, each as its newest revision stands.
CREATE TABLE workflow (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    pattern TEXT NOT NULL,
    steps INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_execution INTEGER
) STRICT;
CREATE INDEX workflow_by_status ON workflow (status);
CREATE INDEX workflow_by_pattern ON workflow (pattern);

-- Revisions of workflows.
CREATE TABLE definition (
    workflow INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    document INTEGER NOT NULL,
    status TEXT NOT NULL,
    steps INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (workflow, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX definition_by_document ON definition (document);

-- Executions, without what their first event holds. `ended_at` is set exactly when `status` is final.
CREATE TABLE execution (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    document INTEGER NOT NULL,
    status TEXT NOT NULL,
    events INTEGER NOT NULL,
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    stopping INTEGER NOT NULL,
    paused TEXT,
    cancel TEXT,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX execution_by_kind ON execution (kind);
CREATE INDEX execution_by_kind_status ON execution (kind, status);
CREATE INDEX execution_by_status ON execution (status);
CREATE INDEX execution_by_workflow ON execution (workflow_id);
CREATE INDEX execution_by_workflow_status ON execution (workflow_id, status);
CREATE INDEX execution_by_document ON execution (document);
CREATE INDEX execution_by_start ON execution (started_at);
CREATE INDEX execution_open ON execution (key, id, ended_at) WHERE ended_at IS NULL;
CREATE INDEX execution_finished ON execution (ended_at, kind, workflow_id, status, started_at, events)
    WHERE ended_at IS NOT NULL;

-- How many executions there are, so that nobody has to count them.
CREATE TABLE execution_count (
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    executions INTEGER NOT NULL,
    PRIMARY KEY (kind, status)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER execution_is_counted AFTER INSERT ON execution BEGIN
    INSERT INTO execution_count (kind, status, executions) VALUES (new.kind, new.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET executions = executions + 1;
END;

CREATE TRIGGER execution_is_counted_anew AFTER UPDATE OF status ON execution
    WHEN new.status <> old.status BEGIN
    UPDATE execution_count SET executions = executions - 1
        WHERE kind = old.kind AND status = old.status;
    INSERT INTO execution_count (kind, status, executions) VALUES (new.kind, new.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET executions = executions + 1;
END;

CREATE TRIGGER execution_is_not_counted AFTER DELETE ON execution BEGIN
    UPDATE execution_count SET executions = executions - 1
        WHERE kind = old.kind AND status = old.status;
END;

-- What happened to executions, in order. `subject` and `reason` are filled for what metrics count: see events.rs.
CREATE TABLE event (
    execution INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    step TEXT,
    subject TEXT,
    reason TEXT,
    body TEXT,
    blob BLOB,
    PRIMARY KEY (execution, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_measured ON event (kind, at, subject, reason) WHERE reason IS NOT NULL;
CREATE INDEX event_blob ON event (blob) WHERE blob IS NOT NULL;

-- Steps that have moved since their execution began; the others stand as they stood then.
CREATE TABLE step (
    execution INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    state TEXT,
    blob BLOB,
    PRIMARY KEY (execution, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX step_finished ON step (ended_at, id, status, attempt, started_at)
    WHERE ended_at IS NOT NULL;
CREATE INDEX step_blob ON step (blob) WHERE blob IS NOT NULL;

-- Targets of the present attempt of each step. `queued_at` is when the attempt began.
CREATE TABLE target (
    execution INTEGER NOT NULL,
    step INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    machine TEXT NOT NULL,
    phase TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    queued_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    state TEXT,
    blob BLOB,
    PRIMARY KEY (execution, step, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX target_finished ON target (ended_at, machine, phase, queued_at, started_at)
    WHERE ended_at IS NOT NULL;
CREATE INDEX target_blob ON target (blob) WHERE blob IS NOT NULL;

-- Recorded uses of patterns.
CREATE TABLE application (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    pattern TEXT NOT NULL,
    version TEXT NOT NULL,
    component TEXT NOT NULL,
    status TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    body TEXT,
    blob BLOB
) STRICT;
CREATE INDEX application_by_pattern ON application (pattern);
CREATE INDEX application_by_component ON application (component);
CREATE INDEX application_by_status ON application (status);
CREATE INDEX application_measured ON application (applied_at, pattern, status);
CREATE INDEX application_blob ON application (blob) WHERE blob IS NOT NULL;

-- Plans that were shown and may be applied once.
CREATE TABLE plan (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    body TEXT,
    blob BLOB
) STRICT;
CREATE INDEX plan_by_age ON plan (created_at);
CREATE INDEX plan_blob ON plan (blob) WHERE blob IS NOT NULL;

-- What idempotency keys were used for, and what was answered.
CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (at);
