//! IE07: the checklist of the pattern, a block in `caelum-checklist.md`. What can be seen in the component is ticked
//! with its evidence; what only people know is theirs to tick, and stays as they left it.

use caelum_plugin_component::{Inventory, Scope};
use caelum_sdk::{Context, Edit, Ownership, PluginError, SourceFile, Target};

use crate::IE07;
use crate::facts::Facts;
use crate::outcome::Outcome;
use crate::{preflight, registration, seed_test};

/// Where the checklist stands.
const PATH: &str = "caelum-checklist.md";
const BEGIN: &str = "<!-- begin caelum infrastructure-enforcement -->";
const END: &str = "<!-- end caelum infrastructure-enforcement -->";

/// An item: its id, what is to be done, and whether that can be seen in the component.
struct Item {
    id: &'static str,
    text: &'static str,
    seen: bool,
}

const DEVELOPMENT: [(&str, &str, bool); 8] = [
    ("enforcer", "An enforcer stands between the component and its start.", true),
    (
        "validation",
        "It checks every variable, file, address and port that the component needs.",
        true,
    ),
    ("integration", "The component is registered, so that others find it.", true),
    ("startup", "The checks run at every start and keep a broken component from starting.", true),
    ("monitoring", "The health of every service is asked for while it runs.", true),
    ("dashboard", "Its state is shown where people look.", false),
    ("tests", "Tests show that the checks can fail.", true),
    ("documentation", "The documentation says what is enforced, and how to mend it.", false),
];

const DEPLOYMENT: [(&str, &str, bool); 6] = [
    ("normal", "It was seen to start where everything is there.", false),
    ("failures", "It was seen to refuse to start where something is missing.", false),
    ("machines", "It was tried on every machine that it runs on.", false),
    ("visibility", "Refusals are seen by those who can mend them.", false),
    ("team", "Everybody who works on it knows what is enforced.", false),
    ("effectiveness", "Somebody looks again whether it prevents what it should.", false),
];

/// Looks at the checklist.
pub(crate) fn look(
    target: &dyn Target,
    inventory: &Inventory,
    facts: &Facts,
    scope: &Scope,
    context: &Context,
    outcome: &mut Outcome,
) -> Result<(), PluginError> {
    outcome.looked(IE07);
    let file = SourceFile::read_if_present(target, PATH)?;
    let text = file.as_ref().map_or("", |file| file.text());
    let existing = block_range(text);
    let ticked = existing.clone().map_or_else(Vec::new, |range| ticks(&text[range]));
    let evidence = |id: &str| evidence(id, target, inventory, facts, scope, context, outcome);
    let item = |(id, text, seen): (&'static str, &'static str, bool)| Item { id, text, seen };
    let ending = file.as_ref().map_or("\n", SourceFile::line_end);
    let mut open = 0;
    let mut block = format!("{BEGIN}{ending}");
    for (title, items) in [("Development", &DEVELOPMENT[..]), ("Deployment", &DEPLOYMENT[..])] {
        block.push_str(&format!("{ending}### {title}{ending}{ending}"));
        for item in items.iter().copied().map(item) {
            let found = if item.seen { evidence(item.id) } else { None };
            // What people have ticked stays ticked; what can be seen is decided by what is seen.
            let done = found.is_some() || (!item.seen && ticked.iter().any(|id| id == item.id));
            open += usize::from(!done);
            let mark = if done { 'x' } else { ' ' };
            let found = found.map_or_else(String::new, |found| format!(" ({found})"));
            block
                .push_str(&format!("- [{mark}] {}{found} <!-- {} -->{ending}", item.text, item.id));
        }
    }
    block.push_str(&format!("{ending}{END}{ending}"));
    let total = DEVELOPMENT.len() + DEPLOYMENT.len();
    if open > 0 {
        let finding = IE07
            .finding(format!("{open} of {total} items of the checklist are open"))
            .about("open-items");
        outcome.note(finding.remediation(format!(
            "Work them off. Items that only people can know are ticked in `{PATH}`; the others tick themselves."
        )));
    }
    let same = existing.as_ref().is_some_and(|range| text[range.clone()] == block);
    if same {
        return Ok(());
    }
    let number = outcome.note(match &existing {
        None => IE07
            .finding("the checklist of the pattern is not kept")
            .about("checklist")
            .remediation(format!("Keep it in `{PATH}`, as proposed.")),
        Some(_) => IE07
            .finding("the checklist of the pattern does not show what is there")
            .about("checklist-stale")
            .at(PATH)
            .remediation("Bring it up to date, as proposed; ticks of people stay."),
    });
    let edit = match (&file, existing) {
        (None, _) => Edit::create(PATH, format!("# Checklist{ending}{ending}{block}")),
        (Some(file), Some(range)) => file.edit().substitute(range, block),
        (Some(file), None) => {
            let gap = match text {
                "" => String::new(),
                text if text.ends_with('\n') => ending.to_owned(),
                _ => format!("{ending}{ending}"),
            };
            file.edit().insert(text.len(), format!("{gap}{block}"))
        }
    };
    let edit = edit
        .safe()
        .owned(Ownership::Block)
        .because("keeps the checklist of the pattern with its evidence");
    outcome.change(edit, vec![number]);
    Ok(())
}

