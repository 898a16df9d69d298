//! The error a tool hands to whoever called it: a code to branch on, a text that says what was wrong, what would be
//! right, and which call to make next. Protocol faults (unknown methods, malformed frames) are not made here.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use caelum_core::causes::chain;

/// How many single problems one error lists before it counts the rest; more would only fill the reader's context.
pub const PROBLEMS_SHOWN_MAX: usize = 50;

/// How many characters of a message or a hint are shown, and of one problem: what a caller sent comes back in them, and
/// may be as long as a request.
const MESSAGE_CHARS_MAX: usize = 2_000;
const PROBLEM_CHARS_MAX: usize = 500;

/// Whose fault an error is; the three origins are kept apart to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's mistake, which another call can mend; logged at `debug`.
    Caller,
    /// A plugin's fault; the message names the plugin and its version; logged at `warn`.
    Plugin,
    /// The server's own failure; the caller sees a public text and the log gets the cause, at `error`.
    Server,
}

/// The caller-facing error of a tool: becomes a tool result with `isError: true` and never carries structured content.
#[derive(Debug)]
pub struct ToolError {
    // Boxed, because every tool returns it beside an answer that is a fraction of its size.
    parts: Box<Parts>,
}

#[derive(Debug)]
struct Parts {
    code: Cow<'static, str>,
    message: String,
    problems: Vec<String>,
    hint: Option<String>,
    next_call: Option<String>,
    fault: Fault,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ToolError {
    /// Makes an error for a mistake of the caller; `code` is snake_case and stable (`workflow_not_found`), `message`
    /// a lower-case fragment that names what was found and what was expected.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let parts = Parts {
            code: code.into(),
            message: message.into(),
            problems: Vec::new(),
            hint: None,
            next_call: None,
            fault: Fault::Caller,
            source: None,
        };
        Self { parts: Box::new(parts) }
    }

    /// Makes an error for the fault of a plugin; `message` names the plugin and its version.
    pub fn plugin(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let mut error = Self::new(code, message);
        error.parts.fault = Fault::Plugin;
        error
    }

    /// Makes an error for a failure of the server itself; the caller reads `doing` ("store the workflow"), the log gets
    /// the whole chain of `source`.
    pub fn internal(
        doing: impl fmt::Display,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let message = format!("the server failed to {doing}; the cause is in its log");
        let mut error = Self::new("internal", message);
        error.parts.fault = Fault::Server;
        error.caused_by(source)
    }

    /// Adds one line to the list of single problems.
    #[must_use]
    pub fn problem(mut self, problem: impl Into<String>) -> Self {
        self.parts.problems.push(problem.into());
        self
    }

    /// Adds every single problem of an input, so that all of them are mended at once.
    #[must_use]
    pub fn problems<P: Into<String>>(mut self, problems: impl IntoIterator<Item = P>) -> Self {
        self.parts.problems.extend(problems.into_iter().map(Into::into));
        self
    }

    /// Says what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.parts.hint = Some(hint.into());
        self
    }

    /// Names the next call to make, such as `list_workflows {"status_filter": "active"}`.
    #[must_use]
    pub fn next_call(mut self, call: impl Into<String>) -> Self {
        self.parts.next_call = Some(call.into());
        self
    }

    /// Adds the cause, which goes to the log and never to the caller.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.parts.source = Some(source.into());
        self
    }

    /// Returns the stable code.
    pub fn code(&self) -> &str {
        &self.parts.code
    }

    /// Returns the message without code, problems and hint.
    pub fn message(&self) -> &str {
        &self.parts.message
    }

    /// Returns whose fault it is.
    pub fn fault(&self) -> Fault {
        self.parts.fault
    }

    /// Returns the text a caller reads: code and message, one line for each problem, the hint, the next call. Nothing in
    /// it makes a terminal or a reader believe what is not there, whatever the caller had sent.
    pub fn text(&self) -> String {
        let message = harmless(&self.parts.message, MESSAGE_CHARS_MAX);
        let mut text = format!("{}: {message}", self.parts.code);
        for problem in self.parts.problems.iter().take(PROBLEMS_SHOWN_MAX) {
            text.push_str("\n- ");
            text.push_str(&harmless(problem, PROBLEM_CHARS_MAX));
        }
        if self.parts.problems.len() > PROBLEMS_SHOWN_MAX {
            text.push_str(&format!(
                "\n- and {} more",
                self.parts.problems.len() - PROBLEMS_SHOWN_MAX
            ));
        }
        if let Some(hint) = &self.parts.hint {
            text.push_str("\nhint: ");
            text.push_str(&harmless(hint, MESSAGE_CHARS_MAX));
        }
        if let Some(call) = &self.parts.next_call {
            text.push_str("\nnext: ");
            text.push_str(&harmless(call, MESSAGE_CHARS_MAX));
        }
        text
    }

    /// Writes the error to the log, once, with its whole chain of causes, at the level its fault asks for.
    pub fn log(&self, tool: &str) {
        let code = self.code();
        let chain = chain(self);
        match self.parts.fault {
            Fault::Caller => tracing::debug!(tool, code, error = %chain, "tool call refused"),
            Fault::Plugin => {
                tracing::warn!(tool, code, error = %chain, "tool call failed in a plugin")
            }
            Fault::Server => tracing::error!(tool, code, error = %chain, "tool call failed"),
        }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.message)
    }
}

