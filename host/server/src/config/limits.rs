//! The numbers that bound something: each with its unit, its range and the option it fills. Defaults are the parts' own.

use std::time::Duration;

use caelum_engine::EngineOptions;

use super::sources::Reader;
use crate::audit;
use crate::listen;
use crate::mcp::toolset;

/// Every limit, with what the operator changed.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Calls of tools.
    pub calls: toolset::Limits,
    /// The front door.
    pub front: listen::Limits,
    /// The audit log.
    pub audit: audit::Limits,
    /// The engine's, as they were given.
    engine: Vec<(usize, u64)>,
}

/// Where a number goes.
#[derive(Clone, Copy)]
enum Place {
    Calls(fn(&mut toolset::Limits) -> Slot<'_>),
    Front(fn(&mut listen::Limits) -> Slot<'_>),
    Audit(fn(&mut audit::Limits) -> Slot<'_>),
    Engine(fn(&mut EngineOptions) -> Slot<'_>),
}

/// The option behind a number.
enum Slot<'a> {
    Count(&'a mut usize),
    Small(&'a mut u32),
    Large(&'a mut u64),
    Seconds(&'a mut Duration),
    Milliseconds(&'a mut Duration),
    /// A number that two parts share.
    Both(&'a mut u64, &'a mut usize),
    BothLarge(&'a mut u64, &'a mut u64),
}

impl Slot<'_> {
    fn get(&self) -> u64 {
        match self {
            Slot::Count(count) => **count as u64,
            Slot::Small(number) => u64::from(**number),
            Slot::Large(number) | Slot::Both(number, _) | Slot::BothLarge(number, _) => **number,
            Slot::Seconds(span) => span.as_secs(),
            Slot::Milliseconds(span) => u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn set(self, value: u64) {
        let count = usize::try_from(value).unwrap_or(usize::MAX);
        match self {
            Slot::Count(place) => *place = count,
            Slot::Small(place) => *place = u32::try_from(value).unwrap_or(u32::MAX),
            Slot::Large(place) => *place = value,
            Slot::Seconds(place) => *place = Duration::from_secs(value),
            Slot::Milliseconds(place) => *place = Duration::from_millis(value),
            Slot::Both(one, other) => {
                *one = value;
                *other = count;
            }
            Slot::BothLarge(one, other) => {
                *one = value;
                *other = value;
            }
        }
    }
}

/// One limit.
pub(super) struct Limit {
    pub(super) key: &'static str,
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) about: &'static str,
    place: Place,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const DAY_S: u64 = 24 * 3600;

/// The most that an operator may allow a plugin.
const PLUGIN: caelum_plugin_host::Limits = caelum_plugin_host::Limits::CEILING;

const fn limit(
    key: &'static str,
    (min, max): (u64, u64),
    about: &'static str,
    place: Place,
) -> Limit {
    Limit { key, min, max, about, place }
}

/// Every limit that an operator may change. Raising one costs memory, descriptors or patience, as its words say.
pub(super) const LIMITS: &[Limit] = &[
    limit(
        "calls_max",
        (1, 100_000),
        "Tool calls that run at once, over all clients.",
        Place::Calls(|limits| Slot::Count(&mut limits.calls_max)),
    ),
    limit(
        "calls_per_session_max",
        (1, 100_000),
        "Tool calls of one client that run at once.",
        Place::Calls(|limits| Slot::Count(&mut limits.calls_per_session_max)),
    ),
    limit(
        "call_deadline_s",
        (1, 3600),
        "Seconds that a tool call may take, unless its tool waits longer on purpose.",
        Place::Calls(|limits| Slot::Seconds(&mut limits.call_deadline)),
    ),
    limit(
        "requests_per_minute_session_max",
        (0, 100_000_000),
        "Requests of one connection in a minute; more are refused with the time to wait. 0 sets no limit.",
        Place::Calls(|limits| Slot::Small(&mut limits.rates.session_per_minute_max)),
    ),
    limit(
        "requests_per_minute_caller_max",
        (0, 100_000_000),
        "Requests of one caller (the server's own user, or one token) in a minute, over all its connections; 0 sets no limit.",
        Place::Calls(|limits| Slot::Small(&mut limits.rates.caller_per_minute_max)),
    ),
    limit(
        "audit_file_max_bytes",
        (64 * KIB, 16 * 1024 * MIB),
        "Size at which a file of the audit log is put aside and a new one begun.",
        Place::Audit(|limits| Slot::Large(&mut limits.file_bytes_max)),
    ),
    limit(
        "audit_files_max",
        (0, 100_000),
        "Files of the audit log that are kept, the newest; 0 keeps all.",
        Place::Audit(|limits| Slot::Count(&mut limits.files_max)),
    ),
    limit(
        "connections_max",
        (1, 100_000),
        "Connections that are open at once; each needs a file descriptor.",
        Place::Front(|limits| Slot::Count(&mut limits.connections_max)),
    ),
    limit(
        "sessions_max",
        (1, 100_000),
        "MCP sessions over HTTP that are open at once, about 60 KiB each.",
        Place::Front(|limits| Slot::Count(&mut limits.sessions_max)),
    ),
    limit(
        "session_idle_s",
        (1, 7 * DAY_S),
        "Seconds that an MCP session over HTTP may rest.",
        Place::Front(|limits| Slot::Seconds(&mut limits.session_idle_timeout)),
    ),
    limit(
        "request_body_max_bytes",
        (KIB, 256 * MIB),
        "Bytes of the body of an HTTP request.",
        Place::Front(|limits| Slot::Count(&mut limits.request_body_max_bytes)),
    ),
    limit(
        "grace_s",
        (0, 3600),
        "Seconds that running calls may go on once the server stops.",
        Place::Front(|limits| Slot::Seconds(&mut limits.grace)),
    ),
    limit(
        "executions_at_once_max",
        (1, 100_000),
        "Executions with something under way at once; more wait in order.",
        Place::Engine(|options| Slot::Count(&mut options.concurrent_executions_max)),
    ),
    limit(
        "executions_open_max",
        (1, 1_000_000),
        "Executions that have not ended; more are refused.",
        Place::Engine(|options| Slot::Count(&mut options.open_executions_max)),
    ),
    limit(
        "steps_max",
        (1, 10_000),
        "Steps of one workflow.",
        Place::Engine(|options| Slot::Count(&mut options.rules.steps_max)),
    ),
    limit(
        "workflow_depth_max",
        (0, 64),
        "Executions that may start each other as children, one below the other; 0 allows no children.",
        Place::Engine(|options| Slot::Small(&mut options.workflow_depth_max)),
    ),
    limit(
        "run_timeout_s",
        (1, 7 * DAY_S),
        "Seconds that one run of a step on one machine may take, unless the step says otherwise.",
        Place::Engine(|options| Slot::Seconds(&mut options.default_timeout)),
    ),
    limit(
        "kill_grace_s",
        (0, 3600),
        "Seconds that a command may take to end after SIGTERM, before SIGKILL.",
        Place::Engine(|options| Slot::Seconds(&mut options.grace)),
    ),
    limit(
        "cancel_wait_s",
        (1, DAY_S),
        "Seconds that cancelled work may take to report before it counts as lost.",
        Place::Engine(|options| Slot::Seconds(&mut options.cancel_wait)),
    ),
    limit(
        "tasks_at_once_max",
        (1, 10_000),
        "Commands that run at once on this machine; each needs a process and five file descriptors.",
        Place::Engine(|options| Slot::Count(&mut options.machines.tasks_at_once_max)),
    ),
    limit(
        "probes_at_once_max",
        (1, 10_000),
        "Probes that run at once on this machine.",
        Place::Engine(|options| Slot::Count(&mut options.machines.probes_at_once_max)),
    ),
    limit(
        "http_body_bytes_max",
        (KIB, 256 * MIB),
        "Bytes that are read of the answer to the request of an http step.",
        Place::Engine(|options| Slot::Count(&mut options.machines.http_body_bytes_max)),
    ),
    limit(
        "tool_calls_at_once_max",
        (1, 1_000),
        "Calls that run at once on one tool server; more wait in order.",
        Place::Engine(|options| Slot::Count(&mut options.machines.tool_calls_at_once_max)),
    ),
    limit(
        "tool_connect_timeout_s",
        (1, 3600),
        "Seconds that a tool server may take to start and to say that it is ready.",
        Place::Engine(|options| Slot::Seconds(&mut options.machines.tool_connect_timeout)),
    ),
    limit(
        "output_head_bytes",
        (KIB, 16 * MIB),
        "Bytes kept of the beginning of each output of a command.",
        Place::Engine(|options| Slot::Count(&mut options.machines.output_head_bytes)),
    ),
    limit(
        "output_tail_bytes",
        (KIB, 16 * MIB),
        "Bytes kept of the end of each output of a command.",
        Place::Engine(|options| Slot::Count(&mut options.machines.output_tail_bytes)),
    ),
    limit(
        "plugin_call_ms",
        (1, 60_000),
        "Milliseconds that one call of a plugin may take.",
        Place::Engine(|options| Slot::Milliseconds(&mut options.plugins.limits.call_deadline)),
    ),
    limit(
        "plugin_memory_max_bytes",
        (MIB, 1024 * MIB),
        "Bytes of memory of one call of a plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.memory_bytes_max)),
    ),
    limit(
        "plugin_inline_memory_max_bytes",
        (1, PLUGIN.inline_memory_bytes_max),
        "Bytes of memory of one call of a quick plugin that runs on the thread of its caller; below 65536 none does.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.inline_memory_bytes_max)),
    ),
    limit(
        "plugin_calls_max",
        (1, 1_024),
        "Calls of plugins at the same time; the default is the number of processors.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.calls_max)),
    ),
    limit(
        "plugin_reads_max_bytes",
        (MIB, 320 * MIB),
        "Bytes of a component that one call of a plugin may read.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.target_bytes_max)),
    ),
    limit(
        "plugin_instantiate_ms",
        (1, PLUGIN.instantiate_deadline.as_millis() as u64),
        "Milliseconds that making an instance of a plugin may take.",
        Place::Engine(|options| {
            Slot::Milliseconds(&mut options.plugins.limits.instantiate_deadline)
        }),
    ),
    limit(
        "plugin_describe_ms",
        (1, PLUGIN.describe_deadline.as_millis() as u64),
        "Milliseconds that a plugin may take to say who it is.",
        Place::Engine(|options| Slot::Milliseconds(&mut options.plugins.limits.describe_deadline)),
    ),
    limit(
        "plugin_table_elements_max",
        (1, PLUGIN.table_elements_max),
        "Elements of all tables of one call of a plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.table_elements_max)),
    ),
    limit(
        "plugin_instances_max",
        (1, PLUGIN.instances_max),
        "Core instances in one plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.instances_max)),
    ),
    limit(
        "plugin_memories_max",
        (1, PLUGIN.memories_max),
        "Memories in one plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.memories_max)),
    ),
    limit(
        "plugin_tables_max",
        (1, PLUGIN.tables_max),
        "Tables in one plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.tables_max)),
    ),
    limit(
        "plugin_result_max_bytes",
        (1, PLUGIN.result_bytes_max),
        "Bytes that one answer of a plugin may hold.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.result_bytes_max)),
    ),
    limit(
        "plugin_findings_max",
        (1, PLUGIN.findings_max),
        "Findings, reasons or rules in one answer of a plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.findings_max)),
    ),
    limit(
        "plugin_target_calls_max",
        (1, PLUGIN.target_calls_max),
        "Reads of a component in one call of a plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.target_calls_max)),
    ),
    limit(
        "plugin_target_entries_max",
        (1, PLUGIN.target_entries_max),
        "Directory entries that one call of a plugin may look at.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.target_entries_max)),
    ),
    limit(
        "plugin_read_max_bytes",
        (1, PLUGIN.target_read_bytes_max),
        "Bytes that one read of a plugin gives.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.target_read_bytes_max)),
    ),
    limit(
        "plugin_log_lines_max",
        (1, PLUGIN.log_lines_max),
        "Log lines that are kept of one call of a plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.log_lines_max)),
    ),
    limit(
        "plugin_log_max_bytes",
        (1, PLUGIN.log_bytes_max),
        "Bytes of log lines that are kept of one call of a plugin.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.log_bytes_max)),
    ),
    limit(
        "plugin_output_max_bytes",
        (1, PLUGIN.output_bytes_max),
        "Bytes that are kept of what one call of a plugin prints.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.output_bytes_max)),
    ),
    limit(
        "plugin_handles_max",
        (1, PLUGIN.handles_max),
        "Handles that one call of a plugin may hold.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.handles_max)),
    ),
    limit(
        "plugin_random_max_bytes",
        (1, PLUGIN.random_bytes_max),
        "Random bytes that a plugin may ask for at once.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.random_bytes_max)),
    ),
    limit(
        "plugin_file_max_bytes",
        (1, PLUGIN.component_bytes_max),
        "Size of a plugin's file.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.component_bytes_max)),
    ),
    limit(
        "plugin_calls_per_plugin_max",
        (1, PLUGIN.calls_per_plugin_max),
        "Calls of one plugin at the same time.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.calls_per_plugin_max)),
    ),
    limit(
        "plugin_calls_waiting_max",
        (1, PLUGIN.calls_waiting_max),
        "Calls of plugins that may wait for their turn.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.calls_waiting_max)),
    ),
    limit(
        "plugin_wait_s",
        (1, PLUGIN.wait_deadline.as_secs()),
        "Seconds that a call of a plugin may wait for its turn.",
        Place::Engine(|options| Slot::Seconds(&mut options.plugins.limits.wait_deadline)),
    ),
    limit(
        "plugin_load_wait_s",
        (1, PLUGIN.load_deadline.as_secs()),
        "Seconds that a call may wait for a plugin that is still being loaded.",
        Place::Engine(|options| Slot::Seconds(&mut options.plugins.limits.load_deadline)),
    ),
    limit(
        "plugin_compile_memory_max_bytes",
        (1, PLUGIN.compile_memory_bytes_max),
        "Bytes of memory that compiling one plugin may take.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.compile_memory_bytes_max)),
    ),
    limit(
        "plugin_compile_cpu_s",
        (1, PLUGIN.compile_cpu.as_secs()),
        "Seconds of processor time that compiling one plugin may take.",
        Place::Engine(|options| Slot::Seconds(&mut options.plugins.limits.compile_cpu)),
    ),
    limit(
        "plugin_compile_s",
        (1, PLUGIN.compile_deadline.as_secs()),
        "Seconds by the clock that compiling one plugin may take, however busy the machine.",
        Place::Engine(|options| Slot::Seconds(&mut options.plugins.limits.compile_deadline)),
    ),
    limit(
        "plugin_compilers_max",
        (1, PLUGIN.compilers_max),
        "Plugins that are compiled at the same time.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.compilers_max)),
    ),
    limit(
        "plugin_strikes_max",
        (1, PLUGIN.strikes_max),
        "Failures (out of time, out of memory, traps) after which a plugin is kept out for a while.",
        Place::Engine(|options| Slot::Large(&mut options.plugins.limits.strikes_max)),
    ),
    limit(
        "plugin_strike_window_s",
        (1, PLUGIN.strike_window.as_secs()),
        "Seconds for which a failure of a plugin counts.",
        Place::Engine(|options| Slot::Seconds(&mut options.plugins.limits.strike_window)),
    ),
    limit(
        "plugin_quarantine_first_s",
        (1, PLUGIN.quarantine_first.as_secs()),
        "Seconds that a plugin is kept out at first; each further failure doubles them.",
        Place::Engine(|options| Slot::Seconds(&mut options.plugins.limits.quarantine_first)),
    ),
    limit(
        "plugin_quarantine_longest_s",
        (1, PLUGIN.quarantine_longest.as_secs()),
        "Seconds that a plugin is kept out at most.",
        Place::Engine(|options| Slot::Seconds(&mut options.plugins.limits.quarantine_longest)),
    ),
    limit(
        "plan_edits_max",
        (1, 10_000),
        "Edits in one plan of a pattern; more is not reviewable.",
        Place::Engine(|options| {
            Slot::Both(&mut options.plugins.limits.plan_edits_max, &mut options.plans.edits_max)
        }),
    ),
    limit(
        "plan_max_bytes",
        (KIB, 40 * MIB),
        "Bytes of new text in one plan of a pattern.",
        Place::Engine(|options| {
            Slot::BothLarge(
                &mut options.plugins.limits.plan_bytes_max,
                &mut options.plans.bytes_max,
            )
        }),
    ),
    limit(
        "retention_days",
        (0, 36_500),
        "Days that an execution is kept after its end, and plans and idempotency keys after they were made; 0 keeps them for ever.",
        Place::Engine(|options| Slot::Large(&mut options.retention.days)),
    ),
    limit(
        "retention_executions_max",
        (0, 1_000_000_000),
        "Executions that have ended and are kept, the newest of them; 0 keeps any number. A twentieth more may be there before the oldest go.",
        Place::Engine(|options| Slot::Large(&mut options.retention.executions_max)),
    ),
    limit(
        "wal_max_bytes",
        (4 * MIB, 16 * 1024 * MIB),
        "Size of the store's write-ahead log at which writing pauses for a checkpoint.",
        Place::Engine(|options| Slot::Large(&mut options.store.wal_bytes_max)),
    ),
];

/// Returns the environment variable of a limit.
pub(super) fn variable(key: &str) -> String {
    format!("CAELUM_WORKFLOW_LIMIT_{}", key.to_ascii_uppercase())
}

/// Returns the default of a limit, as its part has it.
pub(super) fn default_of(limit: &Limit) -> u64 {
    match limit.place {
        Place::Calls(slot) => slot(&mut toolset::Limits::default()).get(),
        Place::Front(slot) => slot(&mut listen::Limits::default()).get(),
        Place::Audit(slot) => slot(&mut audit::Limits::default()).get(),
        Place::Engine(slot) => {
            slot(&mut EngineOptions::new(Default::default(), Default::default())).get()
        }
    }
}

impl Limits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut limits = Limits::default();
        for (index, limit) in LIMITS.iter().enumerate() {
            let Some(value) = reader.limit(limit) else { continue };
            match limit.place {
                Place::Calls(slot) => slot(&mut limits.calls).set(value),
                Place::Front(slot) => slot(&mut limits.front).set(value),
                Place::Audit(slot) => slot(&mut limits.audit).set(value),
                Place::Engine(_) => limits.engine.push((index, value)),
            }
        }
        limits
    }

    /// Fills in what the operator changed of the engine's limits.
    pub(super) fn fill(&self, options: &mut EngineOptions) {
        for (index, value) in &self.engine {
            if let Place::Engine(slot) = LIMITS[*index].place {
                slot(options).set(*value);
            }
        }
    }
}
