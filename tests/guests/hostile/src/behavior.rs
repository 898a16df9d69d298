//! The misdeeds, one by one. Each goes on without end when the amount is 0 and that is possible.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use caelum_sdk::bindings::pattern::caelum::plugin::types::{Finding, ParameterProblem, Severity};
use caelum_sdk::bindings::pattern::caelum::plugin::{control, log, target};
use caelum_sdk::bindings::validator::exports::caelum::plugin::validator::{
    Evidence, PluginError, Reason, Verdict, VerdictKind,
};
use serde_json::{Value, json};

use crate::{Behavior, Parameters};

/// Paths that no host may read, whatever lies there.
const WILD_PATHS: [&str; 22] = [
    "../secret",
    "..",
    "a/../../b",
    "a/..",
    "/etc/passwd",
    "//etc/passwd",
    "/",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "a\0b",
    "a\nb",
    "..\\secret",
    "C:\\Windows",
    "C:/Windows",
    "\\\\host\\share",
    "~/.ssh/id_rsa",
    "/proc/self/environ",
    "proc/self/fd/0/../../../../etc/passwd",
    ".git/config",
    ".env",
];

/// How long the buffers of [`Behavior::CopyLoop`] are together.
const COPY_BYTES: usize = 32 * 1024 * 1024;

/// Does what the parameters say.
pub(crate) fn perform(
    evidence: &Evidence,
    parameters: &Parameters,
) -> Result<Verdict, PluginError> {
    let amount = parameters.amount;
    let path = parameters.path.as_str();
    match parameters.behavior {
        Behavior::Echo => Ok(passed(&echo(evidence))),
        Behavior::Loop => turns(amount, |_| {}),
        Behavior::CopyLoop => copy(amount),
        Behavior::Grow => turns(amount, |_| std::mem::forget(black_box(vec![1_u8; 1024 * 1024]))),
        Behavior::Recurse => Ok(passed(&json!({ "depth": recurse(amount, 1) }))),
        Behavior::Panic => panic!("a guest that panics on demand"),
        Behavior::HugeResult => Ok(Verdict { summary: text(amount), ..passed(&json!({})) }),
        Behavior::ManyReasons => {
            let reasons = (0..amount).map(|_| reason("", "")).collect();
            Ok(Verdict { kind: VerdictKind::Fail, reasons, ..passed(&json!({})) })
        }
        Behavior::ManyFindings => {
            Ok(Verdict { findings: (0..amount).map(finding).collect(), ..passed(&json!({})) })
        }
        Behavior::BadMetrics => Ok(Verdict { metrics: "{\"a\":".to_owned(), ..passed(&json!({})) }),
        Behavior::DeepMetrics => {
            let depth = usize::try_from(amount).unwrap_or(usize::MAX);
            let metrics = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            Ok(Verdict { metrics, ..passed(&json!({})) })
        }
        Behavior::NoReason => {
            Ok(Verdict { kind: VerdictKind::Fail, summary: String::new(), ..passed(&json!({})) })
        }
        Behavior::ControlCharacters => Ok(control_characters()),
        Behavior::FloodLog => turns(amount, |turn| {
            log::log(log::Level::Info, &format!("line {turn}"), &[]);
        }),
        Behavior::HugeLogLine => {
            log::log(log::Level::Info, &text(amount), &[]);
            Ok(passed(&json!({})))
        }
        Behavior::FloodRead => turns(amount, |_| {
            black_box(target::read(path, 0, 1024 * 1024).ok());
        }),
        Behavior::FloodEntries => turns(amount, |_| {
            black_box(target::entries(path).ok());
        }),
        Behavior::FloodProgress => turns(amount, |turn| {
            control::progress(u32::try_from(turn).unwrap_or(u32::MAX), None, "on and on");
        }),
        Behavior::WaitForCancel => {
            let mut asked = 0;
            while !control::is_cancelled() && (amount == 0 || asked < amount) {
                asked += 1;
            }
            Ok(passed(&json!({ "asked": asked })))
        }
        Behavior::WildPaths => Ok(passed(&wild_paths())),
        Behavior::ReadOne => Ok(passed(&read_one(path))),
        Behavior::ReadLength => {
            let length = u32::try_from(amount).unwrap_or(u32::MAX);
            let read = target::read(path, 0, length).map(|bytes| bytes.len());
            Ok(passed(&json!({ "read": answer(read) })))
        }
        Behavior::Remember => Ok(passed(&json!({ "calls": remember() }))),
        Behavior::NotApplicable => Err(PluginError::NotApplicable("nothing here".to_owned())),
        Behavior::HostError => Err(PluginError::Host("the host said no".to_owned())),
        Behavior::OtherError => Err(PluginError::Other(text(amount))),
        Behavior::InvalidParameters => {
            let problem = |index| ParameterProblem {
                pointer: format!("/{index}"),
                message: "wrong".to_owned(),
            };
            Err(PluginError::InvalidParameters((0..amount).map(problem).collect()))
        }
    }
}

fn turns(amount: u64, mut each: impl FnMut(u64)) -> Result<Verdict, PluginError> {
    let mut turn = 0;
    while amount == 0 || turn < amount {
        each(black_box(turn));
        turn = turn.wrapping_add(1);
    }
    Ok(passed(&json!({ "turns": turn })))
}

