//! The host as every test here opens it: what is asked of it is asked on a thread that serves another client, too, and
//! that client must not notice. Dropping the last handle judges what it saw.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use caelum_core::evidence::{Evidence, Verdict};
use caelum_core::pattern::{Assessment, Plan};
use caelum_core::plugin::Phase;
use caelum_core::tree::Tree;
use caelum_plugin_host::{
    BundledPlugin, CallControl, Called, Options, Plugin, Plugins, PluginsError,
};
use serde_json::Value;

use crate::bystander::Bystander;

/// A host, and another client of it. Cheap to clone.
///
/// Has every method of [`Plugins`]; those that run a guest or open the host are run where the other client is answered.
#[derive(Clone)]
pub(crate) struct Watched {
    // Before the bystander: nothing of the host is left when the answers are judged.
    plugins: Plugins,
    bystander: Arc<Bystander>,
}

impl Deref for Watched {
    type Target = Plugins;

    fn deref(&self) -> &Plugins {
        &self.plugins
    }
}

impl Watched {
    /// [`Plugins::open`].
    pub(crate) async fn open(
        options: Options,
        bundled: Vec<BundledPlugin>,
    ) -> Result<Self, PluginsError> {
        let listed = Arc::new(OnceLock::<Plugins>::new());
        let bystander = {
            let listed = Arc::clone(&listed);
            Bystander::start(move || {
                if let Some(plugins) = listed.get() {
                    list(plugins);
                }
            })
        };
        let plugins = bystander.serve(Plugins::open(options, bundled)).await?;
        listed.set(plugins.clone()).ok();
        Ok(Watched { plugins, bystander: Arc::new(bystander) })
    }

    /// [`Plugins::judge`].
    pub(crate) async fn judge(
        &self,
        plugin: &Arc<Plugin>,
        evidence: &Evidence,
        phase: Option<Phase>,
        tree: Arc<dyn Tree>,
        parameters: &Value,
        control: CallControl,
    ) -> Called<Verdict> {
        let (plugins, plugin) = (self.plugins.clone(), Arc::clone(plugin));
        let (evidence, parameters) = (evidence.clone(), parameters.clone());
        let call = async move {
            plugins.judge(&plugin, &evidence, phase, tree, &parameters, control).await
        };
        self.bystander.serve(call).await
    }

    /// [`Plugins::validate`].
    pub(crate) async fn validate(
        &self,
        plugin: &Arc<Plugin>,
        tree: Arc<dyn Tree>,
        parameters: &Value,
        context: &Value,
        control: CallControl,
    ) -> Called<Assessment> {
        let (plugins, plugin) = (self.plugins.clone(), Arc::clone(plugin));
        let (parameters, context) = (parameters.clone(), context.clone());
        let call =
            async move { plugins.validate(&plugin, tree, &parameters, &context, control).await };
        self.bystander.serve(call).await
    }

    /// [`Plugins::plan`].
    pub(crate) async fn plan(
        &self,
        plugin: &Arc<Plugin>,
        tree: Arc<dyn Tree>,
        parameters: &Value,
        context: &Value,
        control: CallControl,
    ) -> Called<Plan> {
        let (plugins, plugin) = (self.plugins.clone(), Arc::clone(plugin));
        let (parameters, context) = (parameters.clone(), context.clone());
        let call = async move { plugins.plan(&plugin, tree, &parameters, &context, control).await };
        self.bystander.serve(call).await
    }
}

/// What the other client asks for: everything that is served and everything that was refused, as text.
fn list(plugins: &Plugins) {
    let snapshot = plugins.snapshot();
    let served = snapshot.plugins.values().map(ToString::to_string);
    let refused = snapshot.refused.iter().map(ToString::to_string);
    let listing: String = served.chain(refused).collect();
    std::hint::black_box((listing, plugins.changes().borrow().generation));
}
