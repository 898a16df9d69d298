//! The bare engine: the same component, called as the documentation of wasmtime does it. Nothing is checked, limited,
//! interrupted or counted, the guest runs on the caller's thread, and the arguments are there already. Like ours, it joins
//! the component with the host once, makes a fresh instance for each call, and drops it.

use std::hint::black_box;
use std::path::Path;

use caelum_core::evidence::Evidence;
use caelum_core::task::Output;
use caelum_plugin_host::Allocator;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use bindings::caelum::plugin::{control, log, target, types};
use bindings::exports::caelum::plugin::validator;
use bindings::{StepValidator, StepValidatorPre};

mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "step-validator" });
}

/// The bare host of a call: what it is told it drops, what it is asked for is not there.
#[derive(Default)]
pub(crate) struct Nothing {
    /// Made when a guest first asks for it, as ours.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
}

impl types::Host for Nothing {}

impl log::Host for Nothing {
    fn log(&mut self, _: log::Level, _: String, _: Vec<(String, String)>) {}
}

impl control::Host for Nothing {
    fn is_cancelled(&mut self) -> bool {
        false
    }

    fn progress(&mut self, _: u32, _: Option<u32>, _: String) {}
}

impl target::Host for Nothing {
    fn entries(&mut self, _: String) -> Result<Vec<target::Entry>, target::ErrorCode> {
        Err(target::ErrorCode::NotFound)
    }

    fn glob(&mut self, _: String, _: u32) -> Result<Vec<target::Entry>, target::ErrorCode> {
        Ok(vec![])
    }

    fn read(&mut self, _: String, _: u64, _: u32) -> Result<Vec<u8>, target::ErrorCode> {
        Err(target::ErrorCode::NotFound)
    }

    fn read_text(&mut self, _: String) -> Result<String, target::ErrorCode> {
        Err(target::ErrorCode::NotFound)
    }
}

impl WasiView for Nothing {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| WasiCtx::builder().build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// What an instance may take besides its memories, as ours.
const INSTANCE_BYTES: usize = 64 * 1024 * 1024;

/// What a slot of the pool keeps, as ours.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Returns an engine as it is when nothing is said but where memory comes from.
pub(crate) fn engine(allocator: Allocator) -> Engine {
    let mut config = Config::new();
    if allocator == Allocator::Pooling {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(16)
            .total_core_instances(1_000)
            .total_memories(64)
            .total_tables(64)
            .max_core_instance_size(INSTANCE_BYTES)
            .max_component_instance_size(INSTANCE_BYTES)
            .total_stacks(0);
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.pagemap_scan(Enabled::Yes)
                .linear_memory_keep_resident(KEPT_BYTES)
                .table_keep_resident(KEPT_BYTES);
        }
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config).expect("a plain engine")
}

/// Loads what the same engine has compiled.
#[expect(unsafe_code, reason = "the engine's way to load its own compiled code")]
pub(crate) fn load_compiled(engine: &Engine, path: &Path) -> Component {
    // SAFETY: the bench has written the file a moment ago, with this engine's own compiler, into a private folder.
    unsafe { Component::deserialize_file(engine, path) }.expect("its own code")
}

/// A validator, joined with the bare host.
pub(crate) struct Bare {
    engine: Engine,
    exports: StepValidatorPre<Nothing>,
    evidence: validator::Evidence,
    parameters: String,
}

impl Bare {
    pub(crate) fn new(component: &Component, evidence: &Evidence) -> Self {
        let engine = component.engine().clone();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("offers WASI");
        StepValidator::add_to_linker::<Nothing, HasSelf<Nothing>>(&mut linker, |state| state)
            .expect("offers the contract");
        let instance = linker.instantiate_pre(component).expect("everything is there");
        let exports = StepValidatorPre::new(instance).expect("it is a validator");
        Bare { engine, exports, evidence: given(evidence), parameters: "{}".to_owned() }
    }

    /// One call on a fresh instance, from nothing to nothing.
    pub(crate) fn check(&self) {
        let mut store = Store::new(&self.engine, Nothing::default());
        let instance = self.exports.instantiate(&mut store).expect("instantiates");
        let verdict = instance
            .caelum_plugin_validator()
            .call_judge(&mut store, &self.evidence, &self.parameters)
            .expect("returns");
        black_box(verdict.expect("a verdict"));
    }
}

fn given(evidence: &Evidence) -> validator::Evidence {
    let output = |output: &Output| validator::Output {
        text: output.text.clone(),
        total_bytes: output.total_bytes,
        truncated: output.truncated,
    };
    let outcomes = evidence.outcomes.iter().map(|(machine, outcome)| validator::Outcome {
        machine: machine.to_string(),
        exit_code: outcome.exit_code,
        signal: None,
        timed_out: false,
        duration_ms: 1_000,
        stdout: output(&outcome.stdout),
        stderr: output(&outcome.stderr),
        outputs: "{}".to_owned(),
    });
    validator::Evidence {
        execution_id: evidence.execution_id.to_string(),
        step_id: evidence.step_id.to_string(),
        attempt: evidence.attempt,
        started_at: evidence.started_at.to_string(),
        performer: None,
        outcomes: outcomes.collect(),
        probes: vec![],
        reviews: vec![],
        files: vec![],
        subject_digest: evidence.subject_digest.to_string(),
        extensions: vec![],
    }
}
