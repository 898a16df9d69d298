//! The first-party plugins, compiled and embedded. The build script makes them from the packages beside this one; here
//! is only the table.

/// A plugin that is part of this program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BundledPlugin {
    /// Its id.
    pub id: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The world that it implements: `improvement-pattern` or `step-validator`.
    pub world: &'static str,
    /// What the file would be called in a plugins directory.
    pub file_name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

impl std::fmt::Debug for BundledPlugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BundledPlugin")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("world", &self.world)
            .field("length_bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Returns the first-party plugins, sorted by id. Ids are unique.
#[must_use]
pub fn bundled() -> &'static [BundledPlugin] {
    static BUNDLED: &[BundledPlugin] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
    BUNDLED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_file_is_the_plugin_that_the_table_names() {
        for plugin in bundled() {
            let identity = caelum_plugin_build::read_identity(plugin.bytes).expect("an identity");

            assert_eq!(
                (identity.id.as_str(), identity.version.as_str()),
                (plugin.id, plugin.version)
            );
            assert_eq!(
                (identity.world.as_str(), plugin.file_name),
                (plugin.world, format!("{}.wasm", plugin.id).as_str())
            );
        }
    }

    #[test]
    fn ids_are_sorted_and_unique() {
        assert!(bundled().is_sorted_by(|left, right| left.id < right.id), "{:?}", bundled());
    }
}
