//! What the demo works on, and what must have happened at its end.

use crate::mcp::tools::status::ExecutionView;

/// Where the sample service lies in the demo's directory.
pub(super) const COMPONENT: &str = "notes-service";

/// The workflow.
pub(super) const WORKFLOW: &str =
    include_str!("../../../../../examples/workflows/notes-service-v1.yaml");

/// What the step `mend` applies.
pub(super) const FIX: &str = include_str!("../../../../../examples/notes-service/fix.patch");

macro_rules! example {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../../../examples/notes-service/", $path)))
    };
}

/// The files of the sample service. A test holds this list against the folder.
pub(super) const EXAMPLE_FILES: &[(&str, &str)] = &[
    example!(".dockerignore"),
    example!(".env.example"),
    example!(".gitignore"),
    example!("Dockerfile"),
    example!("README.md"),
    example!("apply_patch.py"),
    example!("compose.yaml"),
    example!("fix.patch"),
    example!("notes/__init__.py"),
    example!("notes/__main__.py"),
    example!("notes/pages.py"),
    example!("notes/server.py"),
    example!("notes/settings.py"),
    example!("notes/store.py"),
    example!("proxy/nginx.conf"),
    example!("run_tests.py"),
    example!("tests/__init__.py"),
    example!("tests/integration/__init__.py"),
    example!("tests/integration/test_service.py"),
    example!("tests/unit/__init__.py"),
    example!("tests/unit/test_pages.py"),
    example!("tests/unit/test_settings.py"),
    example!("tests/unit/test_store.py"),
];

/// Says what did not happen as the demo tells it.
pub(super) fn faults(view: &ExecutionView) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    let step = |id: &str| view.steps.iter().find(|step| step.id == id);
    let verdict = |id: &str, validator: &str| {
        let gates = step(id).map(|step| step.gates.as_slice()).unwrap_or_default();
        let last = gates.iter().rev().find(|gate| gate.validator == validator);
        last.map(|gate| gate.verdict.as_str())
    };
    let output = |id: &str| {
        let value = step(id).and_then(|step| step.outputs.get("status"));
        value.and_then(serde_json::Value::as_str)
    };
    expect(view.status == "completed", "the execution should have completed");
    expect(output("assess") == Some("planned"), "`assess` should have planned the pattern");
    expect(output("declare") == Some("applied"), "`declare` should have applied the pattern");
    expect(
        verdict("first-tests", "unit-tests") == Some("fail"),
        "the gate of `first-tests` should have refused the failing test",
    );
    expect(
        verdict("build-guardian", "unit-tests") == Some("pass"),
        "the gate of `build-guardian` should have opened after the fix",
    );
    expect(
        verdict("integrate-startup", "integration-tests") == Some("pass"),
        "the integration tests should have passed",
    );
    expect(
        verdict("start", "startup-validation") == Some("pass"),
        "the started service should have been found healthy",
    );
    expect(
        verdict("approve", "manual-review") == Some("pass"),
        "somebody else should have approved the result",
    );
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn collect(folder: &Path, base: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What running the tests of the service leaves is no part of it.
            if ["__pycache__", "build"].contains(&name.as_str()) || name.ends_with(".sqlite3") {
                continue;
            }
            if path.is_dir() {
                collect(&path, base, found);
            } else {
                let path = path.strip_prefix(base).expect("it lies beneath");
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn the_demo_carries_every_file_of_the_sample_service() {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/notes-service");
        let mut found = BTreeSet::new();
        collect(&base, &base, &mut found);

        let carried: BTreeSet<String> =
            EXAMPLE_FILES.iter().map(|(path, _)| (*path).to_owned()).collect();

        assert_eq!(carried, found);
    }

    #[test]
    fn the_workflow_of_the_demo_is_one() {
        let document = crate::document::read(WORKFLOW).expect("the workflow is one");

        assert_eq!(document.workflow_id, "notes-service-v1");
    }
}
