//! Lists the files of a tree without wandering into foreign code.

use caelum_plugin_syntax::project::is_vendored;
use caelum_sdk::{Kind, PluginError, Target, TargetErrorCode};

/// How many directories are listed. Beyond it the list is incomplete, and says so. A plan reads a component twice, and
/// a call may ask its host 10,000 times.
const DIRECTORIES_MAX: usize = 1_500;
/// How many files are listed. Beyond it the list is incomplete, and says so.
const FILES_MAX: usize = 20_000;

/// The files of a tree.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Paths and sizes, sorted by path.
    pub(crate) files: Vec<(String, u64)>,
    /// Whether all were listed.
    pub(crate) complete: bool,
}

/// Lists all files but those of version control, installed packages and build results.
pub(crate) fn walk(target: &dyn Target) -> Result<Files, PluginError> {
    let mut files = Files { files: Vec::new(), complete: true };
    let mut waiting = vec![String::new()];
    let mut listed = 0;
    while let Some(directory) = waiting.pop() {
        if listed >= DIRECTORIES_MAX || files.files.len() >= FILES_MAX {
            files.complete = false;
            break;
        }
        listed += 1;
        let entries = match target.entries(&directory) {
            Ok(entries) => entries,
            Err(error) => match error.code {
                // The root must be there; what is withheld further down is not for us.
                TargetErrorCode::Denied | TargetErrorCode::NotFound if !directory.is_empty() => {
                    continue;
                }
                TargetErrorCode::BudgetExceeded => {
                    files.complete = false;
                    break;
                }
                _ => return Err(error.into()),
            },
        };
        for entry in entries {
            match entry.kind {
                Kind::File if files.files.len() < FILES_MAX => {
                    files.files.push((entry.path, entry.size))
                }
                Kind::Directory if !is_vendored(&format!("{}/x", entry.path)) => {
                    waiting.push(entry.path)
                }
                _ => {}
            }
        }
    }
    files.files.sort();
    Ok(files)
}