impl Error for ToolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.parts.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Writes control characters and marks that turn the direction of text as escapes, and cuts what is too long. Line feeds
/// stay.
fn harmless(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * chars_max));
    for (count, char) in text.chars().enumerate() {
        if count == chars_max {
            shown.push('…');
            break;
        }
        let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || (char.is_control() && char != '\n') {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Returns up to three of `known` that are close to `wanted`, nearest first.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // 0.7 keeps one or two slips in a word of eight letters and drops names that merely share a prefix.
    const SIMILAR: f64 = 0.7;
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| {
            let lower = name.to_lowercase();
            let score = strsim::normalized_damerau_levenshtein(&wanted, &lower);
            // A name that holds the wanted word, or the other way round, is what people mean when they shorten.
            let contained = wanted.len() >= 3
                && (lower.contains(&wanted) || (lower.len() >= 3 && wanted.contains(&lower)));
            (if contained { score.max(SIMILAR) } else { score }, name)
        })
        .filter(|(score, _)| *score >= SIMILAR - 0.15)
        .collect();
    let best = scored.iter().map(|(score, _)| *score).fold(0.0, f64::max);
    // A clear winner is named alone.
    scored.retain(|(score, _)| best - score < 0.2);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Returns "; did you mean `x`?" for the nearest of `known`, or nothing.
pub fn did_you_mean<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest(wanted, known);
    if near.is_empty() {
        return String::new();
    }
    let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("; did you mean {}?", near.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_code_problems_hint_and_next_call_in_order() {
        let error = ToolError::new("workflow_not_found", "no workflow `depoly`")
            .problem("first")
            .problem("second")
            .hint("did you mean `deploy`?")
            .next_call("list_workflows {}");

        let text = error.text();

        assert_eq!(
            text,
            "workflow_not_found: no workflow `depoly`\n- first\n- second\nhint: did you mean `deploy`?\nnext: list_workflows {}"
        );
    }

    #[test]
    fn text_counts_the_problems_it_does_not_show() {
        let error =
            ToolError::new("invalid_arguments", "many").problems((0..60).map(|n| n.to_string()));

        assert!(error.text().ends_with("- 49\n- and 10 more"), "{}", error.text());
    }

    #[test]
    fn what_a_caller_sent_comes_back_harmless_and_short() {
        let sent = format!("no workflow `\u{1b}[2J\u{202e}\u{0}{}`", "x".repeat(100_000));
        let error = ToolError::new("unknown_workflow", sent).problem("y\r".repeat(1_000));

        let text = error.text();

        assert!(
            text.starts_with("unknown_workflow: no workflow `\\u{1b}[2J\\u{202e}\\u{0}xxx"),
            "{text}"
        );
        assert!(text.contains("\n- y\\ry\\r") && text.ends_with('…'), "{text}");
        assert!(text.len() < 4_000, "{}", text.len());
    }

    #[test]
    fn the_cause_of_an_internal_error_never_reaches_the_caller() {
        let error = ToolError::internal(
            "store the workflow",
            std::io::Error::other("disk /dev/sda1 is full"),
        );

        assert_eq!(
            error.text(),
            "internal: the server failed to store the workflow; the cause is in its log"
        );
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("disk /dev/sda1 is full")
        );
    }

    #[test]
    fn nearest_names_a_slip_and_a_shortening_and_nothing_far() {
        let known = ["create_workflow", "execute_workflow", "get_system_health"];

        assert_eq!(nearest("create_workflw", known), ["create_workflow"]);
        assert_eq!(nearest("health", known), ["get_system_health"]);
        assert!(nearest("zzz", known).is_empty());
    }
}
