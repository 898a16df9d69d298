//! The commented example file, made from the tables, so that it cannot fall behind.

use super::limits::{LIMITS, default_of, variable};
use super::settings::SETTINGS;

/// How wide the comments are written.
const WIDTH: usize = 100;

/// Returns a TOML file that says every setting with its default; each line that would set something is commented out.
pub fn example() -> String {
    let mut text = String::from(
        "# Configuration of caelum-workflow. Every line that sets something is commented out and shows the default.\n\
         # A flag wins over the environment, the environment over .env in the current directory, that over this file.\n\
         # This file is read from ~/.config/caelum-workflow/config.toml, or from where --config or\n\
         # CAELUM_WORKFLOW_CONFIG says. Paths in it begin where it lies. Unknown keys are refused.\n",
    );
    for setting in SETTINGS {
        text.push('\n');
        comment(&mut text, setting.about);
        text.push_str(&format!("# {}\n", setting.env));
        text.push_str(&format!("#{} = {}\n", setting.key, setting.default));
    }
    text.push_str(
        "\n# Limits: how much of everything. As a flag: --limit NAME=VALUE. As a variable: CAELUM_WORKFLOW_LIMIT_NAME.\n[limits]\n",
    );
    for limit in LIMITS {
        text.push('\n');
        comment(&mut text, limit.about);
        text.push_str(&format!("# {} to {}; {}\n", limit.min, limit.max, variable(limit.key)));
        // The number of processors differs from machine to machine, and the file does not.
        let default = if limit.key == "plugin_calls_max" { 2 } else { default_of(limit) };
        text.push_str(&format!("#{} = {default}\n", limit.key));
    }
    text.push_str(TOOL_SERVERS);
    text
}

/// Tool servers have no default; this shows their two forms.
const TOOL_SERVERS: &str = "
# Other MCP servers whose tools steps of kind `tool` may call, by name. A value of env or headers that
# begins with $ names an environment variable.
# [tool_servers.tracker]
# program = \"npx\"
# args = [\"-y\", \"tracker-mcp\"]
# env = { TRACKER_TOKEN = \"$TRACKER_TOKEN\" }
# [tool_servers.wiki]
# url = \"https://wiki.example.org/mcp\"
# headers = { Authorization = \"$WIKI_AUTHORIZATION\" }
";

fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
