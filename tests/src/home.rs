//! A home for the real program: a directory of its own with a data directory, a root for components and commands, and
//! an environment in which nothing of the machine's own configuration is found.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::server::Server;
use crate::{Client, Era, Project, soon};

/// A home for the real program. Programs that are started in it, one after the other, find what those before them
/// left. Goes away with its directory when it is dropped.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    binary: PathBuf,
}

/// How a program ended that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Returns standard output as one JSON document.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Asserts that the program ended with this exit code.
    ///
    /// # Panics
    ///
    /// When it ended otherwise.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "standard output:\n{}\nstandard error:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Home {
    /// Makes a home for the program at `binary`.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("caelum-tests-")
            .tempdir()
            .expect("a directory for temporary files can be made");
        let home = Self { directory, binary: binary.into() };
        for folder in [home.root(), home.path().join("home"), home.path().join("tmp")] {
            fs::create_dir(folder).expect("a folder in a new directory can be made");
        }
        home
    }

    /// Returns the directory that everything lies in.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the root beneath which components and the directories of commands lie; it is the current directory of
    /// what is started here.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Returns the data directory.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Makes a project beneath the root.
    pub fn project(&self, name: &str) -> Project {
        Project::new(self.root().join(name))
    }

    /// Drops a test plugin into the plugins directory, where a running server finds it too.
    pub fn install(&self, guest: &str) {
        let directory = self.data().join("plugins");
        fs::create_dir_all(&directory).expect("a folder in a new directory can be made");
        let component = crate::guests::component(guest);
        fs::copy(component, directory.join(format!("{guest}.wasm"))).expect("a file can be copied");
    }

    /// Returns the program with its environment, and no arguments yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path().join("home"))
            .env("TMPDIR", self.path().join("tmp"))
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("CAELUM_WORKFLOW_DATA_DIR", self.data())
            .env("CAELUM_WORKFLOW_CACHE_DIR", shared_cache())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    ///
    /// When it does not end within [`PATIENCE`](crate::PATIENCE).
    pub async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        self.run_command(self.command().args(args)).await
    }

    /// Runs the program to its end as the caller has prepared it.
    ///
    /// # Panics
    ///
    /// When it does not end within [`PATIENCE`](crate::PATIENCE).
    pub async fn run_command(&self, command: &mut Command) -> Finished {
        let mut command =
            tokio::process::Command::from(std::mem::replace(command, Command::new("true")));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = soon("a program to end", command.output()).await.expect("the program starts");
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the server on any free port and waits until it listens.
    pub async fn serve(&self) -> Server {
        self.serve_with(&[]).await
    }

    /// Starts the server with further arguments.
    pub async fn serve_with(&self, args: &[&str]) -> Server {
        let mut command = self.command();
        command.arg("serve").args(["--port", "0"]).args(args);
        Server::start(command).await
    }

    /// Starts the server on standard input and output, and connects to it.
    pub async fn stdio(&self, era: Era) -> Client {
        let mut command = self.command();
        command.args(["serve", "--stdio"]);
        Client::over_stdio(command, era).await
    }
}

/// Returns the folder of compiled plugins that all tests share, beside the test programs: compiling them anew for every
/// test would take longer than all tests together. Entries are named by content, so that none is ever wrong.
fn shared_cache() -> PathBuf {
    let test = std::env::current_exe().expect("a running test knows its own path");
    test.parent().expect("a file lies in a folder").join("journeys-plugin-cache")
}
