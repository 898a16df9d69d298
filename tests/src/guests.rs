//! Plugins that exist to be run by tests, built once and dropped into a plugins directory as an operator would.

use std::path::PathBuf;
use std::sync::LazyLock;

use caelum_plugin_build::{BuildRequest, Built, build};

use crate::repository;

/// The guests that journeys use.
const GUESTS: [&str; 2] = ["bad-plans", "hostile"];

/// Quick when nothing has changed.
static BUILT: LazyLock<Vec<Built>> = LazyLock::new(|| {
    let packages = GUESTS.map(|guest| repository().join("tests/guests").join(guest));
    build(&BuildRequest::new(packages)).unwrap_or_else(|error| panic!("{error}"))
});

/// Returns the component of a guest.
pub(crate) fn component(name: &str) -> PathBuf {
    let place = GUESTS.iter().position(|guest| *guest == name);
    BUILT[place.unwrap_or_else(|| panic!("no guest is called `{name}`"))].path.clone()
}
