//! What all plugins of a process share: the engine, the linker, the limits, the policy, the places at the table. Makes
//! a plugin of a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use caelum_core::id::Digest;
use caelum_core::plugin::PluginKind;
use tokio::sync::Semaphore;
use tracing::{debug, warn};
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::{pattern, validator};
use crate::cache::{About, Cache};
use crate::call::describe::describe;
use crate::compile::{Artifact, CompileError, Compiler, Compilers};
use crate::limits::Limits;
use crate::loader::{self, Captured, Form, HeaderError, LoadError, Manifest, Source};
use crate::parameters::Schema;
use crate::plugin::{Body, Plugin};
use crate::quarantine::StrikeBook;
use crate::runtime::{DESCRIBES_MAX, Runtime, RuntimeError, TrustedArtifact, chain};
use crate::state::CallState;
use crate::target::Policy;
use crate::text;
use crate::trust::Trusted;
use crate::wasi;

/// What the engine says when a component declares more than a slot of the pool has. The error has no public type.
const POOL: &str = "does not fit in pooling allocator requirements";

/// What all plugins share.
pub(crate) struct Host {
    pub(crate) runtime: Runtime,
    pub(crate) limits: Arc<Limits>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) linker: Linker<CallState>,
    pub(crate) cache: Option<Cache>,
    pub(crate) compilers: Compilers,
    pub(crate) strikes: StrikeBook,
    /// The operator's word as it is now; the keeper replaces it.
    pub(crate) trusted: ArcSwap<Trusted>,
    /// Places for calls of all plugins together.
    pub(crate) places: Arc<Semaphore>,
    /// Places for plugins that are asked who they are: apart, so that a busy host still loads.
    pub(crate) describes: Arc<Semaphore>,
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
        compiler: Compiler,
    ) -> Result<Self, RuntimeError> {
        let linker = linker(&runtime).map_err(|error| RuntimeError::Engine(chain(&error)))?;
        let limits = Arc::new(limits);
        let places = usize::try_from(limits.calls_max).unwrap_or(usize::MAX);
        Ok(Host {
            runtime,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            describes: Arc::new(Semaphore::new(DESCRIBES_MAX as usize)),
            compilers: Compilers::new(compiler, Arc::clone(&limits)),
            limits,
            strikes: StrikeBook::default(),
            trusted: ArcSwap::from_pointee(Trusted::default()),
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
        let known = {
            let (host, digest) = (Arc::clone(self), digest.clone());
            self.blocking(move || {
                Ok(host.cache.as_ref().and_then(|cache| cache.about(&host.runtime, &digest)))
            })
            .await?
        };
        if let Some(about) = known {
            debug!(plugin = %about.description.name, digest = digest.short(), "known plugin");
            let bytes = self.keep_original(&source, &digest, bytes).await;
            return self.plugin(about, digest, source, bytes, None);
        }
        let component = self.component(&bytes).await?;
        let (manifest, kind) = {
            let (bytes, component) = (bytes.clone(), component.clone());
            self.blocking(move || examine(&bytes, &component)).await?
        };
        let (code, essence) = self.compiled(component).await?;
        let body = self.link(kind, &code)?;
        let description = describe(self, &body, &source, &digest).await?;
        if let Some(manifest) = manifest {
            manifest.agrees(description.name.as_str(), &description.version)?;
        }
        let about = About { kind, description, essence };
        if self.cache.is_some() {
            let (host, about, digest) = (Arc::clone(self), about.clone(), digest.clone());
            self.blocking(move || {
                if let Some(cache) = &host.cache {
                    cache.keep_about(&host.runtime, &digest, &about);
                }
                Ok(())
            })
            .await?;
        }
        let bytes = self.keep_original(&source, &digest, bytes).await;
        self.plugin(about, digest, source, bytes, Some(body))
    }

    /// Loads a plugin that was served once, by what it hashes to: from what the cache has kept of it.
    pub(crate) async fn load_kept(self: &Arc<Self>, digest: &Digest) -> Option<Plugin> {
        let (host, wanted) = (Arc::clone(self), digest.clone());
        let kept = self.blocking(move || Ok(host.cache.as_ref().and_then(|c| c.original(&wanted))));
        let (bytes, was_bundled) = kept.await.ok()??;
        let source = Source::Kept { was_bundled };
        self.load(source, Captured { bytes, digest: digest.clone() })
            .await
            .inspect_err(|error| {
                warn!(digest = digest.short(), %error, "a plugin that was served once cannot be loaded again");
            })
            .ok()
    }

    /// Puts the plugin itself into the cache. Returns what has to be held in memory: nothing, when it is there.
    async fn keep_original(
        self: &Arc<Self>,
        source: &Source,
        digest: &Digest,
        bytes: Bytes,
    ) -> Option<Bytes> {
        let is_bundled = match source {
            Source::Bundled { .. } => true,
            Source::File { .. } => false,
            Source::Kept { .. } => return None,
        };
        let (host, digest) = (Arc::clone(self), digest.clone());
        let keep = bytes.clone();
        let kept = self.blocking(move || {
            let cache = host.cache.as_ref();
            Ok(cache.is_some_and(|cache| cache.keep_original(&digest, is_bundled, &keep)))
        });
        let is_kept = kept.await.unwrap_or(false);
        // What is part of the program is in memory anyway.
        (is_bundled || !is_kept).then_some(bytes)
    }

    /// Returns the component that the bytes are, or that they become.
    async fn component(self: &Arc<Self>, bytes: &Bytes) -> Result<Bytes, LoadError> {
        let form = {
            let bytes = bytes.clone();
            self.blocking(move || Ok(loader::form(&bytes)?)).await?
        };
        match form {
            Form::Component => Ok(bytes.clone()),
            Form::TypedModule => {
                let turn = self.compilers.turn().await?;
                self.compilers.encode(&self.runtime, bytes.clone(), &turn).await.map_err(|error| {
                    match error {
                        CompileError::Refused { message } => HeaderError::Encode { message }.into(),
                        CompileError::Panicked { .. } => {
                            let message = "the encoder broke down".to_owned();
                            HeaderError::Encode { message }.into()
                        }
                        other => LoadError::Compile(other),
                    }
                })
            }
        }
    }

    /// Returns the native code of a component, and what of the component it depends on: from the cache, or made and
    /// kept there. It is made once, however many ask for it.
    async fn compiled(
        self: &Arc<Self>,
        component: Bytes,
    ) -> Result<(Component, Digest), LoadError> {
        let essence = self.blocking(move || Ok(Captured::new(loader::essence(component)))).await?;
        let Captured { bytes: component, digest: essence } = essence;
        if let Some(code) = self.cached(&essence).await? {
            return Ok((code, essence));
        }
        let making = self.compilers.making(&essence).await?;
        // Somebody may have made it while we waited.
        if let Some(code) = self.cached(&essence).await? {
            return Ok((code, essence));
        }
        let turn = self.compilers.turn().await?;
        let begun = Instant::now();
        let made = self.compilers.compile(&self.runtime, component, &turn).await?;
        drop(turn);
        let duration_ms = begun.elapsed().as_millis() as u64;
        debug!(essence = essence.short(), duration_ms, "compiled a plugin");
        let (host, key) = (Arc::clone(self), essence.clone());
        let code = self.blocking(move || host.adopt(made, &key)).await?;
        drop(making);
        Ok((code, essence))
    }

    async fn cached(self: &Arc<Self>, essence: &Digest) -> Result<Option<Component>, LoadError> {
        if self.cache.is_none() {
            return Ok(None);
        }
        let (host, essence) = (Arc::clone(self), essence.clone());
        self.blocking(move || {
            Ok(host.cache.as_ref().and_then(|cache| cache.code(&host.runtime, &essence)))
        })
        .await
    }

    /// Puts what the compiler has made into the cache and loads it from there; where there is no cache, as it is.
    /// Blocks.
    fn adopt(&self, mut made: Artifact, essence: &Digest) -> Result<Component, LoadError> {
        let unusable = |message: String| CompileError::Unusable { message: text::line(&message) };
        if let Some(cache) = &self.cache {
            let code = made.bytes().map_err(|error| unusable(error.to_string()))?;
            cache.keep_code(&self.runtime, essence, &code);
            if let Some(component) = cache.code(&self.runtime, essence) {
                return Ok(component);
            }
            // The disk is full, or somebody empties the cache.
        }
        let sealed = made.sealed().map_err(|error| unusable(error.to_string()))?;
        self.runtime.load_compiled(&TrustedArtifact(&sealed)).map_err(|error| {
            let told = chain(&error);
            if told.contains(POOL) {
                let what = text::line(&error.root_cause().to_string());
                return LoadError::Instantiate {
                    message: format!("takes more than it may: {what}"),
                };
            }
            unusable(told).into()
        })
    }

    /// Loads the code of a plugin that was known from the cache, at its first call.
    pub(crate) async fn revive(
        self: &Arc<Self>,
        kind: PluginKind,
        digest: &Digest,
        essence: &Digest,
        bytes: Option<Bytes>,
    ) -> Result<Body, LoadError> {
        if let Some(code) = self.cached(essence).await? {
            return self.link(kind, &code);
        }
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => {
                let (host, digest) = (Arc::clone(self), digest.clone());
                let kept = self.blocking(move || {
                    Ok(host.cache.as_ref().and_then(|cache| cache.original(&digest)))
                });
                let (bytes, _) = kept.await?.ok_or_else(|| CompileError::Unusable {
                    message: "the cache has lost the plugin".to_owned(),
                })?;
                bytes
            }
        };
        let component = self.component(&bytes).await?;
        let (code, _) = self.compiled(component).await?;
        self.link(kind, &code)
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
        bytes: Option<Bytes>,
        body: Option<Body>,
    ) -> Result<Plugin, LoadError> {
        let schema = Schema::compile(&about.description.parameters_schema)
            .map_err(|problem| LoadError::Description { breaches: vec![text::line(&problem)] })?;
        let version = semver::Version::parse(&about.description.version).map_err(|error| {
            LoadError::Description { breaches: vec![format!("`version`: {error}")] }
        })?;
        let places = usize::try_from(self.limits.calls_per_plugin_max).unwrap_or(usize::MAX);
        let strikes = self.strikes.of(&digest);
        Ok(Plugin::new(about, version, digest, source, schema, places, strikes, bytes, body))
    }
}

/// The stages between header and compile. Blocks.
fn examine(bytes: &[u8], component: &[u8]) -> Result<(Option<Manifest>, PluginKind), LoadError> {
    let manifest = loader::manifest(bytes)?;
    let types = loader::validate(component)?;
    let kind = loader::world(component, &types)?;
    Ok((manifest, kind))
}

/// Offers what plugins may import: the contract's interfaces and inert WASI. Nothing of `wasi:http`.
fn linker(runtime: &Runtime) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(runtime.engine());
    wasi::add_to_linker(&mut linker)?;
    pattern::ImprovementPattern::add_to_linker::<CallState, HasSelf<CallState>>(
        &mut linker,
        |state| state,
    )?;
    Ok(linker)
}
