//! What stands at a path beneath the roots.

use std::io;
use std::path::Path;

use caelum_core::clock::Timestamp;
use cap_std::fs::{Dir, Metadata, MetadataExt};
use serde_json::{Value, json};

use super::NoAnswer;
use crate::policy::CommandPolicy;
use crate::tree;

pub(super) fn fetch(
    policy: &CommandPolicy,
    path: &str,
    bytes_max: usize,
) -> Result<Value, NoAnswer> {
    if path.is_empty() || path.contains('\0') {
        return Err(NoAnswer::new("invalid", "expected a path"));
    }
    let (root, below) = policy.beneath(path).map_err(NoAnswer::refused)?;
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { &below };
    let looked = tree::open(root).and_then(|dir| look(&dir, path, below, bytes_max));
    match looked {
        Ok(answer) => Ok(answer),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Ok(json!({"path": path, "exists": false}))
            }
            io::ErrorKind::PermissionDenied => Err(NoAnswer::new(
                "denied",
                format!(
                    "`{}` may not be looked at, or leads out of its root: {error}",
                    path.escape_debug()
                ),
            )),
            _ => Err(NoAnswer::new("io", format!("`{}`: {error}", path.escape_debug()))),
        },
    }
}

fn look(dir: &Dir, path: &str, below: &Path, bytes_max: usize) -> io::Result<Value> {
    let metadata = dir.metadata(below)?;
    let kind = match () {
        () if metadata.is_file() => "file",
        () if metadata.is_dir() => "directory",
        () => "other",
    };
    let mut answer = json!({
        "path": path,
        "exists": true,
        "type": kind,
        "size": if kind == "file" { metadata.len() } else { 0 },
        "modified_at": modified_at(&metadata),
    });
    if let Some((mut file, metadata)) = tree::open_file(dir, below)? {
        let (text, truncated) = tree::read_text(&mut file, bytes_max as u64)?;
        answer["size"] = metadata.len().into();
        answer["text"] = text.into();
        answer["truncated"] = truncated.into();
    }
    Ok(answer)
}

fn modified_at(metadata: &Metadata) -> String {
    let micros =
        metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1_000);
    Timestamp::from_micros(micros).to_string()
}
