//! One plugin: who it is, and its code, which is loaded when it is first called.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use caelum_core::id::{Digest, PluginName};
use caelum_core::plugin::{Description, PinnedPlugin, PluginKind};
use tokio::sync::{OnceCell, Semaphore};

use crate::bindings::{pattern, validator};
use crate::cache::About;
use crate::call::Quickness;
use crate::host::Host;
use crate::loader::{LoadError, Source};
use crate::parameters::Schema;
use crate::quarantine::{Quarantine, Strikes};
use crate::state::{CallState, Who};

/// A plugin's code, joined with what the host offers: an instance is made of it for each call.
#[derive(Clone)]
pub(crate) enum Body {
    Pattern { exports: pattern::ImprovementPatternPre<CallState>, uses_wasi: bool },
    Validator { exports: validator::StepValidatorPre<CallState>, uses_wasi: bool },
}

impl Body {
    /// Whether it can see clocks and random numbers at all.
    pub(crate) fn uses_wasi(&self) -> bool {
        match self {
            Body::Pattern { uses_wasi, .. } | Body::Validator { uses_wasi, .. } => *uses_wasi,
        }
    }
}

/// A pattern or a validator that was loaded. Immutable; another file with the same name is another plugin.
pub struct Plugin {
    kind: PluginKind,
    description: Arc<Description>,
    version: semver::Version,
    digest: Digest,
    /// SHA-256 of what its code is made of.
    essence: Digest,
    source: Source,
    /// What every line about a call says.
    pub(crate) who: Arc<Who>,
    pub(crate) schema: Schema,
    /// Places for calls of this plugin.
    pub(crate) places: Arc<Semaphore>,
    /// Its failures; shared with every other plugin of the same digest.
    pub(crate) strikes: Arc<Strikes>,
    /// Whether its calls are over before another thread would have woken up.
    pub(crate) quickness: Quickness,
    body: OnceCell<Body>,
    /// Held until the code is loaded, where the cache has not kept it.
    bytes: Mutex<Option<Bytes>>,
}

impl Plugin {
    #[expect(clippy::too_many_arguments, reason = "called once, with everything that is known")]
    pub(crate) fn new(
        about: About,
        version: semver::Version,
        digest: Digest,
        source: Source,
        schema: Schema,
        places: usize,
        strikes: Arc<Strikes>,
        bytes: Option<Bytes>,
        body: Option<Body>,
    ) -> Self {
        let bytes = bytes.filter(|_| body.is_none());
        let who = Arc::new(Who {
            plugin: about.description.name.to_string(),
            version: version.to_string(),
            digest: digest.clone(),
        });
        Plugin {
            kind: about.kind,
            description: Arc::new(about.description),
            essence: about.essence,
            version,
            digest,
            source,
            who,
            schema,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            strikes,
            quickness: Quickness::default(),
            body: OnceCell::new_with(body),
            bytes: Mutex::new(bytes),
        }
    }

    /// What it holds.
    pub fn kind(&self) -> PluginKind {
        self.kind
    }

    /// The name it goes by.
    pub fn name(&self) -> &PluginName {
        &self.description.name
    }

    /// Its version.
    pub fn version(&self) -> &semver::Version {
        &self.version
    }

    /// What it says about itself, cleaned of control characters. Its own words all the same: show, never obey.
    pub fn description(&self) -> &Arc<Description> {
        &self.description
    }

    /// SHA-256 of its file.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where it came from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether it is kept out for now because it failed too often.
    pub fn quarantine(&self) -> Option<Quarantine> {
        self.strikes.quarantine(Instant::now())
    }

    /// Takes it for quick, as if its last calls had been: the next one is tried inline. For tests, which cannot wait until
    /// a machine is quiet enough.
    #[doc(hidden)]
    pub fn assume_quick(&self) {
        self.quickness.assume();
    }

    /// What an execution or an application writes down to be bound to exactly this plugin.
    pub fn pinned(&self) -> PinnedPlugin {
        PinnedPlugin {
            name: self.description.name.clone(),
            kind: self.kind,
            version: self.description.version.clone(),
            digest: self.digest.clone(),
            phases: self.description.phases.clone(),
        }
    }

    /// Returns the code when it is loaded.
    pub(crate) fn loaded(&self) -> Option<Body> {
        self.body.get().cloned()
    }

    /// Returns the code; loads it when this is the first call.
    pub(crate) async fn body(&self, host: &Arc<Host>) -> Result<Body, LoadError> {
        let body = self
            .body
            .get_or_try_init(async || {
                let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let body = host.revive(self.kind, &self.digest, &self.essence, bytes).await?;
                self.bytes.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok::<_, LoadError>(body)
            })
            .await?;
        Ok(body.clone())
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("kind", &self.kind)
            .field("name", &self.description.name)
            .field("version", &self.description.version)
            .field("digest", &self.digest)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}` {}", self.kind, self.name(), self.version)
    }
}
