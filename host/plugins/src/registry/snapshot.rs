//! What is served at one moment, put together from everything that was found.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use caelum_core::id::{Digest, PluginName};
use caelum_core::near::did_you_mean;
use caelum_core::plugin::PluginKind;

use crate::loader::{LoadError, Refused, Source};
use crate::plugin::Plugin;

/// How many plugins that are still being loaded are named to who misses one.
const LOADING_SHOWN_MAX: usize = 5;

/// No plugin of this kind has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {kind} is called `{}`{}", shown(.name), .hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct UnknownPlugin {
    /// What was looked for.
    pub kind: PluginKind,
    /// Under which name.
    pub name: String,
    /// Near names, the kind that has the name, or why its file was refused.
    pub hint: Option<String>,
}

fn shown(name: &str) -> String {
    crate::text::line(name).chars().take(80).collect()
}

/// What is served at one moment. Never changes; a new one takes its place.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts the changes, from 1.
    pub generation: u64,
    /// What serves, by name.
    pub plugins: BTreeMap<PluginName, Arc<Plugin>>,
    /// What would serve if another one with a higher version did not.
    pub shadowed: Vec<Arc<Plugin>>,
    /// What was kept out.
    pub refused: Vec<Refused>,
    /// What is still being loaded and does not serve yet in any version.
    pub loading: Vec<Source>,
    pub(super) by_digest: HashMap<Digest, Arc<Plugin>>,
}

impl Snapshot {
    /// Finds a plugin of one kind by name.
    ///
    /// # Errors
    ///
    /// [`UnknownPlugin`] with near names, or with what stands in the way.
    pub fn find(&self, kind: PluginKind, name: &str) -> Result<Arc<Plugin>, UnknownPlugin> {
        let hint = match self.plugins.get(name) {
            Some(plugin) if plugin.kind() == kind => return Ok(Arc::clone(plugin)),
            Some(other) => Some(format!("`{}` is a {}", other.name(), other.kind())),
            None if !self.loading.is_empty() => Some(self.still_loading()),
            None => did_you_mean(name, self.of_kind(kind).map(|plugin| plugin.name().as_str())),
        };
        Err(UnknownPlugin { kind, name: name.to_owned(), hint })
    }

    /// Returns the plugins of one kind that serve, by name.
    pub fn of_kind(&self, kind: PluginKind) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values().filter(move |plugin| plugin.kind() == kind)
    }

    /// Says that something that is asked for may be there in a moment.
    pub fn still_loading(&self) -> String {
        let shown: Vec<String> =
            self.loading.iter().take(LOADING_SHOWN_MAX).map(ToString::to_string).collect();
        let more = self.loading.len().saturating_sub(LOADING_SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("still being loaded: {}{more}; ask again in a moment", shown.join(", "))
    }

    /// Whether the same is served, refused and loaded.
    pub(super) fn shows_the_same(&self, other: &Snapshot) -> bool {
        let served = |snapshot: &Snapshot| -> Vec<(Digest, Source)> {
            let plugins = snapshot.plugins.values().chain(&snapshot.shadowed);
            plugins.map(|plugin| (plugin.digest().clone(), plugin.source().clone())).collect()
        };
        served(self) == served(other)
            && self.refused == other.refused
            && self.loading == other.loading
    }

    /// Puts a plugin among the others. Of two with one name the higher version serves; what came first is never
    /// displaced by an equal.
    pub(super) fn publish(&mut self, plugin: Arc<Plugin>) {
        let refuse = |error: LoadError| {
            Refused::new(plugin.source().clone(), Some(plugin.digest().clone()), &error)
        };
        if let Some(served) = self.plugins.get(plugin.name()) {
            let (name, by) = (plugin.name().to_string(), served.source().to_string());
            if served.digest() == plugin.digest() {
                return;
            }
            if served.kind() != plugin.kind() {
                let kind = match served.kind() {
                    PluginKind::Pattern => "pattern",
                    PluginKind::Validator => "validator",
                };
                self.refused.push(refuse(LoadError::NameTaken { name, kind, by }));
                return;
            }
            match plugin.version().cmp_precedence(served.version()) {
                std::cmp::Ordering::Equal => {
                    let version = plugin.version().to_string();
                    self.refused.push(refuse(LoadError::VersionTaken { name, version, by }));
                    return;
                }
                std::cmp::Ordering::Less => {
                    self.by_digest.insert(plugin.digest().clone(), Arc::clone(&plugin));
                    self.shadowed.push(plugin);
                    return;
                }
                std::cmp::Ordering::Greater => {}
            }
        }
        self.by_digest.insert(plugin.digest().clone(), Arc::clone(&plugin));
        if let Some(displaced) = self.plugins.insert(plugin.name().clone(), plugin) {
            self.shadowed.push(displaced);
        }
    }
}
