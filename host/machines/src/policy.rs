//! What a command may be: which programs, which directories, which environment. The default permits what a workflow of
//! the same user names, beneath the roots.
//!
//! Lists of programs are a rule for people who want to be kept from mistakes. They are no wall: a permitted program can
//! start others. What a hostile workflow could do is bounded by the user that the server runs as.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use caelum_core::task::{CommandSpec, FailureClass, TaskFailure};

use crate::program::{self, PATH_DEFAULT};

/// Environment variables that every command inherits from the server when they are set there.
pub const ENV_INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];

/// Environment variables that tell a command what it works for; a task cannot set them itself.
pub const ENV_RESERVED: [&str; 7] = [
    "CAELUM_EXECUTION_ID",
    "CAELUM_STEP_ID",
    "CAELUM_MACHINE",
    "CAELUM_ATTEMPT",
    "CAELUM_IDEMPOTENCY_KEY",
    "CAELUM_EPOCH",
    "CAELUM_RUN_ID",
];

/// A root that cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// There are none.
    #[error("there is no root directory for commands; hint: name at least one")]
    NoRoot,
    /// One is not there or is no directory.
    #[error("the root `{}` is not a directory that can be used", .path.display())]
    Root {
        /// The directory as it was named.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a command may be.
#[derive(Debug, Clone)]
pub struct CommandPolicy {
    /// Canonical, at least one; a command's directory lies beneath one of them. The first is where relative paths begin.
    roots: Vec<PathBuf>,
    /// Programs that may run; nothing means all. An entry without `/` is a name found in `PATH`, one with `/` is a file.
    pub programs_allowed: Option<BTreeSet<String>>,
    /// Programs that may not run, by name or by file; stronger than `programs_allowed`.
    pub programs_denied: BTreeSet<String>,
    /// Whether `shell: true` is allowed (default true). With a list of allowed programs, `sh` has to be on it as well.
    pub shell_allowed: bool,
    /// Variables inherited from the server's environment (default [`ENV_INHERITED`]). Everything else is left out, so
    /// that a token of the server never reaches a command.
    pub env_inherited: BTreeSet<String>,
    /// Variables that a task may not set (default none).
    pub env_denied: BTreeSet<String>,
}

/// A command that policy permits, with everything that starting it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The program's file.
    pub program: PathBuf,
    /// What the program sees as its own name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory to run in, canonical.
    pub cwd: PathBuf,
    /// The whole environment, without the reserved variables.
    pub env: BTreeMap<String, OsString>,
}

