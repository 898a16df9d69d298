//! Plugins as they come and go: waiting for those that are still being loaded, and being told of changes.

use std::sync::Arc;

use caelum_core::workflow::Step;
use caelum_plugin_host::{Change, Plugin, Snapshot};
use tokio::sync::watch;

use crate::engine::{Engine, plugins_of};
use crate::request::{PluginList, RefusedPlugin};

impl Engine {
    /// Waits until every plugin that lies there has been loaded or refused, as long as a call may wait for that, and
    /// returns all of them. Right after a start some may still be on their way.
    pub async fn plugins_loaded(&self) -> PluginList {
        self.0.plugins.settled().await;
        self.plugins()
    }

    /// Returns a listener that is told of each change of what is served.
    pub fn watch_plugins(&self) -> watch::Receiver<Change> {
        self.0.plugins.changes()
    }

    /// Waits until the plugins that these steps name are there, or nothing is being loaded any more, as long as a call
    /// may wait for that.
    pub(crate) async fn plugins_there(&self, steps: &[Step]) {
        let names = plugins_of(steps);
        let all = |snapshot: &Snapshot| {
            names.iter().all(|name| snapshot.plugins.contains_key(name.as_str()))
        };
        let deadline = self.0.plugins.limits().load_deadline;
        self.0.plugins.until(all, deadline).await;
    }
}

/// Says that a plugin that serves is kept out for now because it failed too often.
pub(crate) fn kept_out(plugin: &Arc<Plugin>) -> Option<RefusedPlugin> {
    let quarantine = plugin.quarantine()?;
    Some(RefusedPlugin {
        source: plugin.source().to_string(),
        stage: "quarantine".to_owned(),
        reason: format!(
            "{plugin} ran out of time or memory or trapped too often; it is kept out for another {} s",
            quarantine.remaining.as_secs() + 1
        ),
        hint: Some(
            "see the log for its failures; replace it by a mended version, or let it go with `caelum-workflow plugin \
             quarantine --release`"
                .to_owned(),
        ),
        digest: Some(plugin.digest().clone()),
    })
}
