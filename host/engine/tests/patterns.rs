//! Patterns through the engine: real components of a real format, a real plugin, files on a real disk.

use std::fs;
use std::path::Path;

use caelum_core::pattern::ApplicationStatus;
use caelum_engine::request::NewApplication;
use caelum_engine::{Engine, EngineOptions};
use caelum_plugin_host::BundledPlugin;
use serde_json::{Map, json};
use tempfile::TempDir;

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

struct Place {
    data: TempDir,
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place {
            data: TempDir::new().expect("a directory"),
            root: TempDir::new().expect("a directory"),
        };
        let shop = place.root.path().join("shop");
        fs::create_dir(&shop).expect("it can be made");
        fs::write(shop.join("compose.yaml"), COMPOSE).expect("it can be written");
        fs::write(shop.join("Dockerfile"), "FROM python:3.12\n").expect("it can be written");
        place
    }

    async fn open(&self) -> Engine {
        let mut options =
            EngineOptions::new(self.data.path().to_owned(), self.root.path().to_owned());
        // Compiled plugins are the same for every test.
        options.plugins.cache_directory =
            Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"));
        options.bundled = caelum_plugin_bundle::bundled()
            .iter()
            .map(|plugin| BundledPlugin { name: plugin.id.to_owned(), bytes: plugin.bytes.into() })
            .collect();
        Engine::open(options).await.expect("the engine opens")
    }

    fn compose(&self) -> String {
        fs::read_to_string(self.root.path().join("shop/compose.yaml")).expect("it is there")
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
    let planned = engine
        .apply_pattern(NewApplication { dry_run: true, ..apply("shop") })
        .await
        .expect("it plans");
    assert_eq!(planned.status, ApplicationStatus::Planned);
    assert_eq!(place.compose(), COMPOSE);
    let plan_id = planned.plan_id.as_ref().map(ToString::to_string);

    let by_plan = NewApplication { plan_id: plan_id.clone(), ..apply("shop") };
    let applied = engine.apply_pattern(by_plan.clone()).await.expect("it applies");
    assert_eq!(applied.status, ApplicationStatus::Applied);
    assert_eq!(applied.diff, planned.diff);
    assert!(place.compose().contains("healthcheck:"), "{}", place.compose());
    assert!(place.compose().contains("build: .   # ours"), "everything else stays as it was");
    let again = engine.apply_pattern(by_plan).await.expect_err("a plan is applied once");
    assert!(again.to_string().contains("was applied at"), "{again}");
    let unchanged = engine.apply_pattern(apply("shop")).await.expect("it answers");
    assert_ne!(unchanged.status, ApplicationStatus::Applied, "{unchanged:?}");

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
    let file = place.root.path().join("shop/compose.yaml");
    let planned = engine
        .apply_pattern(NewApplication { dry_run: true, ..apply("shop") })
        .await
        .expect("it plans");
    fs::write(&file, format!("# changed\n{COMPOSE}")).expect("it can be written");
    let plan_id = planned.plan_id.as_ref().map(ToString::to_string);
    let stale = engine
        .apply_pattern(NewApplication { plan_id, ..apply("shop") })
        .await
        .expect("it answers");
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
    assert!(place.root.path().join("shop/.caelum/patterns.lock.json").is_file());

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
    let link = place.root.path().join("link");
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
