//! What the pattern finds and changes in components as people write them.

use caelum_sdk::testing::{Applied, FakeTarget, check_pattern, check_plan, plan, validate};
use caelum_sdk::{Applicability, Context, Risk, Severity};
use health_check::HealthCheck;
use serde_json::{Value, json};

const SHOP: &str = include_str!("../fixtures/shop.yaml");
const DOCKERFILE: &str = include_str!("../fixtures/api.Dockerfile");
const API: &str = include_str!("../fixtures/api.py");

fn shop() -> FakeTarget {
    FakeTarget::new()
        .file("compose.yaml", SHOP)
        .file("api/Dockerfile", DOCKERFILE)
        .file("api/api/main.py", API)
}

fn applied(target: &FakeTarget, parameters: Value) -> Applied {
    check_plan::<HealthCheck>(target, parameters, &Context::default())
}

fn found(applied: &Applied) -> Vec<String> {
    let findings = applied.before.findings().iter();
    findings
        .map(|finding| {
            let line = finding.location.as_ref().and_then(|location| location.line).unwrap_or(0);
            format!("{line} {} {:?}: {}", finding.rule, finding.severity, finding.message)
        })
        .collect()
}

/// Returns the lines of the second text that the first does not have at their place.
fn added(before: &str, after: &str) -> Vec<String> {
    let old: Vec<&str> = before.lines().collect();
    let mut at = 0;
    let mut new = Vec::new();
    for line in after.lines() {
        // No change of the fixture removes more than two lines in a row.
        match old[at..].iter().take(3).position(|known| *known == line) {
            Some(skipped) => at += skipped + 1,
            None => new.push(line.to_owned()),
        }
    }
    new
}

#[test]
fn it_keeps_the_contract() {
    check_pattern::<HealthCheck>();
}

#[test]
fn a_shop_is_looked_through_with_places() {
    let applied = applied(&shop(), json!({}));
    assert_eq!(
        found(&applied),
        [
            "9 HC01 Blocking: others wait until `db` is healthy, and it has no health check",
            "18 HC03 Warning: `cache` keeps running and nothing asks for its health",
            "32 HC02 Blocking: the test of `api` uses `curl`, which its image does not have",
            "45 HC06 Warning: `worker` is started once `cache`, `api` was started, ready or not",
            "47 HC02 Blocking: the test of `worker` is run without a shell and passes `||` as an argument, so that it always fails",
            "47 HC05 Warning: the health check of `worker` does not say `interval`, `timeout`, `retries`",
            "52 HC06 Warning: `web` is started once `api`, `search` was started, ready or not",
            "57 HC04 Warning: the health check of `web` asks `api`: when that is down, both are reported sick",
            "57 HC05 Warning: the health check of `web` may take 10s and is due every 10s",
            "62 HC03 Advice: `search` keeps running and nothing asks for its health, unless its image does",
        ]
    );
    assert_eq!(applied.before.applicability(), Applicability::Applicable);
}

#[test]
fn the_shop_is_mended_and_everything_else_stays() {
    let applied = applied(&shop(), json!({}));
    let after = applied.target.text("compose.yaml");

    assert_eq!(
        added(SHOP, after),
        [
            "    healthcheck:",
            "      test: [\"CMD-SHELL\", \"pg_isready -q -h 127.0.0.1 -U \\\"$${POSTGRES_USER:-postgres}\\\" -d \\\"$${POSTGRES_DB:-$${POSTGRES_USER:-postgres}}\\\"\"]",
            "      interval: 10s",
            "      timeout: 5s",
            "      retries: 3",
            "      start_period: 30s",
            "  cache: {image: redis:7-alpine, restart: always, healthcheck: {test: [\"CMD-SHELL\", \"redis-cli ping | grep -q PONG\"], interval: 10s, timeout: 5s, retries: 3, start_period: 30s}}",
            "      test: [\"CMD\", \"python3\", \"-c\", \"import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)\"] # nobody installed curl",
            "    depends_on: {cache: {condition: service_healthy}, api: {condition: service_healthy}}",
            "      test: [\"CMD-SHELL\", \"pgrep -f worker || exit 1\"]",
            "      interval: 30s",
            "      timeout: 5s",
            "      retries: 3",
            "      api:",
            "        condition: service_healthy   # answers for /api",
            "      search:",
            "        condition: service_started",
        ]
    );
    let risks: Vec<_> = applied.plan.edits.iter().map(|edit| edit.risk).collect();
    assert_eq!(
        risks,
        [
            Risk::Safe,
            Risk::Safe,
            Risk::Review,
            Risk::Review,
            Risk::Review,
            Risk::Review,
            Risk::Review
        ]
    );
    let left: Vec<_> =
        applied.after.findings().iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(left, ["HC04", "HC05", "HC03"]);
}

#[test]
fn only_the_wanted_rules_are_planned() {
    let context = Context::default().with_rules(["HC06"]);
    let plan = plan::<HealthCheck>(&shop(), json!({}), &context).expect("a plan");
    // Nothing will ask for the health of the cache, so nobody can wait for it.
    assert_eq!(plan.edits.len(), 2);
    let after = shop().apply(&plan).expect("can be applied");
    assert!(
        after
            .text("compose.yaml")
            .contains("{cache: {condition: service_started}, api: {condition: service_healthy}}")
    );
    let again =
        caelum_sdk::testing::plan::<HealthCheck>(&after, json!({}), &context).expect("a plan");
    assert!(again.is_empty());
}

