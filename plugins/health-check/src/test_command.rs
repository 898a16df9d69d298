//! What a health check runs, written for compose files and Dockerfiles.

use caelum_plugin_component::Tools;

use crate::Tool;

/// What a health check runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TestCommand {
    /// A program with its arguments.
    Exec(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

impl TestCommand {
    pub(crate) fn exec<const N: usize>(words: [&str; N]) -> Self {
        TestCommand::Exec(words.into_iter().map(str::to_owned).collect())
    }

    pub(crate) fn shell(line: impl Into<String>) -> Self {
        TestCommand::Shell(line.into())
    }

    /// Returns the list that stands behind `test:` in a compose file, where a dollar is written twice.
    pub(crate) fn compose(&self) -> Vec<String> {
        let words = match self {
            TestCommand::Exec(words) => {
                let mut all = vec!["CMD".to_owned()];
                all.extend(words.iter().cloned());
                all
            }
            TestCommand::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        };
        words.into_iter().map(|word| word.replace('$', "$$")).collect()
    }

    /// Returns what stands behind `CMD` in a Dockerfile's HEALTHCHECK.
    pub(crate) fn dockerfile(&self) -> String {
        match self {
            TestCommand::Exec(words) => {
                let words: Vec<String> = words
                    .iter()
                    .map(|word| caelum_plugin_syntax::yaml::insert::quoted(word))
                    .collect();
                format!("[{}]", words.join(", "))
            }
            TestCommand::Shell(line) => line.clone(),
        }
    }
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question<'a> {
    /// Whether an address answers well.
    Http(&'a str),
    /// Whether the port accepts connections.
    Tcp,
}

/// Returns a check with a tool that the image has, or nothing when it has none that could.
pub(crate) fn check(
    question: &Question<'_>,
    port: u16,
    tools: Tools,
    wanted: Tool,
    timeout_s: u32,
) -> Option<TestCommand> {
    // The tool gives up a second before the engine does, so that its own message is seen.
    let patience = timeout_s.saturating_sub(1).max(1);
    let has = |tool: Tool, there: bool| there && (wanted == Tool::Auto || wanted == tool);
    match question {
        Question::Http(path) => {
            let url = format!("http://127.0.0.1:{port}{path}");
            if has(Tool::Curl, tools.curl) {
                return Some(TestCommand::exec(["curl", "-fsS", "-o", "/dev/null", &url]));
            }
            if has(Tool::Wget, tools.wget) {
                return Some(TestCommand::exec(["wget", "-q", "-O", "/dev/null", &url]));
            }
            if has(Tool::Python, tools.python) {
                let code = format!(
                    "import urllib.request; urllib.request.urlopen('{url}', timeout={patience})"
                );
                return Some(TestCommand::exec(["python3", "-c", &code]));
            }
            if has(Tool::Node, tools.node) {
                let code = format!(
                    "require('http').get('{url}', r => process.exit(r.statusCode < 400 ? 0 : 1)).on('error', () => process.exit(1))"
                );
                return Some(TestCommand::exec(["node", "-e", &code]));
            }
            None
        }
        Question::Tcp => {
            // An image with both is one of Node.js, which brings Python for its native modules.
            if tools.node {
                let code = format!(
                    "require('net').connect({port}, '127.0.0.1').on('connect', () => process.exit(0)).on('error', () => process.exit(1))"
                );
                return Some(TestCommand::exec(["node", "-e", &code]));
            }
            if tools.python {
                let code = format!(
                    "import socket; socket.create_connection(('127.0.0.1', {port}), {patience}).close()"
                );
                return Some(TestCommand::exec(["python3", "-c", &code]));
            }
            if tools.bash {
                return Some(TestCommand::exec([
                    "bash",
                    "-c",
                    &format!("exec 3<>/dev/tcp/127.0.0.1/{port}"),
                ]));
            }
            if tools.nc {
                return Some(TestCommand::exec(["nc", "-z", "127.0.0.1", &port.to_string()]));
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_fits_what_the_image_has() {
        let python = Tools { python: true, shell: true, ..Tools::default() };
        let http =
            check(&Question::Http("/health"), 8093, python, Tool::Auto, 5).expect("can be made");
        assert_eq!(
            http.compose(),
            [
                "CMD",
                "python3",
                "-c",
                "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8093/health', timeout=4)"
            ]
        );
        assert_eq!(check(&Question::Http("/"), 80, python, Tool::Curl, 5), None);
        assert_eq!(
            check(&Question::Tcp, 80, Tools { shell: true, ..Tools::default() }, Tool::Auto, 5),
            None
        );
        let nc = Tools { nc: true, ..Tools::default() };
        assert_eq!(
            check(&Question::Tcp, 80, nc, Tool::Auto, 5),
            Some(TestCommand::exec(["nc", "-z", "127.0.0.1", "80"]))
        );
    }

    #[test]
    fn dollars_are_doubled_for_compose_alone() {
        let test = TestCommand::shell("echo \"$A\"");
        assert_eq!(test.compose(), ["CMD-SHELL", "echo \"$$A\""]);
        assert_eq!(test.dockerfile(), "echo \"$A\"");
        assert_eq!(TestCommand::exec(["a", "b\"c"]).dockerfile(), "[\"a\", \"b\\\"c\"]");
    }
}
