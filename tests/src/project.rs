//! A small project for patterns and commands to work on, and its files as bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory with a small project in it.
#[derive(Debug, Clone)]
pub struct Project(PathBuf);

impl Project {
    /// Makes the directory, with nothing in it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        fs::create_dir_all(&path).expect("a folder beneath a new directory can be made");
        Self(path)
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        let folder = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
        self
    }

    /// Returns the text of a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Fills the directory with a compose stack of a small Python service and a database, which keeps none of the rules
    /// yet that patterns look for.
    pub fn with_service(self) -> Self {
        self.write(
            "docker-compose.yml",
            "services:\n  \
               api:\n    \
                 build: .\n    \
                 ports:\n      \
                   - \"8115:8115\"\n    \
                 depends_on:\n      \
                   - db\n  \
               db:\n    \
                 image: postgres:16\n    \
                 environment:\n      \
                   POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?set it}\n",
        );
        self.write(
            "Dockerfile",
            "FROM python:3.12-slim\nWORKDIR /srv\nCOPY . .\nEXPOSE 8115\nCMD [\"python\", \"app.py\"]\n",
        );
        self.write(
            "app.py",
            "from http.server import BaseHTTPRequestHandler, HTTPServer\n\n\n\
             class Handler(BaseHTTPRequestHandler):\n    \
                 def do_GET(self):\n        \
                     self.send_response(200)\n        \
                     self.end_headers()\n\n\n\
             HTTPServer((\"\", 8115), Handler).serve_forever()\n",
        );
        self.write("requirements.txt", "");
        self
    }

    /// Returns every file with its bytes, links as what they point to in words.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder can be read") {
                let path = entry.expect("an entry can be read").path();
                let name =
                    path.strip_prefix(&self.0).expect("it lies beneath").display().to_string();
                let metadata = path.symlink_metadata().expect("an entry has metadata");
                if metadata.is_symlink() {
                    let target = fs::read_link(&path).expect("a link can be read");
                    files.insert(name, format!("-> {}", target.display()).into_bytes());
                } else if metadata.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(name, fs::read(&path).expect("a file can be read"));
                }
            }
        }
        files
    }
}
