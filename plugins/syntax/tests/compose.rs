//! Compose files and manifests as people write them.

use caelum_plugin_syntax::compose::{
    ComposeFile, Condition, HealthcheckTest, PortNumber, is_compose_name,
};
use caelum_plugin_syntax::kubernetes;
use caelum_plugin_syntax::yaml::YamlFile;

#[test]
fn services_are_read_in_both_forms_of_everything() {
    let text = r#"
x-base: &base
  restart: always
  environment:
    A: "1"
    B:
services:
  web:
    <<: *base
    build:
      context: ./web
      target: dev
    depends_on: [db, cache]
    ports:
      - "8080:80"
      - 127.0.0.1:9229:9229
      - "5000:5000/udp"
      - "[::1]:81:82"
      - 3000-3002
      - "${PORT:-8443}:443"
      - "${PORT}:444"
      - target: 90
        published: "9090"
    expose: [7000, "7001/tcp"]
    healthcheck:
      test: curl -f http://localhost
      interval: 10s
      timeout: 1m
  worker:
    extends: web
    depends_on:
      db:
        condition: service_healthy
      seed: {condition: service_completed_successfully}
      cache:
    environment: [C=3, D]
    healthcheck: {disable: true}
  db: {image: "${REGISTRY:-docker.io}/postgres:${TAG:-15}", healthcheck: {test: ["CMD", "pg_isready"]}}
  seed: {build: ., profiles: [seed], restart: "no"}
  other: {extends: {file: base.yml, service: x}}
  loop: {extends: loop}
"#;
    let file = YamlFile::parse(text).expect("is YAML");
    let compose = ComposeFile::read(&file).expect("is a compose file");

    let names: Vec<String> =
        compose.services().iter().map(|service| service.name().to_owned()).collect();
    assert_eq!(names, ["web", "worker", "db", "seed", "other", "loop"]);
    let web = compose.service("web").expect("is there");
    assert_eq!(web.text("restart"), Some("always"));
    assert_eq!(web.tcp_ports(), [80, 9229, 82, 443, 444, 90, 7000, 7001]);
    let ports = web.ports();
    assert_eq!(ports[1].host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(
        (ports[3].host_ip.as_deref(), ports[3].published),
        (Some("::1"), Some(PortNumber::One(81)))
    );
    assert_eq!(ports[4].target, PortNumber::Range(3000, 3002));
    assert_eq!(ports[5].published, Some(PortNumber::One(8443)));
    assert_eq!(ports[6].published, Some(PortNumber::Unknown));
    let build = web.build().expect("is built");
    assert_eq!((build.context.as_deref(), build.target.as_deref()), (Some("./web"), Some("dev")));
    let check = web.healthcheck().expect("has one");
    assert_eq!(check.test, HealthcheckTest::Shell("curl -f http://localhost".to_owned()));
    assert_eq!(
        (check.interval_ms, check.timeout_ms, check.has("retries")),
        (Some(10_000), Some(60_000), false)
    );
    assert!(web.depends_on().iter().all(|dependency| dependency.condition.is_none()));

    let worker = compose.service("worker").expect("is there");
    assert!(worker.build().is_some());
    assert_eq!(worker.healthcheck().map(|check| check.test), Some(HealthcheckTest::Off));
    let conditions: Vec<_> =
        worker.depends_on().into_iter().map(|one| (one.service, one.condition)).collect();
    assert_eq!(
        conditions,
        [
            ("db".to_owned(), Some(Condition::Healthy)),
            ("seed".to_owned(), Some(Condition::Completed)),
            ("cache".to_owned(), Some(Condition::Started)),
        ]
    );
    let variables: Vec<_> =
        worker.environment().into_iter().map(|one| (one.name, one.value)).collect();
    assert_eq!(variables, [("C".to_owned(), Some("3".to_owned())), ("D".to_owned(), None)]);

    let db = compose.service("db").expect("is there");
    assert_eq!(db.image().expect("has a name").official(), Some("postgres"));
    assert!(compose.service("seed").expect("is there").is_job());
    assert!(compose.service("other").expect("is there").is_open());
    assert!(compose.service("loop").expect("is there").is_open());
    assert!(!web.is_open());
}

#[test]
fn names_of_compose_files_are_known() {
    for path in
        ["compose.yaml", "a/docker-compose.test.yml", "docker-stack.yml", "compose.override.yaml"]
    {
        assert!(is_compose_name(path), "{path}");
    }
    for path in ["composer.yaml", "my-compose.txt", "config.yml"] {
        assert!(!is_compose_name(path), "{path}");
    }
}

#[test]
fn workloads_are_found_in_documents_and_lists() {
    let text = "\
apiVersion: v1
kind: List
items:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      template:
        spec:
          initContainers: [{name: wait, image: busybox}]
          containers:
            - name: web
              image: nginx:1.25
              ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]
              readinessProbe: {httpGet: {path: /, port: 80}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: job}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: j, image: x}]}}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
";
    let file = YamlFile::parse(text).expect("is YAML");
    let found = kubernetes::workloads(&file);
    assert!(kubernetes::is_manifest(&file));
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].kind.as_str(), found[0].name.as_str(), found[0].is_job),
        ("Deployment", "web", false)
    );
    assert_eq!(found[0].containers[0].ports, [80]);
    assert!(found[0].containers[0].probe("readinessProbe").is_some());
    assert!(found[0].containers[0].probe("livenessProbe").is_none());
    assert!(found[1].is_job);
}

mod hostile {
    //! Text that nobody should write.

    use caelum_plugin_syntax::compose::{ComposeFile, duration_ms};
    use caelum_plugin_syntax::dockerfile::exec_form;
    use caelum_plugin_syntax::dotenv::Dotenv;
    use caelum_plugin_syntax::image::{ImageName, interpolate};
    use caelum_plugin_syntax::kubernetes::workloads;
    use caelum_plugin_syntax::yaml::YamlFile;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn no_text_makes_the_small_readers_panic(text in "[\\PC\\n\\r\\t]{0,120}") {
            Dotenv::parse(&text);
            ImageName::parse(&text);
            interpolate(&text, &|name| Some(format!("${{{name}}}")));
            duration_ms(&text);
            exec_form(&text);
        }

        #[test]
        fn no_likely_service_makes_the_model_panic(
            words in proptest::collection::vec(
                prop::sample::select(vec![
                    "services:\n", "  a: ", "  b:\n", "    image: ", "    ports: ", "    depends_on: ", "    extends: ",
                    "    healthcheck: ", "    build: ", "    environment: ", "{test: [CMD, x], interval: 1h}", "[a, b, 1]",
                    "{a: {condition: service_healthy}}", "a\n", "\n", "*x", "&x ", "<<: ", "{file: b, service: a}",
                    "[\"80:80/tcp\", \"[::1]:1-2:3\", {target: 70000}, \"${X}:1\"]", "${A:-${B:-c}}", "kind: Deployment\n",
                    "spec: {template: {spec: {containers: [{name: a, ports: [{containerPort: x}]}]}}}\n",
                ]),
                0..30,
            )
        ) {
            let text = words.concat();
            if let Ok(file) = YamlFile::parse(&text) {
                workloads(&file);
                if let Some(compose) = ComposeFile::read(&file) {
                    for service in compose.services() {
                        service.image();
                        service.build();
                        service.healthcheck();
                        service.depends_on();
                        service.ports();
                        service.tcp_ports();
                        service.environment();
                        service.words("command");
                        service.is_job();
                    }
                }
            }
        }
    }
}
