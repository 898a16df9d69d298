//! Layers, faults and the example file.

use std::collections::BTreeMap;
use std::fs;

use super::*;

struct Place {
    dir: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    flags: Flags,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("home");
        fs::create_dir(&home).expect("a home");
        let environment =
            BTreeMap::from([("HOME".to_owned(), home.to_str().expect("UTF-8").to_owned())]);
        Self { dir, environment, flags: Flags::default() }
    }

    fn flag(mut self, key: &'static str, value: &str) -> Self {
        self.flags.settings.entry(key).or_default().push(value.to_owned());
        self
    }

    fn limit(mut self, entry: &str) -> Self {
        self.flags.limits.push(entry.to_owned());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn dotenv(self, text: &str) -> Self {
        fs::write(self.dir.path().join(".env"), text).expect("written");
        self
    }

    fn file(mut self, text: &str) -> Self {
        fs::create_dir_all(self.dir.path().join("etc")).expect("a folder");
        fs::write(self.dir.path().join("etc/c.toml"), text).expect("written");
        self.flags.config = Some("etc/c.toml".into());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let path = self.dir.path().to_owned();
        Config::load(&Sources::of(self.flags.clone(), self.environment.clone(), path))
    }

    fn problems(&self) -> Vec<String> {
        let here = self.dir.path().to_str().expect("UTF-8").to_owned();
        self.load()
            .expect_err("the configuration is wrong")
            .problems
            .iter()
            .map(|problem| problem.replace(&here, "HERE"))
            .collect()
    }
}

#[test]
fn without_a_word_everything_has_its_default() {
    let place = Place::new();

    let config = place.load().unwrap();

    assert_eq!(config.address.to_string(), "127.0.0.1:8113");
    let data = place.dir.path().join("home/.local/state/caelum-workflow");
    assert_eq!(config.data_dir, data);
    assert_eq!(config.pattern_dir, data.join("plugins"));
    assert_eq!(config.components_file, data.join("components.toml"));
    assert_eq!(config.roots, [place.dir.path()]);
    assert!(config.tokens.is_empty() && config.warnings.is_empty());
    assert!(!config.read_only && !config.allow_unauthenticated);
}

#[test]
fn a_flag_wins_over_the_environment_over_dotenv_over_the_file() {
    let port = "CAELUM_WORKFLOW_ORCHESTRATION_PORT";
    let file = Place::new().file("port = 1001");
    let dotenv = Place::new().file("port = 1001").dotenv(&format!("{port}=1002\n"));
    let environment =
        Place::new().file("port = 1001").dotenv(&format!("{port}=1002\n")).variable(port, "1003");
    let flag = Place::new()
        .file("port = 1001")
        .dotenv(&format!("{port}=1002\n"))
        .variable(port, "1003")
        .flag("port", "1004");

    let ports: Vec<u16> = [file, dotenv, environment, flag]
        .iter()
        .map(|place| place.load().unwrap().address.port())
        .collect();

    assert_eq!(ports, [1001, 1002, 1003, 1004]);
}

#[test]
fn limits_come_from_every_layer_and_reach_the_parts() {
    let place = Place::new()
        .file("[limits]\ncalls_max = 10\nplan_edits_max = 7\nkill_grace_s = 0")
        .variable("CAELUM_WORKFLOW_LIMIT_CONNECTIONS_MAX", "20")
        .limit("plugin_call_ms=1_500");

    let config = place.load().unwrap();

    let engine = config.engine();
    assert_eq!(config.calls().calls_max, 10);
    assert_eq!(config.front().connections_max, 20);
    assert_eq!((engine.plugins.limits.plan_edits_max, engine.plans.edits_max), (7, 7));
    assert_eq!(engine.plugins.limits.call_deadline.as_millis(), 1_500);
    assert_eq!(engine.grace.as_secs(), 0);
}

#[test]
fn every_limit_takes_its_ends_and_nothing_beyond_them() {
    let limits = [
        ("workflow_depth_max", 0, 64),
        ("http_body_bytes_max", 1_024, 256 * 1_024 * 1_024),
        ("tool_calls_at_once_max", 1, 1_000),
        ("tool_connect_timeout_s", 1, 3_600),
    ];
    let read = |name: &str, value: u64| {
        let place = Place::new().limit(&format!("{name}={value}"));
        let engine = place.load().unwrap().engine();
        match name {
            "workflow_depth_max" => u64::from(engine.workflow_depth_max),
            "http_body_bytes_max" => engine.machines.http_body_bytes_max as u64,
            "tool_calls_at_once_max" => engine.machines.tool_calls_at_once_max as u64,
            _ => engine.machines.tool_connect_timeout.as_secs(),
        }
    };

    for (name, min, max) in limits {
        assert_eq!((read(name, min), read(name, max)), (min, max), "{name}");
    }
    for limit in limits::LIMITS {
        let wrong = [limit.min.checked_sub(1), limit.max.checked_add(1)];
        for value in wrong.into_iter().flatten() {
            let problems = Place::new().limit(&format!("{}={value}", limit.key)).problems();
            let range = format!("expected a whole number from {} to {}", limit.min, limit.max);
            assert!(problems[0].contains(&range), "{}={value}: {problems:?}", limit.key);
        }
    }
}

