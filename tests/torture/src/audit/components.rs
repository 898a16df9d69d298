//! Components that patterns were applied to: before or after and never between, applied once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use caelum_core::pattern::ApplicationStatus;
use caelum_core::workflow::ExecutionStatus;
use caelum_store::{ApplicationFilter, PageRequest, Store};

use super::Kept;
use crate::workflows::APPLIES;
use crate::world::World;

/// The folder of provenance, which names the application.
const PROVENANCE: &str = ".caelum";

type Files = BTreeMap<String, Vec<u8>>;

/// Returns how often a pattern was applied to each component.
pub(super) async fn applications(store: &Store) -> BTreeMap<String, usize> {
    let filter = ApplicationFilter {
        status: Some(ApplicationStatus::Applied),
        ..ApplicationFilter::default()
    };
    let mut page = PageRequest { limit: 100, cursor: None };
    let mut applications: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let listed = store.list_applications(&filter, &page).await.expect("readable");
        for record in listed.items {
            *applications.entry(record.component).or_default() += 1;
        }
        page.cursor = listed.next;
        if page.cursor.is_none() {
            return applications;
        }
    }
}

/// Checks the component of every execution that applies a pattern.
pub(super) fn check(world: &World, kept: &Kept, applications: &BTreeMap<String, usize>) {
    let (faults, home) = (&world.faults, world.server.home());
    let before = files(&home.make_component("as-it-was").expect("a component can be made"));
    let mut after: Option<Files> = None;
    for (id, (execution, _)) in kept {
        if execution.head().workflow_id.as_str() != APPLIES {
            continue;
        }
        let run = execution.head().parameters.get("run").and_then(|run| run.as_str());
        let run = run.unwrap_or_default();
        let found = files(&home.component(run));
        let times = applications.get(run).copied().unwrap_or_default();
        let changed = found != before;
        faults.unless(times == usize::from(changed), || {
            format!("{id}: `{run}` was applied {times} times; changed: {changed}")
        });
        faults.unless(changed || execution.status() != ExecutionStatus::Completed, || {
            format!("{id} completed and `{run}` is as it was")
        });
        if changed {
            let whole = after.get_or_insert_with(|| found.clone());
            faults.unless(found == *whole, || {
                let names: Vec<&String> = found.keys().collect();
                format!("{id}: `{run}` is between before and after: {names:?}")
            });
        }
    }
}

/// Returns the files of a component with their bytes, without its provenance.
fn files(component: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![component.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.strip_prefix(component).expect("it lies beneath").display().to_string();
            if path.is_dir() && name != PROVENANCE {
                folders.push(path);
            } else if path.is_file() {
                files.insert(name, fs::read(&path).expect("a file can be read"));
            }
        }
    }
    files
}
