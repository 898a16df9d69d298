//! Finding the plugin that an operator means: by its name, its file, or the digest of it. Looks at files and at the
//! cache, and needs no server; what a server does with the answer it reads from `plugins.lock`.

use std::path::{Path, PathBuf};

use caelum_core::causes::chain;
use caelum_core::id::Digest;
use caelum_plugin_host::{
    BundledPlugin, Limits, Loading, Lock, Options, Plugins, Reload, Snapshot, Source, inspect,
};

use crate::config::Config;

use super::super::CommandError;

/// How many digits of a digest are enough to name it, when no other begins with them.
const DIGITS_MIN: usize = 8;

/// The plugin that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) digest: Digest,
    /// What it is called, as far as that is known.
    pub(super) name: String,
    pub(super) version: String,
}

/// Opens what a server with this configuration would serve, without serving.
pub(super) async fn plugins(config: &Config) -> Result<Plugins, CommandError> {
    let options =
        Options { loading: Loading::First, reload: Reload::Never, ..config.engine().plugins };
    let bundled = caelum_plugin_bundle::bundled()
        .iter()
        .map(|plugin| BundledPlugin {
            name: plugin.file_name.to_owned(),
            bytes: plugin.bytes.into(),
        })
        .collect();
    Plugins::open(options, bundled).await.map_err(|error| CommandError::Failed(chain(&error)))
}

/// Returns where the operator's word is written.
pub(super) fn lock_path(config: &Config) -> Result<PathBuf, CommandError> {
    config
        .trust
        .lock
        .clone()
        .ok_or_else(|| CommandError::Usage("no `plugins_lock` is configured".to_owned()))
}

/// Reads the operator's word.
pub(super) fn read_lock(path: &Path) -> Result<Lock, CommandError> {
    Lock::read(path).map_err(|error| CommandError::Usage(chain(&error)))
}

/// Writes the operator's word.
pub(super) fn write_lock(lock: &Lock, path: &Path) -> Result<(), CommandError> {
    lock.write(path).map_err(|error| CommandError::Failed(chain(&error)))
}

/// Finds the plugin that a word means.
pub(super) async fn which(config: &Config, word: &str) -> Result<Meant, CommandError> {
    let path = Path::new(word);
    if word.contains('/') || path.extension().is_some_and(|extension| extension == "wasm") {
        return by_file(path, &config.engine().plugins.limits);
    }
    let plugins = plugins(config).await?;
    let snapshot = plugins.snapshot();
    let lock = lock_path(config).and_then(|path| read_lock(&path)).unwrap_or_default();
    let known = known(&snapshot, &lock);
    let is_digits = word.len() >= DIGITS_MIN && word.chars().all(|digit| digit.is_ascii_hexdigit());
    let mut found: Vec<&Meant> = known.iter().filter(|meant| meant.name == word).collect();
    if found.is_empty() && is_digits {
        let digits = word.to_ascii_lowercase();
        found = known.iter().filter(|meant| meant.digest.as_str().starts_with(&digits)).collect();
        if found.is_empty()
            && let Ok(digest) = digits.parse()
        {
            return Ok(Meant { digest, name: String::new(), version: String::new() });
        }
    }
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(CommandError::NotFound(format!(
            "nothing is called `{word}`; hint: `caelum-workflow plugin list` shows names and digests; a file may be named by its path"
        ))),
        several => {
            let shown: Vec<String> = several
                .iter()
                .map(|meant| format!("{} {} {}", meant.name, meant.version, meant.digest.short()))
                .collect();
            Err(CommandError::Usage(format!(
                "`{word}` may mean several: {}; hint: name the digest",
                shown.join(", ")
            )))
        }
    }
}

fn by_file(path: &Path, limits: &Limits) -> Result<Meant, CommandError> {
    let inspection = inspect(path, limits).map_err(|error| {
        let text = format!(
            "`{}` is refused at {}: {error}; hint: {}",
            path.display(),
            error.stage(),
            error.hint()
        );
        if path.exists() { CommandError::Refused(text) } else { CommandError::NotFound(text) }
    })?;
    let (name, version) = inspection.identity.unwrap_or_default();
    Ok(Meant { digest: inspection.digest, name, version })
}

/// Lists everything that has a digest, each once.
fn known(snapshot: &Snapshot, lock: &Lock) -> Vec<Meant> {
    let mut known: Vec<Meant> = Vec::new();
    let mut add = |meant: Meant| {
        if !known.iter().any(|other| other.digest == meant.digest) {
            known.push(meant);
        }
    };
    for plugin in snapshot.plugins.values() {
        add(Meant {
            digest: plugin.digest().clone(),
            name: plugin.name().to_string(),
            version: plugin.version().to_string(),
        });
    }
    for refused in &snapshot.refused {
        let Some(digest) = refused.digest.clone() else { continue };
        let name = match &refused.source {
            Source::File { path } => {
                path.file_stem().map(|stem| stem.to_string_lossy().into_owned())
            }
            Source::Bundled { name } => Some(name.trim_end_matches(".wasm").to_owned()),
            _ => None,
        };
        let entry = lock.entry(&digest).ok().flatten();
        let name = entry.map(|entry| entry.name.clone()).filter(|n| !n.is_empty()).or(name);
        add(Meant { digest, name: name.unwrap_or_default(), version: String::new() });
    }
    for entry in lock.entries() {
        add(Meant {
            digest: entry.digest.clone(),
            name: entry.name.clone(),
            version: entry.version.clone(),
        });
    }
    known
}
