//! The test house of Caelum workflows. What is shared by the tests lives here; the tests themselves in `tests/`.

use std::path::{Path, PathBuf};

/// Returns the root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the root").to_owned()
}