fn copy(amount: u64) -> Result<Verdict, PluginError> {
    let from = vec![7_u8; COPY_BYTES / 2];
    let mut to = vec![0_u8; COPY_BYTES / 2];
    turns(amount, |_| {
        to.copy_from_slice(black_box(&from));
        black_box(&to);
    })
}

/// Every level keeps something after the call, so that no compiler makes a loop of it.
fn recurse(amount: u64, depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if amount != 0 && depth >= amount {
        return depth;
    }
    let deepest = recurse(amount, depth + 1);
    black_box(frame[0]).min(1) - 1 + deepest
}

fn echo(evidence: &Evidence) -> Value {
    let outcomes: Vec<_> = evidence
        .outcomes
        .iter()
        .map(|outcome| {
            json!({
                "machine": outcome.machine,
                "exit_code": outcome.exit_code,
                "signal": outcome.signal,
                "timed_out": outcome.timed_out,
                "stdout": outcome.stdout.text,
                "stdout_bytes": outcome.stdout.total_bytes,
                "stdout_truncated": outcome.stdout.truncated,
                "outputs": outcome.outputs,
            })
        })
        .collect();
    let probes: Vec<_> =
        evidence.probes.iter().map(|probe| json!([probe.name, probe.kind, probe.ok])).collect();
    json!({
        "execution_id": evidence.execution_id,
        "step_id": evidence.step_id,
        "attempt": evidence.attempt,
        "performer": evidence.performer,
        "subject_digest": evidence.subject_digest,
        "outcomes": Value::from(outcomes).to_string(),
        "probes": Value::from(probes).to_string(),
        "reviews": evidence.reviews.len(),
        "files": evidence.files.join("\n"),
        "extensions": evidence.extensions.len(),
    })
}

fn wild_paths() -> Value {
    let mut answers = serde_json::Map::new();
    let long = "a/".repeat(4_096) + "a";
    for path in WILD_PATHS.into_iter().chain([long.as_str()]) {
        let name: String = path.chars().take(40).collect();
        let read = target::read(path, 0, 16).map(|bytes| bytes.len());
        let text = target::read_text(path).map(|text| text.len());
        let entries = target::entries(path).map(|entries| entries.len());
        let answers_of_path = [answer(read), answer(text), answer(entries)];
        answers.insert(name, answers_of_path.join(" ").into());
    }
    for pattern in ["../*", "/etc/*", "**/../*", "[", "{a"] {
        let found = target::glob(pattern, 10).map(|entries| entries.len());
        answers.insert(format!("glob {pattern}"), answer(found).into());
    }
    answers.into()
}

fn read_one(path: &str) -> Value {
    let text = target::read_text(path).map_err(|code| name(&code));
    let entries = target::entries(path).map_err(|code| name(&code));
    let entries = entries
        .map(|entries| entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>().join("\n"));
    let (text, entries) = (text.unwrap_or_else(|code| code), entries.unwrap_or_else(|code| code));
    json!({ "text": text, "entries": entries })
}

fn answer(result: Result<usize, target::ErrorCode>) -> String {
    match result {
        Ok(length) => length.to_string(),
        Err(code) => name(&code),
    }
}

fn name(code: &target::ErrorCode) -> String {
    let name = match code {
        target::ErrorCode::NotFound => "not-found",
        target::ErrorCode::Denied => "denied",
        target::ErrorCode::NotAFile => "not-a-file",
        target::ErrorCode::NotADirectory => "not-a-directory",
        target::ErrorCode::NotUtf8 => "not-utf8",
        target::ErrorCode::BudgetExceeded => "budget-exceeded",
        target::ErrorCode::Io(message) => return format!("io: {message}"),
    };
    name.to_owned()
}

fn control_characters() -> Verdict {
    let nasty = "\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}desrever\u{202c}\u{0}\r\nsecond line\u{feff}";
    Verdict {
        kind: VerdictKind::Fail,
        summary: nasty.to_owned(),
        reasons: vec![reason("nasty", nasty)],
        findings: vec![Finding { message: nasty.to_owned(), ..finding(0) }],
        ..passed(&json!({}))
    }
}

fn remember() -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

fn text(length: u64) -> String {
    "x".repeat(usize::try_from(length).unwrap_or(usize::MAX))
}

fn passed(metrics: &Value) -> Verdict {
    Verdict {
        kind: VerdictKind::Pass,
        summary: "did as it was told".to_owned(),
        reasons: Vec::new(),
        metrics: metrics.to_string(),
        findings: Vec::new(),
        extensions: Vec::new(),
    }
}

fn reason(code: &str, message: &str) -> Reason {
    Reason { code: code.to_owned(), message: message.to_owned(), path: None, line: None }
}

fn finding(index: u64) -> Finding {
    Finding {
        rule: "H1".to_owned(),
        severity: Severity::Advice,
        message: "found".to_owned(),
        location: None,
        remediation: None,
        fingerprint: format!("H1:{index}"),
        extensions: Vec::new(),
    }
}
