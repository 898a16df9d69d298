//! Patterns through the engine: real components of a real format, a real plugin, files on a real disk.

use std::fs;

use caelum_core::pattern::ApplicationStatus;
use caelum_engine::Engine;
use caelum_engine::request::{
    Application, ApplicationQuery, ListedApplication, NewApplication, PageRequest,
};
use caelum_store::{ApplicationRecord, Store, StoreOptions};
use serde_json::{Map, json};

use tempfile::TempDir;

use crate::harness;

const COMPOSE: &str = "\
services:
  web:
    build: .   # ours
    depends_on:
      - db
  db:
    image: postgres:16
    environment:
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?set it}
";

struct Place(harness::Place);

impl Place {
    fn new() -> Self {
        let place = harness::Place::new();
        let shop = place.root.path().join("shop");
        fs::create_dir(&shop).expect("it can be made");
        fs::write(shop.join("compose.yaml"), COMPOSE).expect("it can be written");
        fs::write(shop.join("Dockerfile"), "FROM python:3.12\n").expect("it can be written");
        Place(place)
    }

    async fn open(&self) -> Engine {
        self.0.open().await
    }

    fn compose(&self) -> String {
        fs::read_to_string(self.0.root.path().join("shop/compose.yaml")).expect("it is there")
    }
}

fn apply(target: &str) -> NewApplication {
    NewApplication {
        pattern_name: "health-check".to_owned(),
        target_component: target.to_owned(),
        by: "tester".to_owned(),
        ..NewApplication::default()
    }
}

/// Asks what would be applied.
async fn plan(engine: &Engine) -> Application {
    let dry = NewApplication { dry_run: true, ..apply("shop") };
    engine.apply_pattern(dry).await.expect("it plans")
}