impl CommandPolicy {
    /// Builds the default policy: commands run beneath `roots`, which are resolved here and now.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NoRoot`] for an empty list, [`PolicyError::Root`] for the first that is no directory.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Result<Self, PolicyError> {
        let mut canonical = Vec::new();
        for path in roots {
            let root = path.canonicalize().and_then(|root| {
                std::fs::read_dir(&root)?;
                Ok(root)
            });
            match root {
                Ok(root) if canonical.contains(&root) => {}
                Ok(root) => canonical.push(root),
                Err(source) => return Err(PolicyError::Root { path, source }),
            }
        }
        if canonical.is_empty() {
            return Err(PolicyError::NoRoot);
        }
        Ok(CommandPolicy {
            roots: canonical,
            programs_allowed: None,
            programs_denied: BTreeSet::new(),
            shell_allowed: true,
            env_inherited: ENV_INHERITED.into_iter().map(str::to_owned).collect(),
            env_denied: BTreeSet::new(),
        })
    }

    /// Returns the roots: canonical, at least one.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Checks a command against the policy and finds its program and directory. Looks at the file system.
    ///
    /// # Errors
    ///
    /// A permanent failure that names everything that is wrong with the command at once: `refused_by_policy`,
    /// `invalid_command`, `directory_not_found`, `program_not_found` or `permission_denied`.
    pub fn prepare(
        &self,
        spec: &CommandSpec,
        stdin_bytes_max: usize,
    ) -> Result<Prepared, TaskFailure> {
        let mut faults = faults_of(spec, stdin_bytes_max);
        let cwd = self.directory(spec.cwd.as_deref()).map_err(|fault| faults.push(fault)).ok();
        for name in spec.env.keys().filter(|name| self.env_denied.contains(*name)) {
            faults.push(refused(format!("the environment variable `{name}` may not be set")));
        }
        if spec.shell && !self.shell_allowed {
            faults.push(refused("`shell: true` is not allowed here".to_owned()));
        }
        let env = self.environment(spec);
        let path = env.get("PATH").map_or(OsStr::new(PATH_DEFAULT), OsString::as_os_str);
        let (wanted, args) = if spec.shell {
            ("sh", shell_args(spec))
        } else {
            (spec.program.as_str(), spec.args.clone())
        };
        let fallback = cwd.clone().unwrap_or_else(|| self.roots[0].clone());
        let found = if wanted.is_empty() || wanted.contains('\0') {
            None
        } else if spec.shell {
            let file = PathBuf::from("/bin/sh");
            Some(Ok(program::Program { file, by_name: true }))
        } else {
            Some(program::find(wanted, path, &fallback))
        };
        match found {
            Some(Ok(found)) => {
                if let Some(fault) = self.program_fault(wanted, &found) {
                    faults.push(fault);
                }
                if let (Some(cwd), true) = (cwd, faults.is_empty()) {
                    return Ok(Prepared {
                        program: found.file,
                        name: wanted.to_owned(),
                        args,
                        cwd,
                        env,
                    });
                }
            }
            Some(Err(fault)) => faults.push(fault),
            None => {}
        }
        Err(merged(faults))
    }

    /// Finds a directory beneath a root; nothing means the first root.
    ///
    /// # Errors
    ///
    /// A permanent failure: `directory_not_found`, or `refused_by_policy` when it lies elsewhere.
    pub fn directory(&self, cwd: Option<&str>) -> Result<PathBuf, TaskFailure> {
        let wanted = cwd.unwrap_or(".");
        let path = self.roots[0].join(wanted);
        let found = path.canonicalize().and_then(|path| {
            let is_directory = std::fs::metadata(&path)?.is_dir();
            Ok((path, is_directory))
        });
        match found {
            // A place outside the roots is refused whether it is there or not, so that nothing is told about it.
            Ok((found, _)) if !self.is_beneath_a_root(&found) => Err(self.outside(wanted)),
            Err(_) if !self.is_beneath_a_root(&plain(&path)) => Err(self.outside(wanted)),
            Ok((found, true)) => Ok(found),
            Ok((found, false)) => Err(TaskFailure {
                class: FailureClass::Permanent,
                code: "directory_not_found".to_owned(),
                message: format!("`{}` is not a directory", found.display()),
                hint: None,
            }),
            Err(error) => Err(TaskFailure {
                class: FailureClass::Permanent,
                code: "directory_not_found".to_owned(),
                message: format!("the directory `{}` cannot be used: {error}", path.display()),
                hint: Some("`cwd` is relative to the first root".to_owned()),
            }),
        }
    }

    /// Splits a path into a root and what follows, for reading confined to that root.
    ///
    /// # Errors
    ///
    /// `refused_by_policy` when it is absolute and beneath no root.
    pub fn beneath(&self, path: &str) -> Result<(&Path, PathBuf), TaskFailure> {
        let named = Path::new(path);
        if named.is_relative() {
            return Ok((&self.roots[0], named.to_owned()));
        }
        self.roots
            .iter()
            .find_map(|root| Some((root.as_path(), named.strip_prefix(root).ok()?.to_owned())))
            .ok_or_else(|| self.outside(path))
    }

    fn is_beneath_a_root(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }

    fn outside(&self, path: &str) -> TaskFailure {
        let roots: Vec<String> =
            self.roots.iter().map(|root| format!("`{}`", root.display())).collect();
        TaskFailure {
            hint: Some("the operator names roots in the server's configuration".to_owned()),
            ..refused(format!(
                "`{}` is not beneath an allowed root; allowed: {}",
                path.escape_debug(),
                roots.join(", ")
            ))
        }
    }

    fn program_fault(&self, wanted: &str, found: &program::Program) -> Option<TaskFailure> {
        let canonical = found.file.canonicalize().unwrap_or_else(|_| found.file.clone());
        let is_named = |entry: &String, any_place: bool| {
            if entry.contains('/') {
                return Path::new(entry) == found.file || Path::new(entry) == canonical;
            }
            let file_name = |path: &Path| path.file_name() == Some(OsStr::new(entry));
            (found.by_name && entry == wanted)
                || (any_place && (file_name(&found.file) || file_name(&canonical)))
        };
        if self.programs_denied.iter().any(|entry| is_named(entry, true)) {
            return Some(refused(format!("the program `{wanted}` is not allowed here")));
        }
        let allowed = self.programs_allowed.as_ref()?;
        if allowed.iter().any(|entry| is_named(entry, false)) {
            return None;
        }
        let known: Vec<&str> = allowed.iter().map(String::as_str).collect();
        Some(refused(format!(
            "the program `{wanted}` is not among the allowed ones; allowed: {}",
            known.join(", ")
        )))
    }

    fn environment(&self, spec: &CommandSpec) -> BTreeMap<String, OsString> {
        let mut env: BTreeMap<String, OsString> = self
            .env_inherited
            .iter()
            .filter_map(|name| Some((name.clone(), std::env::var_os(name)?)))
            .collect();
        env.extend(spec.env.iter().map(|(name, value)| (name.clone(), value.into())));
        env
    }
}