#[test]
fn windows_line_ends_stay() {
    let target =
        FakeTarget::new().file("compose.yaml", "services:\r\n  db:\r\n    image: mysql:8\r\n");
    let applied = applied(&target, json!({"interval_s": 60}));
    assert_eq!(
        applied.target.text("compose.yaml"),
        "services:\r\n  db:\r\n    image: mysql:8\r\n    healthcheck:\r\n      test: [\"CMD\", \"mysqladmin\", \"ping\", \"-h\", \
         \"127.0.0.1\", \"--silent\"]\r\n      interval: 1m\r\n      timeout: 5s\r\n      retries: 3\r\n      start_period: 30s\r\n"
    );
}

#[test]
fn an_image_with_its_own_check_and_a_switched_off_one_are_left_alone() {
    let target = FakeTarget::new()
        .file("compose.yaml", "services:\n  a: {build: .}\n  b: {image: x/y, healthcheck: {disable: true}}\n  c: {image: 'pihole/pihole'}\n")
        .file("Dockerfile", "FROM alpine\nHEALTHCHECK CMD true\n");
    let applied = applied(&target, json!({}));
    assert_eq!(found(&applied), [""; 0]);
    assert_eq!(applied.before.applicability(), Applicability::AlreadyApplied);
}

#[test]
fn a_service_without_a_known_check_gets_advice() {
    let target = FakeTarget::new()
        .file("compose.yaml", "services:\n  a:\n    build: .\n    ports: ['80:80']\n")
        .file("Dockerfile", "FROM golang:1 AS build\nFROM scratch\nCOPY --from=build /a /a\n");
    let applied = applied(&target, json!({}));
    assert!(applied.plan.is_empty());
    let remediation = applied.before.findings()[0].remediation.as_deref();
    assert!(remediation.is_some_and(|text| text.contains("no check is known")), "{remediation:?}");
}

#[test]
fn manifests_get_readiness_probes_for_review() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: nginx\n        ports:\n        - containerPort: 80\n      - name: side\n        image: x\n        livenessProbe: &p {httpGet: {path: /ready, port: 1}}\n        readinessProbe: {httpGet: {path: /ready, port: 1}}\n";
    let target =
        FakeTarget::new().file("k8s/web.yaml", text).file("Dockerfile", "FROM nginx\nEXPOSE 80\n");
    let applied = applied(&target, json!({}));
    assert_eq!(
        found(&applied),
        [
            "9 HC03 Warning: nothing probes the container `web` of Deployment `web`",
            "15 HC04 Warning: the container `side` of Deployment `web` is restarted when it is not ready: both probes ask `/ready` on port 1, which speaks of more than the process",
        ]
    );
    assert_eq!(applied.plan.edits[0].risk, Risk::Review);
    assert!(applied.target.text("k8s/web.yaml").contains(
        "        - containerPort: 80\n        readinessProbe:\n          tcpSocket:\n            port: 80\n          periodSeconds: 10\n"
    ));
}

#[test]
fn a_lone_dockerfile_gets_a_healthcheck_for_review() {
    let target = FakeTarget::new().file("Dockerfile", DOCKERFILE).file("main.py", API);
    let applied = applied(&target, json!({}));
    assert_eq!(
        found(&applied),
        ["1 HC03 Warning: the image serves port 8000 and has no HEALTHCHECK"]
    );
    assert_eq!(applied.plan.edits[0].risk, Risk::Review);
    let after = applied.target.text("Dockerfile");
    assert!(after.contains("EXPOSE 8000\nHEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD [\"python3\", \"-c\", "), "{after}");
    assert!(after.ends_with("\nCMD [\"python\", \"-m\", \"api\"]\n"));
}

#[test]
fn parameters_leave_out_weigh_and_accept() {
    let parameters = json!({"exclude": ["**/other.yaml"], "severity_overrides": {"HC03": "blocking"},
                            "suppress": [{"rule": "HC01", "reason": "goes away in June"}], "targets": ["compose"]});
    let applied = applied(&shop(), parameters);
    let severity =
        |rule: &str| applied.before.findings_of(rule).next().map(|finding| finding.severity);
    assert_eq!(
        (severity("HC03"), severity("HC01")),
        (Some(Severity::Blocking), Some(Severity::Advice))
    );
    assert!(!applied.target.text("compose.yaml").contains("pg_isready"));

    for (parameters, expected) in [
        (json!({"timeout_s": 30}), "/timeout_s"),
        (json!({"path": "/a b'"}), "/path"),
        (json!({"severity_overrides": {"HC99": "advice"}}), "there is no rule `HC99`"),
        (json!({"exclud": []}), "/exclud"),
    ] {
        let error = validate::<HealthCheck>(&shop(), parameters, &Context::default())
            .expect_err("is wrong")
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let target = FakeTarget::new().file("compose.yaml", "services:\n  a: [\n");
    let applied = applied(&target, json!({}));
    assert_eq!(applied.before.findings()[0].rule, "HC00");
    let nothing = FakeTarget::new().file("README.md", "# x\n");
    assert_eq!(
        validate::<HealthCheck>(&nothing, json!({}), &Context::default())
            .expect("an answer")
            .applicability(),
        Applicability::NotApplicable
    );
}
