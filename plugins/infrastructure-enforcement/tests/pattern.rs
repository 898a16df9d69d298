//! What the pattern finds and writes in components of many kinds.

use caelum_sdk::testing::{Applied, FakeTarget, check_pattern, check_plan, plan, validate};
use caelum_sdk::{
    Applicability, Context, Ownership, PreviousApplication, PreviousFile, Risk, Severity,
    sha256_hex,
};
use infrastructure_enforcement::InfrastructureEnforcement;
use serde_json::{Value, json};

const COMPOSE: &str = "\
name: shop
services:
  api:
    build: .
    environment:
      DATABASE_URL: ${DATABASE_URL:?set it}
      MODE: ${MODE:-production}
    env_file: .env
    ports: [\"8081:8000\", \"127.0.0.1:9229:9229\"]
    volumes:
      - ./config/app.toml:/etc/app.toml:ro
      - ./data:/data
  db:
    image: postgres:16
    ports:
      - 5432:5432
";
const API: &str = "import http.server\n# routes\nif self.path == '/health':\n    pass\n";

fn shop() -> FakeTarget {
    FakeTarget::new()
        .file("compose.yaml", COMPOSE)
        .file(
            "Dockerfile",
            "FROM python:3.12-slim\nEXPOSE 8000\nCMD [\"python\", \"-m\", \"shop\"]\n",
        )
        .file("shop/__main__.py", API)
        .file("config/app.toml", "a = 1\n")
        .file("data/seed.sql", "")
        .file("tests/test_shop.py", "import unittest\n")
}

fn applied_with(target: &FakeTarget, parameters: Value, context: &Context) -> Applied {
    check_plan::<InfrastructureEnforcement>(target, parameters, context)
}

fn applied(target: &FakeTarget) -> Applied {
    applied_with(target, json!({}), &Context::default())
}

fn found(applied: &Applied) -> Vec<String> {
    let findings = applied.before.findings().iter();
    findings
        .map(|finding| format!("{} {:?}: {}", finding.rule, finding.severity, finding.message))
        .collect()
}

fn json_of(target: &FakeTarget, path: &str) -> Value {
    serde_json::from_str(target.text(path)).expect("is JSON")
}

#[test]
fn it_keeps_the_contract() {
    check_pattern::<InfrastructureEnforcement>();
}

#[test]
fn a_compose_stack_is_put_under_enforcement() {
    let applied = applied(&shop());

    assert_eq!(
        found(&applied),
        [
            "IE01 Blocking: nothing tells machines what `shop` is: there is no `.caelum/component.json`",
            "IE02 Blocking: `shop` starts whatever is missing: it has no start-up checks",
            "IE05 Warning: no test shows that the start-up checks can fail",
            "IE07 Advice: 10 of 14 items of the checklist are open",
            "IE07 Advice: the checklist of the pattern is not kept",
            "IE03 Blocking: `api` publishes port 8081, which the component does not claim",
            "IE06 Warning: discovery does not know `api` on port 8081",
            "IE03 Blocking: `api` publishes port 9229, which the component does not claim",
            "IE06 Warning: discovery does not know `api` on port 9229",
            "IE03 Blocking: `db` publishes port 5432, which the component does not claim",
            "IE06 Warning: discovery does not know `db` on port 5432",
        ]
    );
    let paths: Vec<_> =
        applied.plan.edits.iter().map(|edit| (edit.path(), edit.risk, edit.ownership)).collect();
    assert_eq!(
        paths,
        [
            (".caelum/component.json", Risk::Safe, Ownership::Managed),
            (".caelum/preflight.sh", Risk::Safe, Ownership::Managed),
            (".caelum/services.json", Risk::Safe, Ownership::Managed),
            ("caelum-checklist.md", Risk::Safe, Ownership::Block),
            ("tests/test_caelum_preflight.py", Risk::Safe, Ownership::Seed),
        ]
    );
    assert_eq!(
        json_of(&applied.target, ".caelum/component.json"),
        json!({
            "schema": "caelum-component/1",
            "component": "shop",
            "kinds": ["compose", "docker", "python"],
            "services": [
                {"name": "api", "source": "compose.yaml", "ports": [8000, 9229], "health": "/health"},
                {"name": "db", "source": "compose.yaml", "ports": [5432]}
            ],
            "ports": [
                {"port": 8081, "protocol": "tcp", "service": "api"},
                {"port": 9229, "protocol": "tcp", "service": "api"},
                {"port": 5432, "protocol": "tcp", "service": "db"}
            ],
            "requires": {"env": ["DATABASE_URL"], "tcp": [], "files": [".env", "config/app.toml"]},
            "startup_validation": "sh .caelum/preflight.sh"
        })
    );
    assert_eq!(
        json_of(&applied.target, ".caelum/services.json")[2],
        json!({"service_name": "shop-db", "service_type": "database", "port": 5432, "protocol": "tcp",
               "project": "shop", "purpose": "`db` of shop"})
    );
    let checklist = applied.target.text("caelum-checklist.md");
    assert!(checklist.contains("- [x] An enforcer stands between the component and its start. (`.caelum/preflight.sh`) <!-- enforcer -->"), "{checklist}");
    assert!(checklist.contains(
        "- [ ] The health of every service is asked for while it runs. <!-- monitoring -->"
    ));
    // Nothing of the component's own was touched.
    for path in shop().paths() {
        assert_eq!(applied.target.text(path), shop().text(path), "{path}");
    }
    assert_eq!(applied.after.applicability(), Applicability::AlreadyApplied);
    assert_eq!(applied.after.findings().len(), 1);
}

#[test]
fn what_people_add_to_the_declaration_is_kept_and_checked() {
    let once = applied(&shop()).target;
    let mut declaration = json_of(&once, ".caelum/component.json");
    declaration["owner"] = json!("team-shop");
    declaration["requires"]["tcp"] = json!(["queue:5672"]);
    let changed = once.file(".caelum/component.json", declaration.to_string());

    let again = applied(&changed);

    // The declaration says all that is so; only the checks must follow it.
    assert_eq!(
        found(&again),
        [
            "IE07 Advice: 10 of 14 items of the checklist are open",
            "IE02 Warning: `.caelum/preflight.sh` does not check what the component declares",
            "IE07 Advice: the checklist of the pattern does not show what is there",
        ]
    );
    assert!(again.target.text(".caelum/preflight.sh").contains("required_tcp='queue:5672'"));
    assert_eq!(json_of(&again.target, ".caelum/component.json")["owner"], json!("team-shop"));
    let risk = |plan: &caelum_sdk::Plan| {
        plan.edits_of(".caelum/preflight.sh").next().map(|edit| edit.risk)
    };
    assert_eq!(risk(&again.plan), Some(Risk::Review), "it may have been changed by hand");

    let written = PreviousFile {
        path: ".caelum/preflight.sh".into(),
        ownership: Ownership::Managed,
        base_sha256: None,
        result_sha256: sha256_hex(changed.text(".caelum/preflight.sh").as_bytes()),
    };
    let previous = PreviousApplication { files: vec![written], ..PreviousApplication::default() };
    let context = Context::default().with_previous(previous);
    let plan = plan::<InfrastructureEnforcement>(&changed, json!({}), &context).expect("a plan");
    assert_eq!(risk(&plan), Some(Risk::Safe), "it is as the pattern wrote it");
}

#[test]
fn a_new_port_brings_the_declaration_up_to_date() {
    let once = applied(&shop()).target;
    let changed = once.file("compose.yaml", COMPOSE.replace("\"8081:8000\"", "\"8082:8000\""));
    let again = applied(&changed);
    assert!(found(&again).contains(
        &"IE03 Blocking: `api` publishes port 8082, which the component does not claim".to_owned()
    ));
    let rows = json_of(&again.target, ".caelum/services.json");
    assert_eq!(
        rows.as_array().map(Vec::len),
        Some(4),
        "the old row is for people to remove: {rows}"
    );
}

#[test]
fn ports_of_others_block_and_a_free_one_is_named() {
    let context = Context::default()
        .with_port(8081, "cluster-communication")
        .with_port(5432, "postgresql")
        .with_port(8400, "taken");
    let applied = applied_with(&shop(), json!({}), &context);
    let conflict = applied
        .before
        .findings_of("IE03")
        .find(|finding| finding.message.contains("registered"))
        .expect("a conflict");
    assert_eq!(
        conflict.message,
        "port 8081 is registered for `cluster-communication`, and `api` publishes it"
    );
    assert_eq!(conflict.severity, Severity::Blocking);
    assert_eq!(conflict.location.as_ref().and_then(|location| location.line), Some(9));
    assert!(
        conflict.remediation.as_deref().is_some_and(|text| text.contains("such as 8401")),
        "{conflict:?}"
    );
    // PostgreSQL's own port is the database's to publish.
    assert!(
        !applied
            .before
            .findings_of("IE03")
            .any(|finding| finding.message.contains("5432 is registered"))
    );
    assert!(applied.plan.next_steps.iter().any(|step| step.blocking && step.id == "port-1"));
    // The claim of a port that is another's is not made good by declaring it.
    assert_eq!(applied.after.findings_of("IE03").count(), 1);
}

#[test]
fn a_port_that_is_published_twice_is_told() {
    let text = "services:\n  a: {image: x, ports: ['80:80', '81:81/udp']}\n  b: {image: y, ports: ['80:8080', '81:81/tcp', '127.0.0.1:80:1']}\n";
    let applied = applied(&FakeTarget::new().file("compose.yaml", text));
    let twice: Vec<_> = applied
        .before
        .findings_of("IE03")
        .filter(|finding| finding.message.contains("twice"))
        .collect();
    assert_eq!(twice.len(), 1);
    assert_eq!(twice[0].message, "port 80/tcp is published twice, by `a` and by `b`");
}

#[test]
fn every_language_gets_a_test_of_its_own() {
    let dockerfile = "FROM debian\nEXPOSE 80\n";
    let seed = |target: FakeTarget| {
        let applied = applied(&target.file("Dockerfile", dockerfile));
        let edit = applied
            .plan
            .edits
            .iter()
            .find(|edit| edit.ownership == Ownership::Seed)
            .expect("a test");
        edit.path().to_owned()
    };
    let package = |test: &str| json!({"name": "@a/web", "scripts": {"test": test}}).to_string();
    assert_eq!(
        seed(FakeTarget::new().file("requirements.txt", "flask\n")),
        "tests/test_caelum_preflight.py"
    );
    assert_eq!(
        seed(FakeTarget::new().file("app/tests/unit/test_a.py", "").file("app/x.py", "")),
        "app/tests/unit/test_caelum_preflight.py"
    );
    assert_eq!(
        seed(FakeTarget::new().file("package.json", package("node --test"))),
        "test/caelum-preflight.test.mjs"
    );
    assert_eq!(
        seed(FakeTarget::new().file("package.json", package("jest"))),
        ".caelum/test-preflight.sh"
    );
    assert_eq!(
        seed(FakeTarget::new().file("Cargo.toml", "[package]\nname = \"x\"\n")),
        "tests/caelum_preflight.rs"
    );
    assert_eq!(
        seed(FakeTarget::new().file("Cargo.toml", "[workspace]\n")),
        ".caelum/test-preflight.sh"
    );
    assert_eq!(seed(FakeTarget::new().file("go.mod", "module x\n")), ".caelum/test-preflight.sh");
}

#[test]
fn a_library_is_declared_and_nothing_more() {
    let target = FakeTarget::new()
        .file("Cargo.toml", "[package]\nname = \"my_parser\"\n")
        .file("src/lib.rs", "pub fn x() {}\n");
    let applied = applied(&target);
    assert_eq!(found(&applied).len(), 1);
    assert_eq!(
        json_of(&applied.target, ".caelum/component.json"),
        json!({"schema": "caelum-component/1", "component": "my_parser", "kinds": ["rust"]})
    );
    assert!(applied.before.skipped().contains("IE02"));
}

#[test]
fn nothing_to_enforce_is_not_applicable() {
    let target = FakeTarget::new().file("README.md", "# x\n");
    let assessment = validate::<InfrastructureEnforcement>(&target, json!({}), &Context::default())
        .expect("an answer");
    assert_eq!(assessment.applicability(), Applicability::NotApplicable);
    assert!(
        plan::<InfrastructureEnforcement>(&target, json!({}), &Context::default())
            .expect("a plan")
            .is_empty()
    );
}

#[test]
fn names_come_from_where_they_are_said_first() {
    let name = |parameters: Value, context: &Context| {
        json_of(&applied_with(&shop(), parameters, context).target, ".caelum/component.json")["component"].clone()
    };
    let given = Context::default().with_component("components/My Shop");
    assert_eq!(name(json!({"component_name": "front-shop"}), &given), json!("front-shop"));
    assert_eq!(name(json!({}), &given), json!("my-shop"));
    assert_eq!(name(json!({}), &Context::default()), json!("shop"));
}

#[test]
fn the_entry_point_is_wrapped_for_review_when_asked_for() {
    let applied = applied_with(&shop(), json!({"entrypoint_wrap": true}), &Context::default());
    assert_eq!(
        applied.plan.edits_of("Dockerfile").map(|edit| edit.risk).collect::<Vec<_>>(),
        [Risk::Review]
    );
    assert_eq!(
        applied.target.text("Dockerfile"),
        "FROM python:3.12-slim\nEXPOSE 8000\nCOPY .caelum/preflight.sh /usr/local/share/caelum/preflight.sh\n\
         ENTRYPOINT [\"sh\", \"/usr/local/share/caelum/preflight.sh\", \"--container\", \"--\"]\nCMD [\"python\", \"-m\", \"shop\"]\n"
    );
    let nginx = FakeTarget::new().file("Dockerfile", "FROM nginx\nEXPOSE 80\n");
    assert!(
        applied_with(&nginx, json!({"entrypoint_wrap": true}), &Context::default())
            .plan
            .edits_of("Dockerfile")
            .next()
            .is_none()
    );
}

#[test]
fn ticks_of_people_stay() {
    let once = applied(&shop()).target;
    let checklist = once
        .text("caelum-checklist.md")
        .replace("- [ ] Everybody who works", "- [x] Everybody who works");
    let ours = format!("Notes of the team.\r\n{checklist}\nMore notes");
    let changed = once
        .file("caelum-checklist.md", ours)
        .file("Makefile", "up:\n\tsh .caelum/preflight.sh && docker compose up\n");
    let again = applied(&changed);
    let after = again.target.text("caelum-checklist.md");
    assert!(
        after.contains("- [x] Everybody who works on it knows what is enforced. <!-- team -->"),
        "{after}"
    );
    assert!(
        after.contains("keep a broken component from starting. (`Makefile`) <!-- startup -->"),
        "{after}"
    );
    assert!(after.starts_with("Notes of the team.\r\n") && after.ends_with("\nMore notes"));
}

#[test]
fn what_cannot_be_read_is_told_and_left_alone() {
    let target = shop()
        .file(".caelum/component.json", "[1]")
        .file(".caelum/services.json", "{")
        .file(".caelum/preflight.sh", "#!/bin/sh\necho ok\n");
    let applied = applied(&target);
    for path in [".caelum/component.json", ".caelum/services.json", ".caelum/preflight.sh"] {
        assert_eq!(applied.target.text(path), target.text(path), "{path}");
    }
    let all = found(&applied).join("\n");
    assert!(
        all.contains("is no JSON object")
            && all.contains("is no JSON array")
            && all.contains("can never fail"),
        "{all}"
    );
}

#[test]
fn only_the_wanted_rules_are_planned() {
    let context = Context::default().with_rules(["IE03"]);
    let plan = plan::<InfrastructureEnforcement>(&shop(), json!({}), &context).expect("a plan");
    let paths: Vec<_> = plan.edits.iter().map(|edit| edit.path()).collect();
    assert_eq!(paths, [".caelum/component.json"]);
    let suppressed =
        json!({"suppress": [{"rule": "IE02", "reason": "our unit has its own checks"}]});
    let applied = applied_with(&shop(), suppressed, &Context::default());
    assert!(applied.plan.edits_of(".caelum/preflight.sh").next().is_none());
    assert!(applied.target.text("caelum-checklist.md").contains("- [ ] An enforcer stands"));
}

#[test]
fn wrong_parameters_are_named_all_at_once() {
    let parameters = json!({"component_name": "a b", "ports": [0], "requires": {"env": ["A B"], "tcp": ["db"], "files": ["../x"]},
                            "severity_overrides": {"XX": "advice"}, "health_path": "health"});
    let error = validate::<InfrastructureEnforcement>(&shop(), parameters, &Context::default())
        .expect_err("is wrong")
        .to_string();
    for pointer in [
        "/component_name",
        "/ports/0",
        "/requires/env/0",
        "/requires/tcp/0",
        "/requires/files/0",
        "/severity_overrides/XX",
        "/health_path",
    ] {
        assert!(error.contains(pointer), "{pointer}: {error}");
    }
}
