//! The private cache of compiled plugins: content-addressed, checked before use, never written in place.
//!
//! Three files belong to an entry: `ESSENCE-ENGINE.cwasm`, the native code, named by what of the plugin it is made of
//! and the engine's compatibility, with its checksum in `ESSENCE-ENGINE.sum`; and `DIGEST-ENGINE.json`, what the plugin
//! says about itself, which names its essence. Files that differ only in what describes them share their code. A
//! checksum covers the key, so that neither a changed nor a swapped file is believed. What is not believed is deleted
//! and made again. Beside them lies the plugin itself, `DIGEST.bundled.wasm` or `DIGEST.file.wasm`, for executions that began with it: the
//! name is what it hashes to.

mod about;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use caelum_core::id::Digest;
use caelum_core::plugin::{Description, PluginKind};
use sha2::{Digest as _, Sha256};
use tracing::{debug, warn};
use wasmtime::component::Component;

use crate::runtime::{Runtime, TrustedArtifact, chain};

/// What the cache may take on disk. The oldest entries go first. A plugin with a language runtime takes 35 MiB, so
/// this holds thirty of those or thousands of small ones.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How old a temporary file is before it counts as left behind by a process that died.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// The directory cannot be used as a cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It could not be made or looked at.
    #[error("failed to use `{}` as the cache of compiled plugins", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others can look at or write what is in it: native code that we would run.
    #[error(
        "`{}` cannot be the cache of compiled plugins: it has the mode {mode:03o} and the owner {owner}; expected 700 \
         and {ours}; hint: chmod 0700 it, or name another directory",
        .path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
}

/// The cache directory.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    temporary: AtomicU64,
}

/// What is known of a plugin without loading it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct About {
    pub(crate) kind: PluginKind,
    pub(crate) description: Description,
    /// SHA-256 of what its code is made of.
    pub(crate) essence: Digest,
}

impl Cache {
    /// Opens the directory, makes it when it is missing, and takes out what is too old or too much.
    pub(crate) fn open(directory: &Path) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Io { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let metadata = fs::symlink_metadata(directory).map_err(failed)?;
        let ours = rustix::process::geteuid().as_raw();
        let mode = metadata.mode() & 0o777;
        if !metadata.is_dir() || metadata.uid() != ours || mode & 0o077 != 0 {
            return Err(CacheError::NotPrivate {
                path: directory.to_owned(),
                mode,
                owner: metadata.uid(),
                ours,
            });
        }
        let cache = Cache { directory: directory.to_owned(), temporary: AtomicU64::new(0) };
        cache.prune(BYTES_MAX);
        Ok(cache)
    }

    fn file(&self, key: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{key}.{extension}"))
    }

