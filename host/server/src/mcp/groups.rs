//! The groups that tools come in, so that a server offers an agent only what its work needs: fewer tools are less to read
//! and less to confuse. What may be *done* is the business of scopes and of `--read-only`.

use std::collections::BTreeSet;
use std::fmt;

use super::error::did_you_mean;

/// A group of tools, as the guide divides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Definitions and executions of workflows, reviews and reports.
    Workflows,
    /// Patterns and their applications.
    Patterns,
    /// Commands on machines.
    Tasks,
    /// Health, figures, exports and backups.
    Monitoring,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 4] = [Self::Workflows, Self::Patterns, Self::Tasks, Self::Monitoring];

    /// Returns the word used in configuration and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflows => "workflows",
            Self::Patterns => "patterns",
            Self::Tasks => "tasks",
            Self::Monitoring => "monitoring",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word for all groups.
const ALL: &str = "all";

/// Some of the groups, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups(BTreeSet<Group>);

impl Groups {
    /// Returns all of them.
    pub fn all() -> Self {
        Self(BTreeSet::from(Group::ALL))
    }

    /// Reads names; none at all, or `all` among them, is every group.
    ///
    /// # Errors
    ///
    /// One text for each name that is none.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<String>> {
        let (mut groups, mut unknown) = (BTreeSet::new(), Vec::new());
        for name in names {
            if name == ALL {
                groups.extend(Group::ALL);
            } else if let Some(group) = Group::ALL.into_iter().find(|group| group.as_str() == name)
            {
                groups.insert(group);
            } else {
                let name: String = name.chars().take(80).collect();
                let words = Group::ALL.map(Group::as_str);
                let near = did_you_mean(&name, words);
                unknown.push(format!(
                    "`{name}` is no toolset{near}; there are {}, and {ALL}",
                    words.join(", ")
                ));
            }
        }
        if !unknown.is_empty() {
            return Err(unknown);
        }
        Ok(if groups.is_empty() { Self::all() } else { Self(groups) })
    }

    /// Says whether a group is among them.
    pub fn has(&self, group: Group) -> bool {
        self.0.contains(&group)
    }

    /// Says whether these are all there are.
    pub fn is_all(&self) -> bool {
        self.0.len() == Group::ALL.len()
    }

    /// Returns the names, in the order of [`Group::ALL`].
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|group| group.as_str()).collect()
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self::all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_no_name_means_all() {
        let some = Groups::parse(["tasks", "workflows", "tasks"]).unwrap();

        assert_eq!(some.names(), ["workflows", "tasks"]);
        assert!(some.has(Group::Tasks) && !some.has(Group::Patterns) && !some.is_all());
        assert!(Groups::parse([]).unwrap().is_all());
        assert!(Groups::parse(["tasks", "all"]).unwrap().is_all());
    }

    #[test]
    fn every_name_that_is_none_is_told_with_those_that_there_are() {
        let unknown = Groups::parse(["workflow", "patterns", "zzz"]).unwrap_err();

        assert_eq!(
            unknown,
            [
                "`workflow` is no toolset; did you mean `workflows`?; there are workflows, patterns, tasks, monitoring, and all",
                "`zzz` is no toolset; there are workflows, patterns, tasks, monitoring, and all",
            ]
        );
    }
}
