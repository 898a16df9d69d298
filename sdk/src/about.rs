//! Who a plugin is: the constant part of its description.

/// Says who a plugin is. Make it with [`about!`](crate::about), which takes version and licence from `Cargo.toml`.
///
/// It is a constant so that the export macro can write id and version into the file, where tools read them without
/// running the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The plugin's name in workflows and tools: lower-case ASCII letters, digits and `-`, begins with a letter, at
    /// most 64 bytes. Anything else does not compile.
    pub id: &'static str,
    /// The plugin's own version, by semantic versioning.
    pub version: &'static str,
    /// What people call it: a few words.
    pub title: &'static str,
    /// What it does and when to use it, in one to three sentences.
    pub summary: &'static str,
    /// Its licence as an SPDX expression; empty when it has none.
    pub licence: &'static str,
}

impl About {
    /// The longest id, in bytes. The contract's limit.
    pub const ID_BYTES_MAX: usize = 64;

    /// Answers whether the id keeps the rules of the contract.
    #[must_use]
    pub const fn has_valid_id(&self) -> bool {
        is_id(self.id)
    }

    /// Answers whether the version can be written as it stands into JSON and begins like a semantic version. The host
    /// parses it whole.
    #[must_use]
    pub const fn has_valid_version(&self) -> bool {
        let bytes = self.version.as_bytes();
        let mut dots = 0;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte == b'.' {
                dots += 1;
            }
            let allowed =
                byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-' || byte == b'+';
            if !allowed || (at == 0 && !byte.is_ascii_digit()) {
                return false;
            }
            at += 1;
        }
        dots >= 2
    }
}

/// Answers whether a text is an id: lower-case ASCII letters, digits and `-`, a letter first, 1 to 64 bytes.
pub(crate) const fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > About::ID_BYTES_MAX || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 1;
    while at < bytes.len() {
        let byte = bytes[at];
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return false;
        }
        at += 1;
    }
    true
}

/// Makes an [`About`] from an id, a title and a summary; version and licence come from the plugin's `Cargo.toml`.
///
/// ```
/// const ABOUT: caelum_sdk::About = caelum_sdk::about!("all-zero", "All zero", "Passes when every program ended with 0.");
/// assert_eq!(ABOUT.id, "all-zero");
/// ```
#[macro_export]
macro_rules! about {
    ($id:expr, $title:expr, $summary:expr $(,)?) => {
        $crate::About {
            id: $id,
            version: env!("CARGO_PKG_VERSION"),
            title: $title,
            summary: $summary,
            licence: env!("CARGO_PKG_LICENSE"),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_rules_of_the_contract() {
        for good in ["a", "health-check", "x9", "unit-tests"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "Health", "9a", "-a", "a_b", "a b", "ä", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn versions_are_checked_before_they_are_written() {
        let about = |version| About { id: "a", version, title: "", summary: "", licence: "" };

        for good in ["0.1.0", "1.2.3-rc.1", "1.0.0+build.5"] {
            assert!(about(good).has_valid_version(), "{good}");
        }
        for bad in ["", "1", "1.0", "v1.0.0", "1.0.0\"", "1.0 .0"] {
            assert!(!about(bad).has_valid_version(), "{bad}");
        }
    }
}
