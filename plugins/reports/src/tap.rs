//! The Test Anything Protocol: versions 12, 13 and 14, subtests and diagnostics included.

use crate::report::{Case, CaseStatus, Fault, Format, Report, ReportError};

/// One level of tests: the file itself, or a subtest.
#[derive(Default)]
struct Level {
    indent: usize,
    plan: Option<u64>,
    seen: u64,
    numbers: Vec<u64>,
}

struct Parser {
    report: Report,
    levels: Vec<Level>,
    /// Indent of the diagnostics block that is open (`---` … `...`).
    diagnostics: Option<usize>,
    text: String,
    /// Whether the last test line was kept as a case, so that diagnostics behind it speak of that.
    kept: bool,
    bailed: bool,
}

/// Reads the output. Lines that are none of the protocol's are passed over, as it demands.
pub(crate) fn parse(text: &str) -> Result<Report, ReportError> {
    let mut parser = Parser {
        report: Report::new(Format::Tap),
        levels: vec![Level::default()],
        diagnostics: None,
        text: String::new(),
        kept: false,
        bailed: false,
    };
    for line in text.lines() {
        parser.take(line)?;
        if parser.bailed {
            break;
        }
    }
    parser.end_diagnostics();
    while parser.levels.len() > 1 {
        parser.end_level();
    }
    let top = &parser.levels[0];
    match top.plan {
        _ if parser.bailed => {}
        None if top.seen == 0 => {
            let message = "neither a plan nor a test was found".to_owned();
            return Err(ReportError::Malformed { format: Format::Tap, message });
        }
        None => parser.report.note_unfinished("the plan (`1..N`) is missing"),
        Some(plan) if plan != top.seen => {
            let seen = top.seen;
            if seen < plan {
                parser
                    .report
                    .note_unfinished(format!("{plan} tests were planned and {seen} were reported"));
            } else {
                parser
                    .report
                    .contradictions
                    .push(format!("{plan} tests were planned and {seen} were reported"));
            }
        }
        Some(_) => {}
    }
    Ok(parser.report)
}

impl Parser {
    fn take(&mut self, line: &str) -> Result<(), ReportError> {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if let Some(open) = self.diagnostics {
            if content.trim_end() == "..." && indent == open {
                self.end_diagnostics();
            } else if self.text.len() < 16 * 1024 {
                self.text.push_str(line);
                self.text.push('\n');
            }
            return Ok(());
        }
        if content.trim_end() == "---" && self.levels.iter().any(|level| level.indent + 2 == indent)
        {
            self.diagnostics = Some(indent);
            return Ok(());
        }
        if let Some(reason) = line.strip_prefix("Bail out!") {
            let message = format!("the tests were given up: {}", reason.trim());
            self.report.faults.push(Fault { code: "bail-out", message, file: None, line: None });
            self.bailed = true;
            return Ok(());
        }
        if let Some((plan, reason)) = plan(content) {
            self.enter(indent);
            if let Some(level) = self.levels.last_mut() {
                match level.plan {
                    None => level.plan = Some(plan),
                    Some(_) => {
                        self.report.contradictions.push("the plan is given twice".to_owned())
                    }
                }
            }
            if plan == 0 && indent == 0 && !reason.is_empty() {
                let mut case = Case::new("(all tests)", CaseStatus::Skipped);
                case.message = Some(reason.to_owned());
                self.report.push(case)?;
            }
            return Ok(());
        }
        self.test(content, indent)
    }

    /// Makes the level with an indent the last one.
    fn enter(&mut self, indent: usize) {
        while self.levels.last().is_some_and(|level| level.indent > indent) && self.levels.len() > 1
        {
            self.end_level();
        }
        if self.levels.last().is_some_and(|level| level.indent < indent) && self.levels.len() < 64 {
            self.levels.push(Level { indent, ..Level::default() });
        }
    }

    fn end_level(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        if let Some(plan) = level.plan
            && plan != level.seen
        {
            let seen = level.seen;
            self.report
                .contradictions
                .push(format!("a subtest planned {plan} tests and reported {seen}"));
        }
    }

