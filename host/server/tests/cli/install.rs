//! Setting clients up: what stands in their configurations afterwards, and what stays.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::harness::Home;

fn read(path: &std::path::Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_client_is_set_up_where_it_looks_and_starts_this_program() {
    let home = Home::new();
    let user = home.work().join("../home");
    for (client, file, table) in [
        ("claude-code", ".claude.json", "mcpServers"),
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"),
        ("cursor", ".cursor/mcp.json", "mcpServers"),
        ("gemini-cli", ".gemini/settings.json", "mcpServers"),
        ("vscode", ".config/Code/User/mcp.json", "servers"),
        ("windsurf", ".codeium/windsurf/mcp_config.json", "mcpServers"),
        ("zed", ".config/zed/settings.json", "context_servers"),
    ] {
        if cfg!(target_os = "macos") && matches!(client, "claude-desktop" | "vscode") {
            continue;
        }
        home.run(&["install", "--client", client]).with(0);

        let file = user.join(file);
        let text: Value = serde_json::from_str(&read(&file)).expect("JSON");
        let entry = &text[table]["caelum-workflow"];
        assert_eq!(entry["command"], env!("CARGO_BIN_EXE_caelum-workflow"), "{text}");
        assert_eq!(entry["args"][1], "--stdio", "{text}");
        // A client that starts servers somewhere has to be told where the work is.
        let told = entry["args"].as_array().is_some_and(|args| args.len() == 4);
        assert_eq!(told, matches!(client, "claude-desktop" | "windsurf"), "{text}");
        let mode = fs::metadata(&file).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{client}");
    }
    home.run(&["install", "--client", "codex", "--url", "http://127.0.0.1:8113/mcp"]).with(0);
    let codex = read(&user.join(".codex/config.toml"));
    assert_eq!(codex, "[mcp_servers.caelum-workflow]\nurl = \"http://127.0.0.1:8113/mcp\"\n");
}

#[test]
fn what_a_configuration_holds_stays_and_the_entry_is_taken_out_again() {
    let home = Home::new();
    let theirs = "{\n  // mine\n  \"inputs\": [],\n  \"servers\": {\n    \"other\": { \"url\": \"http://x\" },\n  },\n}\n";
    home.write("dotfiles/mcp.json", theirs);
    fs::create_dir(home.work().join(".vscode")).expect("a folder");
    let file = home.work().join(".vscode/mcp.json");
    symlink("../dotfiles/mcp.json", &file).expect("a link");
    let real = home.work().join("dotfiles/mcp.json");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("rights");
    let project = ["--client", "vscode", "--scope", "project"];
    let run = |more: &[&str]| home.run(&[&["install"], project.as_slice(), more].concat());

    let shown = run(&["--print"]).with(0);
    assert!(
        shown.out.contains("// mine") && shown.out.contains("caelum-workflow"),
        "{}",
        shown.out
    );
    assert_eq!(read(&real), theirs, "shown, not written");

    run(&[]).with(0);
    assert!(read(&real).contains("// mine") && read(&real).contains("\"other\""));
    assert!(fs::symlink_metadata(&file).expect("there").is_symlink(), "a link stays a link");
    assert_eq!(fs::metadata(&real).expect("there").permissions().mode() & 0o777, 0o640);
    let again = run(&["--json"]).with(0).json();
    assert_eq!(again["clients"][0]["status"], "unchanged", "{again}");

    let taken = run(&["--url", "http://127.0.0.1:9/mcp"]).with(1);
    assert!(taken.err.contains("another server called `caelum-workflow`"), "{}", taken.err);
    run(&["--url", "http://127.0.0.1:9/mcp", "--replace"]).with(0);
    assert!(read(&real).contains("http://127.0.0.1:9/mcp"));

    run(&["--remove"]).with(0);
    assert_eq!(read(&real), theirs, "as it was");
    let again = run(&["--remove", "--json"]).with(0).json();
    assert_eq!(
        again,
        json!({"clients": [{"client": "vscode", "file": again["clients"][0]["file"],
        "status": "unchanged", "then": again["clients"][0]["then"]}]})
    );
}

#[test]
fn what_cannot_be_set_up_is_told_and_nothing_is_written() {
    let home = Home::new();
    home.write(".cursor/mcp.json", "{\"mcpServers\": ");
    home.write(".mcp.json", "{}");

    let broken = home
        .run(&["install", "--client", "claude-code", "--client", "cursor", "--scope", "project"])
        .with(1);
    let desktop =
        home.run(&["install", "--client", "claude-desktop", "--scope", "project"]).with(2);
    let url = home.run(&["install", "--client", "cursor", "--url", "127.0.0.1:8113"]).with(2);
    let connector =
        home.run(&["install", "--client", "claude-desktop", "--url", "http://x/mcp"]).with(2);
    let unknown = home.run(&["install", "--client", "emacs"]).with(2);

    assert!(
        broken.err.contains(".cursor/mcp.json") && broken.err.contains("line 1"),
        "{}",
        broken.err
    );
    assert_eq!(read(&home.work().join(".cursor/mcp.json")), "{\"mcpServers\": ");
    assert_eq!(read(&home.work().join(".mcp.json")), "{}", "several are set up all or not at all");
    assert!(desktop.err.contains("keeps no servers for a project"), "{}", desktop.err);
    assert!(url.err.contains("is no URL of a server"), "{}", url.err);
    assert!(connector.err.contains("cannot be given a URL"), "{}", connector.err);
    assert!(unknown.err.contains("claude-code"), "{}", unknown.err);
}
