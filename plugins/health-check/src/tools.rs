//! HC02: whether a check uses tools and addresses that are there.

use caelum_plugin_component::{Tools, at_node, service_dockerfile, service_tools};
use caelum_plugin_syntax::compose::{Healthcheck, HealthcheckTest, Service};
use caelum_plugin_syntax::splice::Splice;
use caelum_plugin_syntax::yaml::insert::quoted;
use caelum_sdk::Finding;

use crate::HC02;
use crate::compose::View;
use crate::proposal::{Change, Proposal, Proposals};

/// Words of a shell that a program would take for arguments.
const OPERATORS: [&str; 6] = ["||", "&&", "|", ";", ">", ">/dev/null"];

/// Looks at a check.
pub(crate) fn look(
    view: &View<'_>,
    service: &Service<'_>,
    check: &Healthcheck<'_>,
    proposals: &mut Proposals,
) {
    let Some(test_node) = check.test_node else { return };
    if matches!(check.test, HealthcheckTest::Off | HealthcheckTest::Inherited) {
        return;
    }
    proposals.looked(HC02);
    let name = service.name();
    let place = |finding: Finding, what: &str| {
        finding.about(format!("services/{name}/{what}")).at_location(at_node(view.path, test_node))
    };
    if check.test == HealthcheckTest::Malformed {
        let finding = HC02
            .finding(format!("the test of `{name}` begins with neither `CMD`, `CMD-SHELL` nor `NONE`"))
            .remediation("Begin the list with `CMD` (a program and its arguments) or `CMD-SHELL` (one line for the shell).");
        proposals.push(Proposal::finding(place(finding, "malformed")));
        return;
    }
    if let HealthcheckTest::Exec(words) = &check.test
        && let Some(problem) = shell_words(words)
    {
        let finding = HC02
            .finding(format!(
                "the test of `{name}` is run without a shell and {problem}, so that it always fails"
            ))
            .remediation("Write `CMD-SHELL` and one line.");
        let change = as_shell(view, service, check, words);
        proposals.push(Proposal::new(place(finding, "shell"), change));
        return;
    }
    let Some(tools) = service_tools(view.inventory, view.path, service) else {
        address(view, service, check, proposals);
        return;
    };
    if let Some(missing) = missing_tool(&check.test, tools) {
        let finding = HC02
            .finding(format!("the test of `{name}` uses {missing}, which its image does not have"));
        let change = replaced(view, service, check);
        let finding = finding.remediation(match change {
            Some(_) => "Use a tool that the image has, as proposed, or install the missing one.",
            None => "Use a tool that the image has, or install the missing one.",
        });
        proposals.push(Proposal::new(place(finding, "tool"), change));
        return;
    }
    address(view, service, check, proposals);
}