/// Finds what is wrong with a command whichever policy holds.
fn faults_of(spec: &CommandSpec, stdin_bytes_max: usize) -> Vec<TaskFailure> {
    let mut messages = Vec::new();
    if spec.program.is_empty() {
        messages.push("`program` is empty".to_owned());
    }
    if spec.program.contains('\0') {
        messages.push("`program` has a NUL character".to_owned());
    }
    for (index, _) in spec.args.iter().enumerate().filter(|(_, arg)| arg.contains('\0')) {
        messages.push(format!("argument {index} has a NUL character"));
    }
    for (name, value) in &spec.env {
        let shown = name.escape_debug();
        if name.is_empty() || name.contains(['=', '\0']) {
            messages.push(format!("`{shown}` is not a name for an environment variable"));
        } else if ENV_RESERVED.contains(&name.as_str()) {
            messages.push(format!("the environment variable `{shown}` is set by the server"));
        }
        if value.contains('\0') {
            messages.push(format!("the environment variable `{shown}` has a NUL character"));
        }
    }
    let stdin_bytes = spec.stdin.as_ref().map_or(0, String::len);
    if stdin_bytes > stdin_bytes_max {
        messages.push(format!(
            "`stdin` has {stdin_bytes} bytes; at most {stdin_bytes_max} are allowed"
        ));
    }
    messages
        .into_iter()
        .map(|message| TaskFailure {
            class: FailureClass::Permanent,
            code: "invalid_command".to_owned(),
            message,
            hint: None,
        })
        .collect()
}

fn shell_args(spec: &CommandSpec) -> Vec<String> {
    let mut args = vec!["-c".to_owned(), spec.program.clone(), "sh".to_owned()];
    args.extend(spec.args.iter().cloned());
    args
}

fn refused(message: String) -> TaskFailure {
    TaskFailure {
        class: FailureClass::Permanent,
        code: "refused_by_policy".to_owned(),
        message,
        hint: None,
    }
}

/// Makes one failure of all: the code of the first, every message, every hint.
fn merged(faults: Vec<TaskFailure>) -> TaskFailure {
    let code = faults.first().map_or("invalid_command", |fault| fault.code.as_str()).to_owned();
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    let hints: Vec<&str> = faults.iter().filter_map(|fault| fault.hint.as_deref()).collect();
    TaskFailure {
        class: FailureClass::Permanent,
        code,
        message: messages.join("; "),
        hint: (!hints.is_empty()).then(|| hints.join("; ")),
    }
}