    /// Returns what is known of a plugin, when its code is here too.
    pub(crate) fn about(&self, runtime: &Runtime, digest: &Digest) -> Option<About> {
        let key = key(runtime, digest);
        let path = self.file(&key, "json");
        let text = self.read(&path)?;
        let about = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.split_once('\n'))
            .filter(|(sum, json)| *sum == checksum(&key, json.as_bytes()))
            .and_then(|(_, json)| about::parse(json));
        if about.is_none() {
            self.distrust(&path);
        }
        about.filter(|about| self.file(&self::key(runtime, &about.essence), "cwasm").exists())
    }

    /// Keeps what a plugin says about itself. Losing it costs time, so a failure is only logged.
    pub(crate) fn keep_about(&self, runtime: &Runtime, digest: &Digest, about: &About) {
        let key = key(runtime, digest);
        let json = about::render(about);
        let text = format!("{}\n{json}", checksum(&key, json.as_bytes()));
        self.write(&self.file(&key, "json"), text.as_bytes());
    }

    /// Loads the code of an essence, when it is here and can be believed. Blocks.
    pub(crate) fn code(&self, runtime: &Runtime, essence: &Digest) -> Option<Component> {
        let key = key(runtime, essence);
        let (path, sum) = (self.file(&key, "cwasm"), self.file(&key, "sum"));
        let (file, code) = self.read_file(&path)?;
        let believed = self.read(&sum).is_some_and(|sum| sum == checksum(&key, &code).as_bytes());
        if !believed {
            self.distrust(&path);
            self.distrust(&sum);
            return None;
        }
        drop(code);
        // What was used last goes last when there is too much.
        file.set_modified(SystemTime::now()).ok();
        match runtime.load_compiled(&TrustedArtifact(&file)) {
            Ok(component) => Some(component),
            Err(error) => {
                warn!(path = %path.display(), error = %chain(&error), "the engine does not take its own code back; it is compiled again");
                self.distrust(&path);
                None
            }
        }
    }

    /// Keeps compiled code. Losing it costs time, so a failure is only logged. Blocks.
    pub(crate) fn keep_code(&self, runtime: &Runtime, essence: &Digest, code: &[u8]) {
        let key = key(runtime, essence);
        // The checksum first: code without one is not believed, and would be made again by whoever finds it.
        if self.write(&self.file(&key, "sum"), checksum(&key, code).as_bytes()) {
            self.place(&self.file(&key, "cwasm"), code, Replace::Never);
        }
    }

    /// Keeps a plugin itself, so that who began with it can go on with it when its file is gone. Returns whether it is
    /// kept now. Blocks.
    pub(crate) fn keep_original(&self, digest: &Digest, is_bundled: bool, bytes: &[u8]) -> bool {
        let path = self.file(digest.as_str(), original(is_bundled));
        if path.exists() {
            return true;
        }
        self.place(&path, bytes, Replace::Never)
    }

    /// Returns a plugin that was kept, and whether it was bundled. Blocks.
    pub(crate) fn original(&self, digest: &Digest) -> Option<(Bytes, bool)> {
        [true, false].into_iter().find_map(|is_bundled| {
            let path = self.file(digest.as_str(), original(is_bundled));
            let (file, bytes) = self.read_file(&path)?;
            if Digest::from_bytes(&Sha256::digest(&bytes).into()) != *digest {
                self.distrust(&path);
                return None;
            }
            file.set_modified(SystemTime::now()).ok();
            Some((Bytes::from(bytes), is_bundled))
        })
    }

    /// Reads a file of ours; nothing when it is not there or not ours.
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.read_file(path).map(|(_, bytes)| bytes)
    }

    /// Reads a file of ours, and returns it open.
    fn read_file(&self, path: &Path) -> Option<(File, Vec<u8>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(
                (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32
            )
            .open(path)
            .ok()?;
        let metadata = file.metadata().ok()?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_file() || !ours || metadata.mode() & 0o022 != 0 {
            self.distrust(path);
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Some((file, bytes))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> bool {
        self.place(path, bytes, Replace::Allowed)
    }

    /// Writes a file under another name and renames it, so that nobody ever sees half of it.
    fn place(&self, path: &Path, bytes: &[u8], replace: Replace) -> bool {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!(".{}-{number}.tmp", std::process::id()));
        let written = (|| {
            let mut file: File =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            match replace {
                Replace::Allowed => fs::rename(&temporary, path),
                // Others may have it mapped, and have made the same.
                Replace::Never => match fs::hard_link(&temporary, path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => fs::remove_file(&temporary),
                },
            }
        })();
        if let Err(error) = &written {
            warn!(path = %path.display(), %error, "a compiled plugin could not be kept; it will be compiled again");
            fs::remove_file(&temporary).ok();
        }
        written.is_ok()
    }

    fn distrust(&self, path: &Path) {
        warn!(path = %path.display(), "a file of the plugin cache is not what was put there; it is thrown away");
        fs::remove_file(path).ok();
    }

    /// Takes out what a dead process left behind, and the oldest entries while there is too much.
    fn prune(&self, bytes_max: u64) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let now = SystemTime::now();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let age = now.duration_since(modified).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                if age > LEFTOVER_AGE {
                    fs::remove_file(&path).ok();
                }
            } else {
                files.push((modified, metadata.len(), path));
            }
        }
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, size, path) in files {
            if bytes <= bytes_max {
                break;
            }
            debug!(path = %path.display(), "the plugin cache is full; its oldest entry goes");
            fs::remove_file(&path).ok();
            bytes -= size;
        }
    }
}

/// Whether a file that is there may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replace {
    Allowed,
    Never,
}

fn original(is_bundled: bool) -> &'static str {
    if is_bundled { "bundled.wasm" } else { "file.wasm" }
}

fn key(runtime: &Runtime, digest: &Digest) -> String {
    format!("{digest}-{}", runtime.compatibility())
}