#[test]
fn paths_begin_where_they_were_said() {
    let place = Place::new()
        .file("data_dir = \"data\"\nroots = [\"a\", \"~/b\"]\ncomponents_file = \"/abs.toml\"")
        .flag("pattern_dir", "plugins");

    let config = place.load().unwrap();

    let here = place.dir.path();
    assert_eq!(config.data_dir, here.join("etc/data"));
    assert_eq!(config.roots, [here.join("etc/a"), here.join("home/b")]);
    assert_eq!(config.components_file.to_str(), Some("/abs.toml"));
    assert_eq!(config.pattern_dir, here.join("plugins"));
}

#[test]
fn every_fault_of_every_layer_is_named_at_once() {
    let place = Place::new()
        .file("prot = 1\nread_only = \"perhaps\"\nroots = \"x\"\nhost = [1]\n[limits]\ncalls = 1\nsteps_max = 10001")
        .variable("CAELUM_WORKFLOW_ORCHESTRATION_PORT", "70000")
        .variable("CAELUM_WORKFLOW_TOKEN", "hunter2")
        .flag("log", "caelum=loud")
        .limit("calls_mx=1")
        .limit("what");

    let problems = place.problems();

    for expected in [
        "`HERE/etc/c.toml`: unknown key `prot`; did you mean `port`?",
        "`HERE/etc/c.toml`: unknown limit `limits.calls`; did you mean `calls_max`",
        "--limit: unknown limit `calls_mx`; did you mean `calls_max`?",
        "--limit: `what` is no limit; expected NAME=VALUE",
        "`host` in `HERE/etc/c.toml`: found a list, expected one value",
        "the environment variable `CAELUM_WORKFLOW_ORCHESTRATION_PORT`: found `70000`, expected a port",
        "the environment variable `CAELUM_WORKFLOW_TOKEN`: the token has 7 characters, expected at least 24",
        "`limits.steps_max` in `HERE/etc/c.toml`: found `10001`, expected a whole number from 1 to 10000",
        "`read_only` in `HERE/etc/c.toml`: found `perhaps`, expected true or false",
        "--log: found `caelum=loud`,",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(expected)),
            "{expected} is not in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 10, "{problems:#?}");
    assert!(!problems.join("").contains("hunter2"));
}

#[test]
fn a_named_file_that_is_not_there_is_a_fault_and_the_usual_one_need_not_be() {
    let mut place = Place::new();
    place.flags.config = Some("gone.toml".into());

    let problems = place.problems();

    assert!(problems[0].starts_with("the file `HERE/gone.toml` cannot be read"), "{problems:?}");
}

#[test]
fn the_usual_file_is_read_where_it_lies() {
    let place = Place::new();
    let folder = place.dir.path().join("home/.config/caelum-workflow");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), "port = 0").unwrap();

    assert_eq!(place.load().unwrap().address.port(), 0);
}

#[test]
fn a_slip_in_a_variable_is_noticed_and_foreign_lines_of_dotenv_are_skipped() {
    let place = Place::new()
        .variable("CAELUM_WORKFLOW_DATADIR", "/x")
        .dotenv("OTHER=1\nthis is no line\nCAELUM_WORKFLOW_READ_ONLY=true\n");

    let config = place.load().unwrap();

    assert!(config.read_only);
    let warnings = config.warnings.join("\n");
    assert!(
        warnings.contains(
            "`CAELUM_WORKFLOW_DATADIR` is not one of ours; did you mean `CAELUM_WORKFLOW_DATA_DIR`?"
        ),
        "{warnings}"
    );
    assert!(warnings.contains("a line of `") && !warnings.contains("OTHER"), "{warnings}");
}

#[test]
fn tokens_are_kept_with_what_they_allow() {
    let place = Place::new()
        .variable("CAELUM_WORKFLOW_TOKEN", "admin-admin-admin-admin-")
        .variable("CAELUM_WORKFLOW_READ_TOKEN", "reader-reader-reader-reader");

    let config = place.load().unwrap();

    let scopes: Vec<Scope> = config.tokens.iter().map(|(_, scope)| *scope).collect();
    assert_eq!(scopes, [Scope::Admin, Scope::Read]);
    assert!(!format!("{config:?}").contains("admin-admin"));
}

