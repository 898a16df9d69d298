//! The values that a command leaves for later steps: a file that the task names, or the last line of standard output
//! that is a JSON object.

use std::io;
use std::path::Path;

use caelum_core::pattern::check_path;
use caelum_core::task::{FailureClass, TaskFailure};
use cap_std::fs::{Dir, MetadataExt};
use serde_json::{Map, Value};

use crate::tree;

/// What the outputs file looked like before the command ran, so that a file of an earlier run is not taken for this
/// one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Before(Option<(u64, i64, i64, u64)>);

/// Checks the name of an outputs file.
pub(crate) fn check(path: &str) -> Result<(), TaskFailure> {
    check_path(path).map_err(|problem| TaskFailure {
        class: FailureClass::Permanent,
        code: "invalid_command".to_owned(),
        message: format!("`outputs` cannot be used: {problem}"),
        hint: Some("`outputs` is a file relative to the task's directory".to_owned()),
    })
}

/// Looks at the outputs file before the command runs.
pub(crate) fn before(dir: &Dir, path: &str) -> Before {
    let metadata = dir.metadata(path).ok();
    Before(metadata.map(|file| (file.ino(), file.ctime(), file.ctime_nsec(), file.len())))
}

/// Reads the outputs file after the command ran well.
pub(crate) fn from_file(
    dir: &Dir,
    path: &str,
    before: Before,
    bytes_max: usize,
) -> Result<Map<String, Value>, TaskFailure> {
    let opened = tree::open_file(dir, Path::new(path));
    let (mut file, metadata) = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            return Err(failure("outputs_missing", format!("`{path}` is not a regular file")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(failure(
                "outputs_missing",
                format!("the command ended well and did not write its outputs file `{path}`"),
            ));
        }
        Err(error) => {
            return Err(failure("outputs_missing", format!("`{path}` cannot be read: {error}")));
        }
    };
    if before == self::before(dir, path) {
        return Err(failure(
            "outputs_missing",
            format!(
                "the outputs file `{path}` is from before the run; the command did not write it"
            ),
        ));
    }
    if metadata.len() > bytes_max as u64 {
        return Err(failure(
            "outputs_invalid",
            format!("`{path}` has {} bytes; outputs may have at most {bytes_max}", metadata.len()),
        ));
    }
    let (text, _) = tree::read_text(&mut file, bytes_max as u64)
        .map_err(|error| failure("outputs_missing", format!("`{path}` cannot be read: {error}")))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(outputs)) => Ok(outputs),
        Ok(other) => Err(failure(
            "outputs_invalid",
            format!("`{path}` holds {}; expected a JSON object", kind(&other)),
        )),
        Err(error) => Err(failure(
            "outputs_invalid",
            format!("`{path}` is not JSON: {error}; expected a JSON object"),
        )),
    }
}

/// Reads the line that was found in standard output; no line means no outputs.
pub(crate) fn from_line(line: Option<&str>) -> Map<String, Value> {
    line.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn failure(code: &str, message: String) -> TaskFailure {
    TaskFailure { class: FailureClass::Permanent, code: code.to_owned(), message, hint: None }
}
