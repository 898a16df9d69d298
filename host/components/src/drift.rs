//! What has changed in a component since patterns were applied.

use std::collections::BTreeMap;

use caelum_core::id::PluginName;
use caelum_core::pattern::Ownership;

use crate::error::ComponentsError;
use crate::provenance::{FileRecord, PatternRecord, read_from};
use crate::resolve::{Component, Components};
use crate::transaction::{Present, present};

/// How a component stands to an applied pattern. The worst that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftState {
    /// Everything is as it was applied, with the version that is installed.
    Clean,
    /// Everything is as it was applied, and another version of the pattern is installed.
    Outdated,
    /// A file was changed.
    Modified,
    /// A file is gone.
    Missing,
}

impl DriftState {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            DriftState::Clean => "clean",
            DriftState::Outdated => "outdated",
            DriftState::Modified => "modified",
            DriftState::Missing => "missing",
        }
    }
}

/// One file that is not as it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDrift {
    /// Where, relative to the component.
    pub path: String,
    /// Who owns it.
    pub ownership: Ownership,
    /// `Modified` or `Missing`.
    pub state: DriftState,
}

/// How a component stands to one applied pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternDrift {
    /// The pattern.
    pub pattern: PluginName,
    /// The version that was applied.
    pub version: String,
    /// The version that is installed, where it is another one.
    pub installed: Option<String>,
    /// The worst that holds.
    pub state: DriftState,
    /// The files that are not as they were applied, sorted by path. What was seeded is the user's and never among them.
    pub files: Vec<FileDrift>,
}

impl Components {
    /// Compares a component with its own record. `installed` are the versions of the patterns that are there now; a
    /// pattern that is not installed is not outdated.
    ///
    /// # Errors
    ///
    /// [`ComponentsError::Provenance`] and [`ComponentsError::Io`].
    pub fn drift(
        &self,
        component: &Component,
        installed: &BTreeMap<String, String>,
    ) -> Result<Vec<PatternDrift>, ComponentsError> {
        let provenance = read_from(&*component.tree())
            .map_err(|problem| ComponentsError::Provenance { problem })?;
        provenance.patterns().map(|record| of_pattern(component, record, installed)).collect()
    }
}

fn of_pattern(
    component: &Component,
    record: &PatternRecord,
    installed: &BTreeMap<String, String>,
) -> Result<PatternDrift, ComponentsError> {
    let mut files = Vec::new();
    for file in record.files.iter().filter(|file| file.ownership != Ownership::Seed) {
        files.extend(of_file(component, file)?);
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let installed = installed.get(record.pattern.as_str()).filter(|now| **now != record.version);
    let state = files.iter().map(|file| file.state).max().unwrap_or(match installed {
        Some(_) => DriftState::Outdated,
        None => DriftState::Clean,
    });
    Ok(PatternDrift {
        pattern: record.pattern.clone(),
        version: record.version.clone(),
        installed: installed.cloned(),
        state,
        files,
    })
}

fn of_file(component: &Component, file: &FileRecord) -> Result<Option<FileDrift>, ComponentsError> {
    // The record lies in the component and may say anything.
    let there = match caelum_core::pattern::check_path(&file.path) {
        Ok(()) => present(component.folder(), &file.path)?,
        Err(_) => Present::Nothing,
    };
    let state = match there {
        Present::File { sha256, .. } if sha256 == file.result_sha256 => return Ok(None),
        Present::Nothing => DriftState::Missing,
        Present::File { .. } | Present::Other => DriftState::Modified,
    };
    Ok(Some(FileDrift { path: file.path.clone(), ownership: file.ownership, state }))
}
