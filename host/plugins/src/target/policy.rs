//! Which files of a component are withheld from plugins.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// What plugins may not see of a component, whatever its tree holds: version control and what usually holds secrets.
///
/// A path is withheld when it, or a directory above it, matches one of `deny` and none of `allow`. Globs are matched
/// against the whole path relative to the root, without regard to case; `**/` in front means everywhere. What is
/// withheld is not listed, and reading it answers `denied`, so that a plugin can tell a withheld file from one that is
/// not there (a check for credentials needs to know that a `.env` exists, not what it says).
///
/// An operator whose patterns work on `.env` files themselves gives a policy without those entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPolicy {
    /// What is withheld.
    pub deny: Vec<String>,
    /// What is not withheld although `deny` matches.
    pub allow: Vec<String>,
}

impl Default for TargetPolicy {
    fn default() -> Self {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        TargetPolicy {
            deny: owned(&[
                // Version control: history holds what was deleted, and hooks are code.
                "**/.git",
                "**/.hg",
                "**/.svn",
                // Environment files.
                "**/.env",
                "**/.env.*",
                // Private keys and key stores.
                "**/*.pem",
                "**/*.key",
                "**/*.p12",
                "**/*.pfx",
                "**/*.jks",
                "**/*.keystore",
                "**/*.kdbx",
                "**/id_rsa*",
                "**/id_dsa*",
                "**/id_ecdsa*",
                "**/id_ed25519*",
                "**/.ssh",
                "**/.gnupg",
                // Credentials of tools.
                "**/.netrc",
                "**/.pgpass",
                "**/.npmrc",
                "**/.pypirc",
                "**/.htpasswd",
                "**/.git-credentials",
                "**/.aws/credentials",
                "**/.docker/config.json",
                "**/.kube/config",
            ]),
            allow: owned(&[
                "**/.env.example",
                "**/.env.sample",
                "**/.env.template",
                "**/.env.dist",
                "**/id_*.pub",
            ]),
        }
    }
}

/// A glob of the policy that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{glob}` is not a glob: {problem}")]
pub struct PolicyError {
    /// The glob as it was given.
    pub glob: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The policy, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    deny: GlobSet,
    allow: GlobSet,
}

impl TargetPolicy {
    /// Prepares the policy.
    ///
    /// # Errors
    ///
    /// Every glob that cannot be parsed.
    pub(crate) fn compile(&self) -> Result<Policy, Vec<PolicyError>> {
        let mut problems = Vec::new();
        let deny = set(&self.deny, &mut problems);
        let allow = set(&self.allow, &mut problems);
        if problems.is_empty() { Ok(Policy { deny, allow }) } else { Err(problems) }
    }
}

fn set(globs: &[String], problems: &mut Vec<PolicyError>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    let mut refuse = |glob: &str, error: &globset::Error| {
        problems.push(PolicyError { glob: glob.to_owned(), problem: error.kind().to_string() });
    };
    for glob in globs {
        match parse(glob) {
            Ok(glob) => drop(set.add(glob)),
            Err(error) => refuse(glob, &error),
        }
    }
    set.build().unwrap_or_else(|error| {
        refuse(error.glob().unwrap_or_default(), &error);
        GlobSet::empty()
    })
}

fn parse(glob: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(glob).literal_separator(true).case_insensitive(true).build()
}

impl Policy {
    /// Whether a path is withheld, by itself or with a directory above it.
    pub(crate) fn denies(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        above
            .chain(std::iter::once(path))
            .any(|part| self.deny.is_match(part) && !self.allow.is_match(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_control_and_secrets_are_withheld_wherever_they_are() {
        let policy = TargetPolicy::default().compile().expect("the defaults are globs");

        for path in [
            ".git",
            ".git/config",
            "vendor/x/.git/HEAD",
            ".env",
            "services/a/.ENV",
            ".env.production",
            "certs/server.pem",
            "home/.ssh/known_hosts",
            "id_rsa",
            ".aws/credentials",
        ] {
            assert!(policy.denies(path), "{path}");
        }
        for path in [
            "",
            ".github/workflows/ci.yml",
            ".gitignore",
            ".env.example",
            "env",
            "id_rsa.pub",
            "a.keys",
        ] {
            assert!(!policy.denies(path), "{path}");
        }
    }

    #[test]
    fn every_bad_glob_of_a_policy_is_named() {
        let policy = TargetPolicy {
            deny: vec!["[a".to_owned(), "b".to_owned()],
            allow: vec!["{c".to_owned()],
        };

        let problems: Vec<String> =
            policy.compile().expect_err("two are broken").iter().map(ToString::to_string).collect();

        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("`[a` is not a glob: "), "{problems:?}");
        assert!(problems[1].starts_with("`{c` is not a glob: "), "{problems:?}");
    }
}