/// Resolves `.` and `..` in the text of a path, without looking at the file system.
fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const STDIN_MAX: usize = 1024;

    fn policy() -> (tempfile::TempDir, CommandPolicy) {
        let root = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(root.path().join("inside")).expect("creates");
        std::os::unix::fs::symlink("/etc", root.path().join("link")).expect("links");
        let policy = CommandPolicy::new([root.path().to_owned()]).expect("the root is there");
        (root, policy)
    }

    fn command(program: &str) -> CommandSpec {
        CommandSpec { program: program.to_owned(), ..CommandSpec::default() }
    }

    #[test]
    fn directories_that_leave_the_roots_are_refused() {
        let (_root, policy) = policy();

        for cwd in ["..", "inside/../..", "/etc", "link", "link/ssl", "/", "../nowhere", "/nowhere"]
        {
            let failure = policy.directory(Some(cwd)).expect_err(cwd);
            assert_eq!(failure.code, "refused_by_policy", "{cwd}");
        }
        assert!(policy.directory(Some("inside")).is_ok());
        assert!(policy.directory(Some("inside/..")).is_ok());
        assert_eq!(
            policy.directory(Some("nowhere")).expect_err("missing").code,
            "directory_not_found"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let (_root, mut policy) = policy();
        policy.env_denied.insert("LD_PRELOAD".to_owned());
        let mut spec = command("no-such-program-anywhere");
        spec.cwd = Some("..".to_owned());
        spec.args = vec!["a\0b".to_owned()];
        for name in ["A=B", "CAELUM_EPOCH", "LD_PRELOAD"] {
            spec.env.insert(name.to_owned(), "x".to_owned());
        }

        let failure = policy.prepare(&spec, STDIN_MAX).expect_err("wrong in many ways");

        for part in [
            "argument 0 has a NUL",
            "`A=B` is not a name",
            "`CAELUM_EPOCH` is set by the server",
            "`..` is not beneath",
            "`LD_PRELOAD` may not be set",
            "no program `no-such-program-anywhere`",
        ] {
            assert!(failure.message.contains(part), "{part:?} in {}", failure.message);
        }
    }

    #[test]
    fn a_program_of_the_same_name_elsewhere_is_not_the_allowed_one() {
        let (root, mut policy) = policy();
        let fake = root.path().join("cat");
        std::fs::copy("/bin/cat", &fake).expect("copies with its mode");
        policy.programs_allowed = Some(["cat".to_owned()].into());

        assert!(policy.prepare(&command("cat"), STDIN_MAX).is_ok());
        let failure =
            policy.prepare(&command("./cat"), STDIN_MAX).expect_err("not the one in PATH");
        assert_eq!(
            failure.message,
            "the program `./cat` is not among the allowed ones; allowed: cat"
        );
    }

    #[test]
    fn a_denied_program_is_denied_by_whichever_path() {
        let (_root, mut policy) = policy();
        policy.programs_denied.insert("cat".to_owned());

        for program in ["cat", "/bin/cat", "/usr/bin/../bin/cat"] {
            let failure = policy.prepare(&command(program), STDIN_MAX).expect_err(program);
            assert_eq!(failure.code, "refused_by_policy");
        }
    }

    #[test]
    fn a_list_of_programs_shuts_out_the_shell_unless_it_is_named() {
        let (_root, mut policy) = policy();
        policy.programs_allowed = Some(["cat".to_owned()].into());
        let line = CommandSpec { shell: true, ..command("cat /etc/passwd") };
        assert!(policy.prepare(&line, STDIN_MAX).is_err());

        policy.programs_allowed = Some(["sh".to_owned()].into());
        assert!(policy.prepare(&line, STDIN_MAX).is_ok());
    }

    #[test]
    fn too_much_standard_input_is_refused_one_byte_past_the_limit() {
        let (_root, policy) = policy();
        let mut spec = command("cat");

        spec.stdin = Some("x".repeat(STDIN_MAX));
        assert!(policy.prepare(&spec, STDIN_MAX).is_ok());
        spec.stdin = Some("x".repeat(STDIN_MAX + 1));
        assert_eq!(
            policy.prepare(&spec, STDIN_MAX).expect_err("too long").message,
            "`stdin` has 1025 bytes; at most 1024 are allowed"
        );
    }
}