fn checksum(key: &str, bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(key.as_bytes());
    hasher.update(b"\n");
    hasher.update(bytes);
    Digest::from_bytes(&hasher.finalize().into()).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use caelum_core::plugin::Phase;
    use serde_json::json;

    use super::*;
    use crate::limits::Limits;
    use crate::runtime::Allocator;

    struct Bench {
        _folder: tempfile::TempDir,
        cache: Cache,
        runtime: Runtime,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("a/cache")).expect("opens");
        let runtime = Runtime::new(&Limits::default(), Allocator::OnDemand).expect("starts");
        Bench { _folder: folder, cache, runtime }
    }

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes(&[byte; 32])
    }

    fn about() -> About {
        About {
            kind: PluginKind::Validator,
            description: Description {
                name: "unit-tests".parse().expect("a name"),
                version: "1.0.0".to_owned(),
                title: "Unit tests".to_owned(),
                summary: "Judges.".to_owned(),
                parameters_schema: json!({"type": "object"}),
                rules: vec![],
                applies_to: vec![],
                phases: vec![Phase::After],
                evidence_formats: vec!["junit-xml".to_owned()],
                licence: Some("MIT".to_owned()),
                homepage: None,
                authors: vec!["Ada".to_owned()],
            },
            essence: digest(1),
        }
    }

    fn keep(bench: &Bench, digest: &Digest) {
        let component = wat::parse_str("(component)").expect("wat");
        let code = bench.runtime.engine().precompile_component(&component).expect("compiles");
        bench.cache.keep_code(&bench.runtime, digest, &code);
        bench.cache.keep_about(&bench.runtime, digest, &about());
    }

    #[test]
    fn what_was_kept_comes_back() {
        let bench = bench();
        assert_eq!(bench.cache.about(&bench.runtime, &digest(1)), None);
        assert!(bench.cache.code(&bench.runtime, &digest(1)).is_none());

        keep(&bench, &digest(1));

        assert_eq!(bench.cache.about(&bench.runtime, &digest(1)), Some(about()));
        assert!(bench.cache.code(&bench.runtime, &digest(1)).is_some());
    }

    #[test]
    fn a_changed_cut_or_swapped_file_is_thrown_away() {
        type Damage = fn(&Path, &Path);
        let damages: [Damage; 3] = [
            |path, _| {
                let mut bytes = fs::read(path).expect("reads");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).expect("writes");
            },
            |path, _| {
                let bytes = fs::read(path).expect("reads");
                fs::write(path, &bytes[..bytes.len() / 2]).expect("writes");
            },
            |path, other| {
                fs::copy(other, path).expect("copies");
                fs::copy(other.with_extension("sum"), path.with_extension("sum")).expect("copies");
            },
        ];
        for damage in damages {
            let bench = bench();
            keep(&bench, &digest(1));
            keep(&bench, &digest(2));
            let path = |byte| bench.cache.file(&key(&bench.runtime, &digest(byte)), "cwasm");

            damage(&path(1), &path(2));

            assert!(bench.cache.code(&bench.runtime, &digest(1)).is_none());
            assert!(!path(1).exists(), "what is not believed is deleted");
            assert!(bench.cache.code(&bench.runtime, &digest(2)).is_some());
        }
    }

    #[test]
    fn a_changed_description_is_thrown_away() {
        let bench = bench();
        keep(&bench, &digest(1));
        let path = bench.cache.file(&key(&bench.runtime, &digest(1)), "json");
        let text = fs::read_to_string(&path).expect("reads");

        fs::write(&path, text.replace("unit-tests", "other-name")).expect("writes");

        assert_eq!(bench.cache.about(&bench.runtime, &digest(1)), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_plugin_that_was_kept_is_believed_by_what_it_hashes_to() {
        let bench = bench();
        let bytes = b"a plugin".as_slice();
        let digest = Digest::from_bytes(&Sha256::digest(bytes).into());
        assert_eq!(bench.cache.original(&digest), None);

        assert!(bench.cache.keep_original(&digest, true, bytes));
        assert_eq!(bench.cache.original(&digest), Some((Bytes::from_static(bytes), true)));

        let path = bench.cache.file(digest.as_str(), "bundled.wasm");
        fs::write(&path, b"another").expect("writes");
        assert_eq!(bench.cache.original(&digest), None);
        assert!(!path.exists());
    }

    #[test]
    fn code_that_is_there_is_never_overwritten() {
        use std::os::unix::fs::MetadataExt;
        let bench = bench();
        keep(&bench, &digest(1));
        let path = bench.cache.file(&key(&bench.runtime, &digest(1)), "cwasm");
        let before = fs::metadata(&path).expect("is there").ino();

        keep(&bench, &digest(1));

        assert_eq!(fs::metadata(&path).expect("is there").ino(), before);
        assert!(bench.cache.code(&bench.runtime, &digest(1)).is_some());
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("open");
        fs::create_dir(&path).expect("makes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");

        let message = Cache::open(&path).expect_err("open to others").to_string();

        assert!(message.contains("it has the mode 755"), "{message}");
        assert!(message.contains("hint: chmod 0700 it"), "{message}");
    }

    #[test]
    fn the_oldest_entries_go_when_there_is_too_much() {
        let bench = bench();
        for (name, seconds) in [("old", 10), ("new", 20)] {
            let path = bench.cache.directory.join(name);
            fs::write(&path, [0; 100]).expect("writes");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options()
                .append(true)
                .open(&path)
                .expect("opens")
                .set_modified(time)
                .expect("sets");
        }

        bench.cache.prune(150);

        assert!(!bench.cache.directory.join("old").exists());
        assert!(bench.cache.directory.join("new").exists());
    }
}