/// Returns the bytes of the block, its last line end included.
fn block_range(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find(BEGIN)?;
    let end = text[start..].find(END).map(|at| start + at + END.len())?;
    let behind = &text[end..];
    let ending = if behind.starts_with("\r\n") { 2 } else { usize::from(behind.starts_with('\n')) };
    Some(start..end + ending)
}

/// Returns the ids of the items that are ticked.
fn ticks(block: &str) -> Vec<String> {
    let ticked = block.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with("- [x]") || line.starts_with("- [X]") || line.starts_with("* [x]")
    });
    ticked
        .filter_map(|line| {
            let id = line.rsplit_once("<!--")?.1.split("-->").next()?;
            Some(id.trim().to_owned())
        })
        .collect()
}

/// Returns what shows that an item is done, now or once the plan was applied.
fn evidence(
    id: &str,
    target: &dyn Target,
    inventory: &Inventory,
    facts: &Facts,
    scope: &Scope,
    context: &Context,
    outcome: &Outcome,
) -> Option<String> {
    let there = |path: &str| inventory.has(path) || outcome.writes(path, scope, context);
    match id {
        "enforcer" => there(preflight::PATH).then(|| format!("`{}`", preflight::PATH)),
        "validation" => {
            let required = &facts.required;
            let ports = facts.ports.iter().filter(|port| port.protocol == "tcp").count();
            let counts = [
                counted(required.env.len(), "variable", "variables"),
                counted(required.files.len(), "file", "files"),
                counted(required.tcp.len(), "address", "addresses"),
                counted(ports, "port", "ports"),
            ];
            let counts: Vec<String> = counts.into_iter().flatten().collect();
            (!counts.is_empty() && there(preflight::PATH)).then(|| counts.join(", "))
        }
        "integration" => there(registration::PATH).then(|| format!("`{}`", registration::PATH)),
        "startup" => {
            let mut compose = inventory.compose.iter();
            let path = compose
                .find(|(_, document)| document.file.text().contains("preflight.sh"))
                .map(|(path, _)| path.clone());
            // Dockerfiles do not count: whether a wrapped entry point is in use is not to be seen here, and the
            // checklist must be the same with and without changes that need review.
            let path = path.or_else(|| {
                let scripts = ["Makefile", "justfile", "package.json", "Procfile"];
                let calls = |path: &&&str| {
                    target.read_text(path).unwrap_or_default().contains("preflight.sh")
                };
                scripts.iter().find(calls).map(|path| (*path).to_owned())
            });
            path.map(|path| format!("`{path}`"))
        }
        "monitoring" => {
            let watched = !facts.services.is_empty()
                && facts.services.iter().all(|service| service.has_check);
            watched.then(|| {
                counted(
                    facts.services.len(),
                    "service with a health check",
                    "services with health checks",
                )
            })?
        }
        "tests" => {
            let test =
                seed_test::exists(target, inventory) || outcome.writes_a_test(scope, context);
            test.then(|| "a test of the start-up checks".to_owned())
        }
        _ => None,
    }
}

/// Counts something in words; nothing when there is none.
fn counted(count: usize, one: &str, many: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    }
}
