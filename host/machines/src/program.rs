//! Finds the file of a program before it is started, so that "not found" and "not executable" are told apart and the
//! error can say what is near.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use caelum_core::near::near;
use caelum_core::task::{FailureClass, TaskFailure};

/// Where programs are looked up when the environment has no `PATH`.
pub(crate) const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Names that are compared for "did you mean"; a `PATH` with more is not searched further.
const NEAR_NAMES_MAX: usize = 20_000;

/// A program that is there and may be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its file.
    pub(crate) file: PathBuf,
    /// Whether it was named without a `/` and found in `PATH`.
    pub(crate) by_name: bool,
}

enum Found {
    Program,
    Nothing,
    Directory,
    NotExecutable(&'static str),
}

fn look(file: &Path) -> Found {
    match fs::metadata(file) {
        Err(_) => Found::Nothing,
        Ok(metadata) if metadata.is_dir() => Found::Directory,
        Ok(metadata) if !metadata.is_file() => Found::NotExecutable("it is not a regular file"),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Found::NotExecutable("its mode has no execute bit")
        }
        Ok(_) => Found::Program,
    }
}

/// Finds `name` in the directories of `path`, or beneath `cwd` when it has a `/`.
pub(crate) fn find(name: &str, path: &OsStr, cwd: &Path) -> Result<Program, TaskFailure> {
    if name.contains('/') {
        let file = cwd.join(name);
        return match look(&file) {
            Found::Program => Ok(Program { file, by_name: false }),
            Found::Nothing => Err(not_found(
                format!("there is no file `{name}` in `{}`", cwd.display()),
                Some("a program with a `/` is looked up from the task's directory".to_owned()),
            )),
            Found::Directory => Err(not_executable(&file, "it is a directory")),
            Found::NotExecutable(why) => Err(not_executable(&file, why)),
        };
    }
    let mut refused = None;
    for directory in std::env::split_paths(path) {
        // An empty part of PATH means the current directory; a task never runs what merely lies around.
        if !directory.is_absolute() {
            continue;
        }
        let file = directory.join(name);
        match look(&file) {
            Found::Program => return Ok(Program { file, by_name: true }),
            Found::Nothing | Found::Directory => {}
            Found::NotExecutable(why) => refused = refused.or(Some((file, why))),
        }
    }
    if let Some((file, why)) = refused {
        return Err(not_executable(&file, why));
    }
    let names = names_on(path);
    let near = near(name, names.iter().filter_map(|name| name.to_str()));
    let hint = if name.contains(char::is_whitespace) {
        "`program` is one program; put its arguments in `args`, or set `shell: true` for a line of shell"
            .to_owned()
    } else if near.is_empty() {
        "install it on this machine, or name it by its path".to_owned()
    } else {
        let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
        format!("did you mean {}?", near.join(" or "))
    };
    Err(not_found(
        format!("there is no program `{name}` in the PATH `{}`", path.to_string_lossy()),
        Some(hint),
    ))
}

/// Says why a file that looked executable could not be executed.
pub(crate) fn interpreter_problem(file: &Path) -> Option<TaskFailure> {
    let mut start = [0_u8; 256];
    let count = fs::File::open(file)
        .and_then(|mut file| std::io::Read::read(&mut file, &mut start))
        .ok()?;
    let line = start[..count].split(|byte| *byte == b'\n').next()?;
    let interpreter = line.strip_prefix(b"#!")?;
    let interpreter = interpreter.trim_ascii_start().split(|byte| *byte == b' ').next()?;
    let carriage_return = interpreter.ends_with(b"\r");
    let shown = OsStr::from_bytes(interpreter).to_string_lossy().escape_debug().to_string();
    Some(not_found(
        format!("`{}` needs the interpreter `{shown}`, which is not there", file.display()),
        carriage_return
            .then(|| "the file has Windows line ends; save it with plain newlines".to_owned()),
    ))
}

fn names_on(path: &OsStr) -> Vec<OsString> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .take(NEAR_NAMES_MAX)
        .collect()
}

fn not_found(message: String, hint: Option<String>) -> TaskFailure {
    TaskFailure {
        class: FailureClass::Permanent,
        code: "program_not_found".to_owned(),
        message,
        hint,
    }
}

fn not_executable(file: &Path, why: &str) -> TaskFailure {
    TaskFailure {
        class: FailureClass::Permanent,
        code: "permission_denied".to_owned(),
        message: format!("`{}` cannot be executed: {why}", file.display()),
        hint: Some("name an executable file, or make it one with `chmod +x`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_the_near_ones() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("terraform");
        fs::write(&file, "").expect("writes");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");

        let failure = find("teraform", directory.path().as_os_str(), Path::new("/"))
            .expect_err("there is no such program");

        assert_eq!(failure.code, "program_not_found");
        assert_eq!(failure.hint.as_deref(), Some("did you mean `terraform`?"));
    }

    #[test]
    fn a_line_of_shell_as_program_is_explained() {
        let failure =
            find("echo hello", OsStr::new("/bin"), Path::new("/")).expect_err("no program");

        assert!(failure.hint.expect("has one").contains("`args`"));
    }

    #[test]
    fn a_file_without_execute_bit_is_told_apart_from_a_missing_one() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("script"), "#!/bin/sh\n").expect("writes");

        let failure =
            find("./script", OsStr::new("/bin"), directory.path()).expect_err("not executable");

        assert_eq!(failure.code, "permission_denied");
        assert!(failure.message.ends_with("its mode has no execute bit"), "{}", failure.message);
    }

    #[test]
    fn programs_that_lie_in_the_current_directory_are_not_found_by_name() {
        let failure =
            find("lib.rs", OsStr::new(":."), Path::new("src")).expect_err("not looked up");

        assert_eq!(failure.code, "program_not_found");
    }
}