#[test]
fn the_example_file_is_the_one_in_the_repository_and_parses_with_every_line_in_force() {
    let example = example();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.example.toml");

    assert_eq!(
        fs::read_to_string(&kept).unwrap_or_default(),
        example,
        "the tables changed: run `caelum-workflow config --example > docs/config.example.toml`"
    );
    let in_force: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|first: char| first.is_ascii_lowercase()) => {
                setting
            }
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let place = Place::new().file(&in_force);
    let config = place.load().unwrap();
    assert_eq!(config.address.to_string(), "127.0.0.1:8113");
}

#[test]
fn tool_servers_are_read_from_the_file_and_their_secrets_from_the_environment() {
    let place = Place::new().variable("TRACKER_TOKEN", "hidden-hidden").file(
        r#"
        [tool_servers.tracker]
        program = "npx"
        args = ["-y", "tracker-mcp"]
        env = { TOKEN = "$TRACKER_TOKEN", LEVEL = "1" }
        [tool_servers.wiki]
        url = "https://wiki.example.org/mcp"
        headers = { Authorization = "Bearer x" }
        "#,
    );

    let config = place.load().unwrap();

    let ToolServer::Stdio { program, args, env } = &config.tool_servers["tracker"] else {
        panic!("a program: {:?}", config.tool_servers)
    };
    assert_eq!((program.as_str(), args.len()), ("npx", 2));
    assert_eq!(env["TOKEN"], "hidden-hidden");
    assert!(!format!("{config:?}").contains("hidden-hidden"));
    assert_eq!(config.engine().tool_servers.len(), 2);
}

#[test]
fn every_fault_of_a_tool_server_is_named_and_no_value_is_shown() {
    let place = Place::new().file(
        r#"
        [tool_servers.a]
        progam = "x"
        [tool_servers.b]
        program = "x"
        args = [1]
        headers = { A = "secret" }
        env = { B = "$NOT_SET", C = 5 }
        [tool_servers.c]
        url = ""
        "#,
    );

    let problems = place.problems();

    let expected = [
        "`HERE/etc/c.toml`: `tool_servers.a.progam`: unknown key; did you mean `program`?",
        "`HERE/etc/c.toml`: `tool_servers.a`: expected either `program` (with `args`, `env`) or `url` (with `headers`)",
        "`HERE/etc/c.toml`: `tool_servers.b.headers`: goes with `url` only",
        "`HERE/etc/c.toml`: `tool_servers.b.args`: expected a list of texts",
        "`HERE/etc/c.toml`: `tool_servers.b.env.B`: the environment variable `NOT_SET` is not set",
        "`HERE/etc/c.toml`: `tool_servers.b.env.C`: expected a text",
        "`HERE/etc/c.toml`: `tool_servers.c.url`: expected a text that is not empty",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn toolsets_are_read_from_flags_and_variables_and_every_unknown_one_is_named() {
    let flags = Place::new().flag("toolsets", "tasks").load().unwrap();
    let variable =
        Place::new().variable("CAELUM_WORKFLOW_TOOLSETS", "patterns, workflows").load().unwrap();
    let nothing = Place::new().load().unwrap();
    let wrong = Place::new().variable("CAELUM_WORKFLOW_TOOLSETS", "paterns,zzz").problems();

    assert_eq!(flags.toolsets.names(), ["tasks"]);
    assert_eq!(variable.toolsets.names(), ["workflows", "patterns"]);
    assert!(nothing.toolsets.is_all());
    assert_eq!(
        wrong,
        [
            "toolsets: `paterns` is no toolset; did you mean `patterns`?; there are workflows, patterns, tasks, monitoring, and all",
            "toolsets: `zzz` is no toolset; there are workflows, patterns, tasks, monitoring, and all",
        ]
    );
}

#[test]
fn the_audit_log_lies_in_the_data_directory_and_is_on_unless_somebody_says_otherwise() {
    let usual = Place::new().flag("data_dir", "/data").load().unwrap();
    let changed = Place::new()
        .flag("audit", "changes")
        .flag("audit_dir", "/var/log/caelum")
        .limit("audit_files_max=0")
        .load()
        .unwrap();
    let wrong = Place::new().flag("audit", "some").problems();

    assert_eq!(usual.audit.directory, Path::new("/data/audit"));
    assert_eq!(usual.audit.mode, audit::Mode::All);
    assert_eq!(changed.audit.directory, Path::new("/var/log/caelum"));
    assert_eq!((changed.audit.mode, changed.audit.limits.files_max), (audit::Mode::Changes, 0));
    assert_eq!(
        wrong,
        [
            "--audit: found `some`, expected all (every call), changes (calls that change something, and whatever was denied or failed) or off"
        ]
    );
}
