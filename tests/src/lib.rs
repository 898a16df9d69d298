//! The test house of Caelum workflows. What is shared by the tests lives here: a home for the real program, MCP clients
//! that hold every answer to its schema, small services and projects for it to work on. The tests themselves lie in
//! `tests/`.

mod client;
mod guests;
mod home;
mod project;
mod server;
mod service;
mod wait;
mod witness;

use std::path::{Path, PathBuf};

pub use client::{Client, Era, http_client};
pub use home::{Finished, Home};
pub use project::Project;
pub use server::{Log, Server};
pub use service::Service;
pub use wait::{PATIENCE, soon, until};
pub use witness::Witness;

/// Returns the root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the root").to_owned()
}
