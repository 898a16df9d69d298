//! Everything that was found, each thing in its place: what serves from there, what was refused, what is being loaded.
//! Plain data; the keeper moves it, and each snapshot is put together from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_core::id::Digest;

use crate::loader::{Identity, Refused, Source, Stage};
use crate::plugin::Plugin;

use super::snapshot::Snapshot;

/// Where something was found, in the order in which it may serve: what is bundled comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// In the program, by its number.
    Bundled(usize),
    /// In the plugins directory.
    File(PathBuf),
}

/// What is known of one place.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) source: Source,
    /// What was looked at last; nothing when it has to be looked at again.
    pub(super) seen: Option<Identity>,
    /// The last version that could be loaded.
    pub(super) serving: Option<Arc<Plugin>>,
    /// Why the present version is kept out.
    pub(super) refused: Option<Refused>,
    pub(super) is_loading: bool,
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    slots: BTreeMap<Place, Slot>,
    /// Why the directory as a whole is kept out.
    pub(super) folder: Option<Refused>,
}

impl Shelf {
    /// Notes that a place is being loaded.
    pub(super) fn begin(&mut self, place: &Place, source: Source, seen: Option<Identity>) {
        let slot = self.slots.entry(place.clone()).or_insert_with(|| Slot {
            source,
            seen: None,
            serving: None,
            refused: None,
            is_loading: false,
        });
        slot.seen = seen;
        slot.is_loading = true;
    }

    /// Notes what became of loading. Returns the plugin that does not serve from there any more.
    ///
    /// What is refused keeps the last good version serving, unless the operator has put that away.
    pub(super) fn settle(
        &mut self,
        place: &Place,
        outcome: Result<Arc<Plugin>, Refused>,
    ) -> Option<Arc<Plugin>> {
        let slot = self.slots.get_mut(place)?;
        slot.is_loading = false;
        match outcome {
            Ok(plugin) => {
                slot.refused = None;
                slot.serving.replace(plugin)
            }
            Err(refused) => {
                slot.refused = Some(refused);
                None
            }
        }
    }

    /// Notes that a place has to be looked at again, because its file was not ready.
    pub(super) fn postpone(&mut self, place: &Place) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.is_loading = false;
            slot.seen = None;
            if slot.serving.is_none() && slot.refused.is_none() {
                self.slots.remove(place);
            }
        }
    }

    /// Whether a file is the one that was looked at last.
    pub(super) fn knows(&self, path: &Path, identity: Option<&Identity>) -> bool {
        let slot = self.slots.get(&Place::File(path.to_path_buf()));
        slot.is_some_and(|slot| {
            slot.is_loading || (slot.seen.is_some() && slot.seen.as_ref() == identity)
        })
    }

    /// Takes out the files that are not there any more. Returns what does not serve any more.
    pub(super) fn retain_files(&mut self, there: impl Fn(&PathBuf) -> bool) -> Vec<Arc<Plugin>> {
        let mut gone = Vec::new();
        self.slots.retain(|place, slot| match place {
            Place::File(path) if !there(path) => {
                gone.extend(slot.serving.take());
                false
            }
            _ => true,
        });
        gone
    }

    /// Applies a change of the operator's word: `allowed` says of a source and a digest why it may not serve. Returns
    /// what does not serve any more, and the places that may be tried again.
    pub(super) fn judge(
        &mut self,
        allowed: impl Fn(&Source, &Digest) -> Result<(), Refused>,
    ) -> (Vec<Arc<Plugin>>, Vec<Place>) {
        let (mut gone, mut again) = (Vec::new(), Vec::new());
        for (place, slot) in &mut self.slots {
            let verdict =
                slot.serving.as_ref().map(|plugin| allowed(&slot.source, plugin.digest()));
            if let Some(Err(refused)) = verdict {
                gone.extend(slot.serving.take());
                slot.refused = Some(refused);
            }
            let refused_by_word =
                slot.refused.as_ref().is_some_and(|refused| refused.stage == Stage::Trust);
            if refused_by_word && !slot.is_loading {
                slot.seen = None;
                again.push(place.clone());
            }
        }
        (gone, again)
    }

    /// Puts together what is served now.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.refused.extend(self.folder.clone());
        for slot in self.slots.values() {
            if let Some(plugin) = &slot.serving {
                snapshot.publish(Arc::clone(plugin));
            }
            snapshot.refused.extend(slot.refused.clone());
            if slot.is_loading && slot.serving.is_none() {
                snapshot.loading.push(slot.source.clone());
            }
        }
        snapshot
    }
}