/// Says what in a list of words only a shell would understand.
fn shell_words(words: &[String]) -> Option<String> {
    if let [only] = words
        && only.trim().contains(' ')
    {
        return Some(format!("names a program `{}`", only.trim()));
    }
    let operator = words.iter().skip(1).find(|word| OPERATORS.contains(&word.as_str()))?;
    // A shell that was asked for by name understands them.
    let shell = words
        .first()
        .is_some_and(|word| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash")));
    (!shell).then(|| format!("passes `{operator}` as an argument"))
}

fn as_shell(
    view: &View<'_>,
    service: &Service<'_>,
    check: &Healthcheck<'_>,
    words: &[String],
) -> Option<Change> {
    let plain = |word: &String| {
        OPERATORS.contains(&word.as_str())
            || !word.contains(|letter: char| "'\"`$\\ \n".contains(letter))
    };
    let line = match words {
        [only] => only.trim().to_owned(),
        _ if words.iter().all(plain) => words.join(" "),
        _ => return None,
    };
    replacement(view, service, check, &["CMD-SHELL".to_owned(), line], "has a shell run the line")
}

fn replaced(view: &View<'_>, service: &Service<'_>, check: &Healthcheck<'_>) -> Option<Change> {
    let test = view.fitting_test(service)?;
    if test.compose().join(" ").contains(&check.test.line()) {
        return None;
    }
    replacement(view, service, check, &test.compose(), "asks with a tool that the image has")
}

fn replacement(
    view: &View<'_>,
    service: &Service<'_>,
    check: &Healthcheck<'_>,
    words: &[String],
    why: &str,
) -> Option<Change> {
    let node = check.test_node?;
    let own = service.node().own_entry("healthcheck")?;
    if node.is_alias()
        || own.value.is_alias()
        || own.value.own_entry("test")?.value.span() != node.span()
    {
        return None;
    }
    let text = &view.document.file.text()[node.span()];
    // A comment inside would be lost.
    if text.contains('#') || text.starts_with(['|', '>']) {
        return None;
    }
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let splice = Splice::replace(node.span(), format!("[{}]", words.join(", ")));
    Some(Change::review(&view.document.file, vec![splice], format!("{why} (`{}`)", service.name())))
}

/// Names a tool that a test uses and the image lacks.
fn missing_tool(test: &HealthcheckTest, tools: Tools) -> Option<String> {
    let words: Vec<String> = match test {
        HealthcheckTest::Exec(words) => words.iter().take(1).cloned().collect(),
        HealthcheckTest::Shell(line) => {
            if !tools.shell {
                return Some("a shell".to_owned());
            }
            commands(line)
        }
        _ => return None,
    };
    for word in words {
        let there = match word.rsplit('/').next().unwrap_or(&word) {
            "curl" => tools.curl,
            "wget" => tools.wget,
            "nc" | "netcat" => tools.nc,
            "node" => tools.node,
            "python" | "python3" => tools.python,
            "bash" => tools.bash,
            "sh" => tools.shell,
            _ => true,
        };
        if !there {
            return Some(format!("`{word}`"));
        }
    }
    None
}

/// Returns the first word of every command of a line.
fn commands(line: &str) -> Vec<String> {
    let parts = line.split(['|', '&', ';', '(', ')', '`']);
    parts
        .filter_map(|part| {
            let mut words = part.split_whitespace().skip_while(|word| {
                word.contains('=') || matches!(*word, "!" | "exec" | "if" | "then" | "test" | "[")
            });
            words.next().map(str::to_owned)
        })
        .collect()
}

/// Whether the address that a check asks is served at all.
fn address(
    view: &View<'_>,
    service: &Service<'_>,
    check: &Healthcheck<'_>,
    proposals: &mut Proposals,
) {
    let Some((docker, context)) = service_dockerfile(view.inventory, view.path, service) else {
        return;
    };
    let line = check.test.line();
    let Some(path) = local_path(&line) else { return };
    let base =
        docker.dockerfile.stages.last().and_then(|stage| docker.dockerfile.base_image(stage));
    if base.is_some_and(|base| base.contains("nginx"))
        || !view.inventory.routes.lacks(&context, &path)
    {
        return;
    }
    let name = service.name();
    let finding = HC02
        .finding(format!(
            "the test of `{name}` asks for `{path}`, and no source speaks of that address"
        ))
        .about(format!("services/{name}/address"))
        .severity(caelum_sdk::Severity::Warning)
        .remediation(match view.inventory.routes.health(&context, &view.parameters.path) {
            Some(known) => format!("Ask for `{known}`, which the sources speak of."),
            None => format!("Serve `{path}`, or ask for an address that is served."),
        });
    if let Some(node) = check.test_node {
        proposals.push(Proposal::finding(finding.at_location(at_node(view.path, node))));
    }
}

/// Returns the path of the address on this very host that a line asks for.
fn local_path(line: &str) -> Option<String> {
    for host in ["localhost", "127.0.0.1", "0.0.0.0"] {
        let Some(at) = line.find(host) else { continue };
        let rest = &line[at + host.len()..];
        let rest = rest
            .strip_prefix(':')
            .map_or(rest, |port| port.trim_start_matches(|letter: char| letter.is_ascii_digit()));
        let end = rest
            .find(|letter: char| letter.is_whitespace() || "'\"|;&)".contains(letter))
            .unwrap_or(rest.len());
        let path = &rest[..end];
        return (path.starts_with('/') && path.len() > 1 && !path.contains('$'))
            .then(|| path.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn shell_syntax_without_a_shell_is_seen() {
        assert_eq!(
            shell_words(&words("curl -f http://localhost || exit 1")).as_deref(),
            Some("passes `||` as an argument")
        );
        assert_eq!(
            shell_words(&["curl -f http://localhost".to_owned()]).as_deref(),
            Some("names a program `curl -f http://localhost`")
        );
        assert_eq!(shell_words(&words("sh -c a || b")), None);
        assert_eq!(shell_words(&words("pg_isready -q")), None);
    }

    #[test]
    fn every_command_of_a_line_is_looked_at() {
        assert_eq!(commands("A=1 curl -f x || wget y && (nc -z a 1)"), ["curl", "wget", "nc"]);
        let slim = Tools { shell: true, bash: true, python: true, ..Tools::default() };
        let shell = |line: &str| missing_tool(&HealthcheckTest::Shell(line.to_owned()), slim);
        assert_eq!(shell("curl -f http://localhost || exit 1").as_deref(), Some("`curl`"));
        assert_eq!(shell("python3 check.py || exit 1"), None);
        assert_eq!(
            missing_tool(&HealthcheckTest::Shell("true".into()), Tools::default()).as_deref(),
            Some("a shell")
        );
    }

    #[test]
    fn the_path_of_a_local_address_is_found() {
        assert_eq!(
            local_path("curl -f http://localhost:8000/health?x=1 || exit 1").as_deref(),
            Some("/health?x=1")
        );
        assert_eq!(local_path("curl -f http://localhost"), None);
        assert_eq!(local_path("curl http://127.0.0.1:80/ || exit 1"), None);
        assert_eq!(local_path("curl http://db:80/x"), None);
    }
}