/// What applies exactly that.
fn by_plan(planned: &Application) -> NewApplication {
    let plan_id = planned.plan_id.as_ref().map(ToString::to_string);
    NewApplication { plan_id, ..apply("shop") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_changes_nothing_and_tells_what_would_change() {
    let place = Place::new();
    let engine = place.open().await;

    let seen =
        engine.validate_pattern("health-check", "shop", Map::new()).await.expect("it answers");

    assert!(seen.can_apply, "{seen:?}");
    assert!(seen.edits.0 > 0);
    assert_eq!(seen.changed_files, ["compose.yaml"]);
    assert!(seen.findings.iter().all(|finding| finding.location.is_some()), "{:?}", seen.findings);
    assert_eq!(place.compose(), COMPOSE);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_applied_once_exactly_as_shown_and_taken_back_to_the_byte() {
    let place = Place::new();
    let engine = place.open().await;
    let planned = plan(&engine).await;
    assert_eq!(planned.status, ApplicationStatus::Planned);
    assert_eq!(place.compose(), COMPOSE);

    let applied = engine.apply_pattern(by_plan(&planned)).await.expect("it applies");
    assert_eq!(applied.status, ApplicationStatus::Applied);
    assert_eq!(applied.diff, planned.diff);
    assert!(place.compose().contains("healthcheck:"), "{}", place.compose());
    assert!(place.compose().contains("build: .   # ours"), "everything else stays as it was");
    let again = engine.apply_pattern(by_plan(&planned)).await.expect_err("a plan is applied once");
    assert!(again.to_string().contains("was applied at"), "{again}");
    let unchanged = engine.apply_pattern(apply("shop")).await.expect("it answers");
    assert_eq!(unchanged.status, ApplicationStatus::Unchanged, "{unchanged:?}");
    assert!(!unchanged.withheld.is_empty(), "what needs a look is named: {unchanged:?}");
    assert!(unchanged.summary.contains("allow_review_edits"), "{}", unchanged.summary);

    let id = applied.application_id.to_string();
    engine.revert_application(&id, "tester".into()).await.expect("it is as it was applied");
    assert_eq!(place.compose(), COMPOSE);
    let twice = engine.revert_application(&id, "tester".into()).await.expect_err("once");
    assert!(twice.to_string().contains("is reverted"), "{twice}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_changed_makes_a_plan_stale_and_a_revert_impossible() {
    let place = Place::new();
    let engine = place.open().await;
    let file = place.0.root.path().join("shop/compose.yaml");
    let planned = plan(&engine).await;
    fs::write(&file, format!("# changed\n{COMPOSE}")).expect("it can be written");
    let stale = engine.apply_pattern(by_plan(&planned)).await.expect("it answers");
    assert_eq!(stale.status, ApplicationStatus::Conflict);
    assert!(!place.compose().contains("healthcheck:"));

    let applied = engine.apply_pattern(apply("shop")).await.expect("it applies");
    assert_eq!(applied.status, ApplicationStatus::Applied);
    let mine = format!("{}# mine\n", place.compose());
    fs::write(&file, &mine).expect("it can be written");
    let refused = engine
        .revert_application(applied.application_id.as_str(), "tester".into())
        .await
        .expect_err("the file is not what was applied");
    assert!(refused.to_string().contains("compose.yaml"), "{refused}");
    assert_eq!(place.compose(), mine);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_pattern_sees_what_the_first_recorded() {
    let place = Place::new();
    let engine = place.open().await;
    let first = NewApplication {
        pattern_name: "infrastructure-enforcement".to_owned(),
        parameters: Map::from_iter([("component_name".to_owned(), json!("shop"))]),
        ..apply("shop")
    };
    let applied = engine.apply_pattern(first.clone()).await.expect("it applies");
    assert_eq!(applied.status, ApplicationStatus::Applied, "{:?}", applied.problems);
    assert!(place.0.root.path().join("shop/.caelum/patterns.lock.json").is_file());

    let again = engine.apply_pattern(first).await.expect("it answers");
    assert_eq!(again.status, ApplicationStatus::Unchanged, "{again:?}");
    let second = engine.apply_pattern(apply("shop")).await.expect("it applies");
    assert_eq!(second.status, ApplicationStatus::Applied, "{:?}", second.problems);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_leaves_the_roots_and_mistakes_are_named() {
    let place = Place::new();
    let engine = place.open().await;
    let outside = TempDir::new().expect("a directory");
    let link = place.0.root.path().join("link");
    std::os::unix::fs::symlink(outside.path(), link).expect("it can be made");

    for target in ["..", "/etc", "shop/../..", "link", "nowhere", ""] {
        let refused = engine.apply_pattern(apply(target)).await.expect_err(target);
        let text = refused.to_string();
        assert!(text.contains("component"), "{target}: {text}");
    }
    let unknown = NewApplication { pattern_name: "helth-check".to_owned(), ..apply("shop") };
    let refused = engine.apply_pattern(unknown).await.expect_err("no such pattern");
    assert!(refused.to_string().contains("did you mean `health-check`?"), "{refused}");
    let wrong = NewApplication {
        parameters: Map::from_iter([("nothing".to_owned(), json!(1))]),
        rules: vec!["HC99".to_owned()],
        ..apply("shop")
    };
    let refused = engine.apply_pattern(wrong).await.expect_err("no such rule");
    assert!(refused.to_string().contains("`HC99` is not a rule"), "{refused}");
    assert_eq!(place.compose(), COMPOSE);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_whose_application_a_crash_undid_can_be_applied_after_all() {
    let place = Place::new();
    let engine = place.open().await;
    let planned = plan(&engine).await;
    engine.close().await;
    // The server dies behind the record and before the first byte of a file.
    let store = Store::open(StoreOptions::new(place.0.data.path())).expect("nobody has it");
    let made = store.application(&planned.application_id).await.expect("readable");
    let applying = ApplicationRecord {
        id: "app_crashed".parse().expect("legal"),
        status: ApplicationStatus::Applying,
        ..made.expect("the dry run is recorded")
    };
    store.save_application(&applying, None).await.expect("it takes the plan");
    store.close().await;

    let engine = place.open().await;
    let undone = engine.application("app_crashed").await.expect("it is kept");
    let applied = engine.apply_pattern(by_plan(&planned)).await.expect("the plan was not used");
    let again = engine.apply_pattern(by_plan(&planned)).await;

    assert_eq!(undone.status, ApplicationStatus::Conflict);
    assert_eq!((applied.status, applied.plan_id), (ApplicationStatus::Applied, planned.plan_id));
    assert!(place.compose().contains("healthcheck:"));
    assert!(again.expect_err("once").to_string().contains("was applied at"));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_are_listed_with_how_their_components_stand_now() {
    let place = Place::new();
    let engine = place.open().await;
    let infrastructure = NewApplication {
        pattern_name: "infrastructure-enforcement".to_owned(),
        parameters: Map::from_iter([("component_name".to_owned(), json!("shop"))]),
        ..apply("shop")
    };
    let listed = async |query: ApplicationQuery| {
        let page = PageRequest { limit: 10, cursor: None };
        engine.list_applications(query, page).await.expect("it lists").items
    };
    let all = ApplicationQuery::default;
    let lock = place.0.root.path().join("shop/.caelum/patterns.lock.json");
    let state = |items: &[ListedApplication]| {
        items[0].drift.as_ref().map(|drift| drift.state.as_str()).unwrap_or("none")
    };
    assert!(listed(all()).await.is_empty());

    let dry = NewApplication { dry_run: true, ..infrastructure.clone() };
    engine.apply_pattern(dry).await.expect("it plans");
    let applied = engine.apply_pattern(infrastructure).await.expect("it applies");
    let both = listed(all()).await;
    assert_eq!(both.len(), 2, "newest first, the plan too");
    assert_eq!((state(&both), both[1].drift.as_ref()), ("clean", None));
    let changed = both[0].application.changed_files.clone();
    let owned = |path: &&String| !path.starts_with(".caelum/");
    let file = place.0.root.path().join("shop").join(changed.iter().find(owned).expect("a file"));
    let before = fs::read_to_string(&file).expect("it is there");

    let record = fs::read_to_string(&lock).expect("it is there");
    let version = format!("\"version\": \"{}\"", applied.pattern.version);
    fs::write(&lock, record.replace(&version, "\"version\": \"0.0.1\"")).expect("written");
    assert_eq!(state(&listed(all()).await), "outdated");
    fs::write(&file, format!("{before}# mine\n")).expect("written");
    let modified = listed(ApplicationQuery { drift: Some("modified"), ..all() }).await;
    assert_eq!((modified.len(), state(&modified)), (1, "modified"), "the worst that holds");
    assert!(listed(ApplicationQuery { drift: Some("clean"), ..all() }).await.is_empty());
    fs::remove_file(&file).expect("it was there");
    assert_eq!(state(&listed(all()).await), "missing");
    fs::remove_file(&lock).expect("it was there");
    let lost = listed(all()).await;
    let files = &lost[0].drift.as_ref().expect("it stands applied").files;
    assert_eq!((state(&lost), files[0].path.as_str()), ("missing", ".caelum/patterns.lock.json"));
    fs::remove_dir_all(place.0.root.path().join("shop")).expect("it was there");
    let gone = listed(all()).await;
    assert_eq!(state(&gone), "missing");
    assert!(gone[0].problem.as_ref().is_some_and(|problem| problem.contains("shop")), "{gone:?}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_a_later_one_replaced_is_not_compared() {
    let place = Place::new();
    let engine = place.open().await;
    engine.apply_pattern(apply("shop")).await.expect("it applies");
    fs::write(place.0.root.path().join("shop/compose.yaml"), COMPOSE).expect("written");
    engine.apply_pattern(apply("shop")).await.expect("it applies again");

    let page = PageRequest { limit: 1, cursor: None };
    let query =
        || ApplicationQuery { status: Some(ApplicationStatus::Applied), ..Default::default() };
    let first = engine.list_applications(query(), page).await.expect("it lists");
    let page = PageRequest { limit: 1, cursor: first.next_cursor.clone() };
    let second = engine.list_applications(query(), page).await.expect("it lists");

    assert!(!first.items[0].superseded && first.items[0].drift.is_some());
    assert!(second.items[0].superseded && second.items[0].drift.is_none());
    engine.close().await;
}
