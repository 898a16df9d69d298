//! What all plugins of a process share: the engine, the linker, the limits, the policy, the places at the table. Makes
//! a plugin of a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use caelum_core::id::Digest;
use caelum_core::plugin::PluginKind;
use tokio::sync::Semaphore;
use tracing::debug;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::{pattern, validator};
use crate::cache::{About, Cache};
use crate::call::describe::describe;
use crate::compile::{CompileError, compile, contained};
use crate::limits::Limits;
use crate::loader::{self, Captured, LoadError, Manifest, Source};
use crate::parameters::Schema;
use crate::plugin::{Body, Plugin};
use crate::runtime::{Runtime, RuntimeError, chain};
use crate::state::CallState;
use crate::target::Policy;
use crate::text;

/// What all plugins share.
pub(crate) struct Host {
    pub(crate) runtime: Runtime,
    pub(crate) limits: Arc<Limits>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) linker: Linker<CallState>,
    pub(crate) cache: Option<Cache>,
    /// Places for calls of all plugins together.
    pub(crate) places: Arc<Semaphore>,
    /// Calls that wait for a place or for their plugin.
    pub(crate) waiting: AtomicU64,
    calls: AtomicU64,
}

impl Host {
    pub(crate) fn new(
        runtime: Runtime,
        limits: Limits,
        policy: Policy,
        cache: Option<Cache>,
    ) -> Result<Self, RuntimeError> {
        let linker = linker(&runtime).map_err(|error| RuntimeError::Engine(chain(&error)))?;
        let places = usize::try_from(limits.calls_max).unwrap_or(usize::MAX);
        Ok(Host {
            runtime,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            limits: Arc::new(limits),
            policy: Arc::new(policy),
            linker,
            cache,
            waiting: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        })
    }

    /// Returns the number of the next call; unique in this process.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes a plugin of what was captured: from the cache where it is known, through all stages where it is new.
    pub(crate) async fn load(
        self: &Arc<Self>,
        source: Source,
        captured: Captured,
    ) -> Result<Plugin, LoadError> {
        let Captured { bytes, digest } = captured;
        if let Some(about) =
            self.cache.as_ref().and_then(|cache| cache.about(&self.runtime, &digest))
        {
            debug!(plugin = %about.description.name, digest = digest.short(), "known plugin");
            return self.plugin(about, digest, source, bytes, None);
        }
        let (component, manifest, kind) = {
            let (host, bytes, digest) = (Arc::clone(self), bytes.clone(), digest.clone());
            self.blocking(move || host.prepare(&bytes, &digest)).await?
        };
        let body = self.link(kind, &component)?;
        let description = describe(self, &body, &source, &digest).await?;
        if let Some(manifest) = manifest {
            manifest.agrees(description.name.as_str(), &description.version)?;
        }
        let about = About { kind, description };
        if let Some(cache) = &self.cache {
            cache.keep_about(&self.runtime, &digest, &about);
        }
        self.plugin(about, digest, source, bytes, Some(body))
    }

    /// The stages from header to compile. Blocks.
    fn prepare(
        &self,
        bytes: &Bytes,
        digest: &Digest,
    ) -> Result<(Component, Option<Manifest>, PluginKind), LoadError> {
        let component = loader::component(bytes)?;
        let manifest = loader::manifest(bytes)?;
        let types = loader::validate(&component)?;
        let kind = loader::world(&component, &types)?;
        drop(types);
        Ok((self.compiled(&component, digest)?, manifest, kind))
    }

    /// Returns the native code of a component: from the cache, or made and kept there. Blocks.
    fn compiled(&self, component: &[u8], digest: &Digest) -> Result<Component, CompileError> {
        let Some(cache) = &self.cache else {
            return contained(|| Component::from_binary(self.runtime.engine(), component));
        };
        if let Some(code) = cache.code(&self.runtime, digest) {
            return Ok(code);
        }
        let code = compile(&self.runtime, component)?;
        cache.keep_code(&self.runtime, digest, &code);
        match cache.code(&self.runtime, digest) {
            Some(component) => Ok(component),
            // The disk is full, or somebody empties the cache.
            None => contained(|| Component::from_binary(self.runtime.engine(), component)),
        }
    }

    /// Loads a plugin that was known from the cache, at its first call.
    pub(crate) async fn revive(
        self: &Arc<Self>,
        kind: PluginKind,
        digest: &Digest,
        bytes: Bytes,
    ) -> Result<Body, LoadError> {
        let (host, digest) = (Arc::clone(self), digest.clone());
        let component = self
            .blocking(move || {
                let component = loader::component(&bytes)?;
                Ok(host.compiled(&component, &digest)?)
            })
            .await?;
        self.link(kind, &component)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        match self.runtime.threads().spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => {
                Err(CompileError::Panicked { message: "a stage of loading broke down".to_owned() }
                    .into())
            }
            Err(_) => Err(CompileError::Stopped.into()),
        }
    }

    fn link(&self, kind: PluginKind, component: &Component) -> Result<Body, LoadError> {
        let refused =
            |error: wasmtime::Error| LoadError::Link { message: text::line(&chain(&error)) };
        let uses_wasi = component
            .component_type()
            .imports(self.runtime.engine())
            .any(|(name, _)| name.starts_with("wasi:"));
        let instance = self.linker.instantiate_pre(component).map_err(refused)?;
        Ok(match kind {
            PluginKind::Pattern => Body::Pattern {
                exports: pattern::ImprovementPatternPre::new(instance).map_err(refused)?,
                uses_wasi,
            },
            PluginKind::Validator => Body::Validator {
                exports: validator::StepValidatorPre::new(instance).map_err(refused)?,
                uses_wasi,
            },
        })
    }

    fn plugin(
        &self,
        about: About,
        digest: Digest,
        source: Source,
        bytes: Bytes,
        body: Option<Body>,
    ) -> Result<Plugin, LoadError> {
        let schema = Schema::compile(&about.description.parameters_schema)
            .map_err(|problem| LoadError::Description { breaches: vec![text::line(&problem)] })?;
        let version = semver::Version::parse(&about.description.version).map_err(|error| {
            LoadError::Description { breaches: vec![format!("`version`: {error}")] }
        })?;
        let places = usize::try_from(self.limits.calls_per_plugin_max).unwrap_or(usize::MAX);
        Ok(Plugin::new(about, version, digest, source, schema, places, bytes, body))
    }
}

/// Offers what plugins may import: the contract's interfaces and inert WASI. Nothing of `wasi:http`.
fn linker(runtime: &Runtime) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(runtime.engine());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    pattern::ImprovementPattern::add_to_linker::<CallState, HasSelf<CallState>>(
        &mut linker,
        |state| state,
    )?;
    Ok(linker)
}