    fn test(&mut self, content: &str, indent: usize) -> Result<(), ReportError> {
        let (ok, rest) = if let Some(rest) = content.strip_prefix("not ok") {
            (false, rest)
        } else if let Some(rest) = content.strip_prefix("ok") {
            (true, rest)
        } else {
            return Ok(());
        };
        if !rest.is_empty() && !rest.starts_with([' ', '\t', '\r']) {
            return Ok(());
        }
        // Four blanks make a subtest; any other indent is somebody's text.
        if !indent.is_multiple_of(4) {
            return Ok(());
        }
        let deeper = self.levels.last().is_some_and(|level| level.indent > indent);
        self.enter(indent);
        let rest = rest.trim();
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..digits].parse::<u64>().ok();
        let (name, directive) = directive(rest[digits..].trim_start().trim_start_matches("- "));
        let mut again = false;
        if let Some(level) = self.levels.last_mut() {
            level.seen += 1;
            if let Some(number) = number {
                again =
                    level.numbers.len() < crate::CASES_MAX && level.numbers.last() == Some(&number);
                level.numbers.push(number);
            }
        }
        if again {
            let number = number.unwrap_or_default();
            self.report.contradictions.push(format!("the test number {number} is reported twice"));
        }
        // The line behind a subtest sums that up: it counts towards the plan, and as a case only when nothing below
        // it shows why it failed.
        let status = match directive {
            Some(("skip", _)) => CaseStatus::Skipped,
            // Work that is known to be open: its failure is expected, its success is a gift.
            Some(("todo", _)) => CaseStatus::Skipped,
            _ if ok => CaseStatus::Passed,
            _ => CaseStatus::Failed,
        };
        self.kept =
            !deeper || (status != CaseStatus::Passed && self.report.failing().next().is_none());
        if !self.kept {
            return Ok(());
        }
        let name =
            if name.is_empty() { format!("test {}", number.unwrap_or_default()) } else { name };
        let mut case = Case::new(name, status);
        case.message =
            directive.map(|(_, reason)| reason.to_owned()).filter(|reason| !reason.is_empty());
        self.report.push(case)
    }

    fn end_diagnostics(&mut self) {
        if self.diagnostics.take().is_none() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let Some(case) = self.report.cases.last_mut().filter(|_| self.kept) else { return };
        if let Some(duration) =
            value(&text, "duration_ms").and_then(|text| text.parse::<f64>().ok())
            && duration.is_finite()
            && duration >= 0.0
        {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked above"
            )]
            let duration = duration.round() as u64;
            case.duration_ms = Some(duration);
        }
        if matches!(case.status, CaseStatus::Failed | CaseStatus::Errored) {
            if let Some(place) =
                value(&text, "location").or_else(|| value(&text, "at")).and_then(crate::locate)
            {
                case.file = Some(place.file);
                case.line = Some(place.line);
            }
            let message = long_value(&text, "error").or_else(|| long_value(&text, "message"));
            case.explain(message.as_deref().unwrap_or(&text));
        }
    }
}

/// Reads `1..N`, with the reason behind `# SKIP`.
fn plan(content: &str) -> Option<(u64, &str)> {
    let rest = content.strip_prefix("1..")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let number = rest[..digits].parse().ok()?;
    let rest = rest[digits..].trim();
    if !rest.is_empty() && !rest.starts_with('#') {
        return None;
    }
    Some((number, rest.trim_start_matches('#').trim()))
}

/// Takes a directive off a description: `name # SKIP reason`.
fn directive(text: &str) -> (String, Option<(&'static str, &str)>) {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('#') {
        if at > 0 && bytes[at - 1] == b'\\' {
            continue;
        }
        let rest = text[at + 1..].trim_start();
        let lower: String = rest.chars().take(4).collect::<String>().to_ascii_lowercase();
        let word = match lower.as_str() {
            "skip" => "skip",
            "todo" => "todo",
            _ => continue,
        };
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        return (text[..at].trim_end().to_owned(), Some((word, rest[end..].trim())));
    }
    (text.trim_end().to_owned(), None)
}

/// Returns the value of a key in a diagnostics block, quotes taken off.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let value = line.trim_start().strip_prefix(key)?.strip_prefix(':')?.trim();
        Some(value.trim_matches(['"', '\'']))
    })
}

/// Returns the value of a key, the lines of a block text (`|-`) included; nothing when it is empty.
fn long_value(text: &str, key: &str) -> Option<String> {
    let first = value(text, key)?;
    if !first.starts_with(['|', '>']) {
        return (!first.is_empty()).then(|| first.to_owned());
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| {
        !line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
    });
    let outer = indent(lines.next()?);
    let block = lines.take_while(|line| line.trim().is_empty() || indent(line) > outer);
    let block: Vec<&str> = block.map(str::trim).filter(|line| !line.is_empty()).collect();
    (!block.is_empty()).then(|| block.join("\n"))
}
