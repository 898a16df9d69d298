//! Where a run lives: a directory of its own with a data directory, a root for components, and an environment in which
//! nothing of the machine's own configuration is found.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Files of a small component that keeps none of the rules yet that the pattern looks for.
const COMPONENT: [(&str, &str); 2] = [
    (
        "docker-compose.yml",
        "services:\n  api:\n    build: .\n    ports:\n      - \"8115:8115\"\n    depends_on:\n      - db\n  db:\n    image: postgres:16\n",
    ),
    (
        "Dockerfile",
        "FROM python:3.12-slim\nWORKDIR /srv\nCOPY . .\nEXPOSE 8115\nCMD [\"python\", \"app.py\"]\n",
    ),
];

/// A home for the server. Goes away with its directory when it is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
    server: PathBuf,
}

impl Home {
    /// Makes a home for the server's program.
    pub(crate) fn new(server: PathBuf) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("caelum-torture-").tempdir()?;
        let home = Self { directory, server };
        for folder in ["root", "home", "tmp"] {
            fs::create_dir(home.path().join(folder))?;
        }
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Returns the directory of a component.
    pub(crate) fn component(&self, name: &str) -> PathBuf {
        self.path().join("root").join(name)
    }

    /// Makes a component, and returns its directory.
    pub(crate) fn make_component(&self, name: &str) -> io::Result<PathBuf> {
        let directory = self.component(name);
        fs::create_dir(&directory)?;
        for (file, text) in COMPONENT {
            fs::write(directory.join(file), text)?;
        }
        Ok(directory)
    }

    /// Returns the server's program with its environment, and no arguments yet. Compiled plugins lie beside this
    /// program, so that not every run compiles them anew.
    pub(crate) fn command(&self) -> Command {
        let own = std::env::current_exe().expect("this program knows its path");
        let mut command = Command::new(&self.server);
        command
            .current_dir(self.path().join("root"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path().join("home"))
            .env("TMPDIR", self.path().join("tmp"))
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("CAELUM_WORKFLOW_DATA_DIR", self.data())
            .env("CAELUM_WORKFLOW_CACHE_DIR", own.with_file_name("torture-plugin-cache"))
            .stdin(Stdio::null());
        command
    }
}
