//! Every number that bounds a plugin: its default, its unit, its ceiling and the reason. Each is read at exactly one
//! place that enforces it, named in its documentation.

use std::fmt;
use std::time::Duration;

use caelum_core::pattern::PlanLimits;

/// One binary mebibyte.
const MIB: u64 = 1024 * 1024;

/// What a plugin may use. The defaults are generous for honest plugins and small beside the machine.
///
/// The operator may raise a limit up to [`Limits::CEILING`] and lower it down to 1; [`Limits::checked`] says so for all
/// fields at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long one call may take once the instance stands (default 5 s, ceiling 60 s): parsing a large component
    /// takes milliseconds, a gate that thinks longer holds up its step. Enforced by `call.rs`.
    pub call_deadline: Duration,
    /// How long the creation of an instance may take (default 1 s, ceiling 60 s): measured 0.02 to 1.1 ms for four
    /// toolchains, and start code is the plugin's own. Enforced by `call.rs`.
    pub instantiate_deadline: Duration,
    /// How long `describe` may take (default 250 ms, ceiling 60 s): it returns constants. Enforced by `call.rs`.
    pub describe_deadline: Duration,
    /// Bytes of all memories of a call together (default 64 MiB, ceiling 1 GiB): five times what a Python plugin
    /// starts with. Enforced by `limiter.rs`.
    pub memory_bytes_max: u64,
    /// Bytes of all memories of a call together that runs on the thread of its caller (default 4 MiB, ceiling 64 MiB): a
    /// guest in Rust begins with 1.1 MiB, and touching this much takes a millisecond. A call that needs more is begun
    /// again on a thread of its own; with less than a page, 64 KiB, every call runs on one. Enforced by `limiter.rs`.
    pub inline_memory_bytes_max: u64,
    /// Elements of all tables of a call together (default 50,000, ceiling 500,000): the largest toolchain needs
    /// 7,696. Enforced by `limiter.rs`.
    pub table_elements_max: u64,
    /// Core instances in one component (default 100, ceiling 1,000): the largest toolchain needs 38. Enforced by
    /// `limiter.rs`.
    pub instances_max: u64,
    /// Memories in one component (default 8, ceiling 80): the largest toolchain needs 3. Enforced by `limiter.rs`.
    pub memories_max: u64,
    /// Tables in one component (default 16, ceiling 160): the largest toolchain needs 3. Enforced by `limiter.rs`.
    pub tables_max: u64,
    /// Bytes that one answer, or the arguments of one host call, may hold on the host's side (default 8 MiB, ceiling
    /// 64 MiB). Enforced by the engine, set in `call.rs`.
    pub result_bytes_max: u64,
    /// Edits in one plan (default 1,000, ceiling 10,000): more is not reviewable. Enforced by `call.rs`.
    pub plan_edits_max: u64,
    /// Bytes of new text in one plan (default 4 MiB, ceiling 40 MiB). Enforced by `call.rs`.
    pub plan_bytes_max: u64,
    /// Findings, reasons or rules in one answer (default 1,000, ceiling 10,000). Enforced by `convert.rs`.
    pub findings_max: u64,
    /// Calls of `target` functions in one call (default 10,000, ceiling 100,000). Enforced by `target.rs`.
    pub target_calls_max: u64,
    /// Bytes read through `target` in one call (default 32 MiB, ceiling 320 MiB). Enforced by `target.rs`.
    pub target_bytes_max: u64,
    /// Directory entries looked at through `target` in one call (default 100,000, ceiling 1,000,000). Enforced by
    /// `target.rs`.
    pub target_entries_max: u64,
    /// Bytes that one read gives (default 1 MiB, ceiling 10 MiB). Enforced by `target.rs`.
    pub target_read_bytes_max: u64,
    /// Log lines kept of one call (default 1,000, ceiling 10,000); later ones are counted and dropped. Enforced by
    /// `log.rs`.
    pub log_lines_max: u64,
    /// Bytes of log lines kept of one call (default 256 KiB, ceiling 2.5 MiB). Enforced by `log.rs`.
    pub log_bytes_max: u64,
    /// Bytes kept of what a call writes to standard output and standard error together (default 64 KiB, ceiling
    /// 640 KiB); the rest is counted and dropped. Enforced by `wasi.rs`.
    pub output_bytes_max: u64,
    /// Handles that a call may hold in the host's table (default 1,000, ceiling 10,000): inert WASI hands out
    /// streams and pollables. Enforced by the table, set in `state.rs`.
    pub handles_max: u64,
    /// Bytes of one request for random numbers (default 64 KiB, ceiling 640 KiB). Enforced by `wasi.rs`.
    pub random_bytes_max: u64,
    /// Size of a plugin's file (default 64 MiB, ceiling 256 MiB): the largest toolchain makes 18 MiB. Enforced by
    /// `capture.rs`.
    pub component_bytes_max: u64,
    /// Calls of one plugin at the same time (default 2, ceiling 1,024), so that one busy plugin leaves room for
    /// others. Enforced by `call.rs`.
    pub calls_per_plugin_max: u64,
    /// Calls of all plugins at the same time; guests compute, so the default is the number of processors (ceiling
    /// 1,024). Enforced by `call.rs`.
    pub calls_max: u64,
    /// Calls that may wait for their turn (default 10,000, ceiling 100,000): as many as there can be open
    /// executions. One more is told that the host is busy. Enforced by `call.rs`.
    pub calls_waiting_max: u64,
    /// How long a call may wait for its turn (default 30 s, ceiling 600 s). Enforced by `call/turn.rs`.
    pub wait_deadline: Duration,
    /// How long a call may wait for a plugin that is still being loaded (default 30 s, ceiling 600 s): the largest
    /// toolchain's plugins compile in ten. Enforced by `registry.rs`.
    pub load_deadline: Duration,
    /// Bytes of address space that compiling one plugin may take (default 2 GiB, ceiling 16 GiB): the largest
    /// toolchain's take 0.5 GiB. Enforced by the system, set in `compile/child.rs`.
    pub compile_memory_bytes_max: u64,
    /// Processor time that compiling one plugin may take (default 120 s, ceiling 3,600 s), in whole seconds: the
    /// largest toolchain's take 14 s. Enforced by the system, set in `compile/child.rs`.
    pub compile_cpu: Duration,
    /// How long compiling one plugin may take by the clock (default 900 s, ceiling 3,600 s): what bounds the work is
    /// [`Limits::compile_cpu`], and this is for a machine so busy that the work hardly comes to its turn. Enforced by
    /// `compile.rs`.
    pub compile_deadline: Duration,
    /// Plugins that are compiled at the same time (default 2, ceiling 64): with two, a file that takes long holds up no
    /// other, and each may take [`Limits::compile_memory_bytes_max`]. Enforced by `compile.rs`.
    pub compilers_max: u64,
    /// How often a plugin may run out of time or memory, or trap, within [`Limits::strike_window`] before it is kept
    /// out for a while (default 3, ceiling 1,000). Enforced by `quarantine.rs`.
    pub strikes_max: u64,
    /// How long a failure counts (default 10 min, ceiling 24 h). Enforced by `quarantine.rs`.
    pub strike_window: Duration,
    /// How long a plugin is kept out at first (default 60 s, ceiling 1 h); each failure after that doubles it.
    /// Enforced by `quarantine.rs`.
    pub quarantine_first: Duration,
    /// How long a plugin is kept out at most (default 1 h, ceiling 24 h). Enforced by `quarantine.rs`.
    pub quarantine_longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
        Limits {
            call_deadline: Duration::from_secs(5),
            instantiate_deadline: Duration::from_secs(1),
            describe_deadline: Duration::from_millis(250),
            memory_bytes_max: 64 * MIB,
            inline_memory_bytes_max: 4 * MIB,
            table_elements_max: 50_000,
            instances_max: 100,
            memories_max: 8,
            tables_max: 16,
            result_bytes_max: 8 * MIB,
            plan_edits_max: 1_000,
            plan_bytes_max: 4 * MIB,
            findings_max: 1_000,
            target_calls_max: 10_000,
            target_bytes_max: 32 * MIB,
            target_entries_max: 100_000,
            target_read_bytes_max: MIB,
            log_lines_max: 1_000,
            log_bytes_max: 256 * 1024,
            output_bytes_max: 64 * 1024,
            handles_max: 1_000,
            random_bytes_max: 64 * 1024,
            component_bytes_max: 64 * MIB,
            calls_per_plugin_max: 2,
            calls_max: processors.min(Limits::CEILING.calls_max),
            calls_waiting_max: 10_000,
            wait_deadline: Duration::from_secs(30),
            load_deadline: Duration::from_secs(30),
            compile_memory_bytes_max: 2 * 1024 * MIB,
            compile_cpu: Duration::from_secs(120),
            compile_deadline: Duration::from_secs(900),
            compilers_max: 2,
            strikes_max: 3,
            strike_window: Duration::from_secs(600),
            quarantine_first: Duration::from_secs(60),
            quarantine_longest: Duration::from_secs(3_600),
        }
    }
}

/// A limit that the operator set beyond what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitProblem {
    /// The field of [`Limits`].
    pub name: &'static str,
    /// What was found and what is allowed.
    pub message: String,
}

impl fmt::Display for LimitProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` {}", self.name, self.message)
    }
}

impl Limits {
    /// The most that an operator may allow.
    pub const CEILING: Limits = Limits {
        call_deadline: Duration::from_secs(60),
        instantiate_deadline: Duration::from_secs(60),
        describe_deadline: Duration::from_secs(60),
        memory_bytes_max: 1024 * MIB,
        inline_memory_bytes_max: 64 * MIB,
        table_elements_max: 500_000,
        instances_max: 1_000,
        memories_max: 80,
        tables_max: 160,
        result_bytes_max: 64 * MIB,
        plan_edits_max: 10_000,
        plan_bytes_max: 40 * MIB,
        findings_max: 10_000,
        target_calls_max: 100_000,
        target_bytes_max: 320 * MIB,
        target_entries_max: 1_000_000,
        target_read_bytes_max: 10 * MIB,
        log_lines_max: 10_000,
        log_bytes_max: 2_560 * 1024,
        output_bytes_max: 640 * 1024,
        handles_max: 10_000,
        random_bytes_max: 640 * 1024,
        component_bytes_max: 256 * MIB,
        calls_per_plugin_max: 1_024,
        calls_max: 1_024,
        calls_waiting_max: 100_000,
        wait_deadline: Duration::from_secs(600),
        load_deadline: Duration::from_secs(600),
        compile_memory_bytes_max: 16 * 1024 * MIB,
        compile_cpu: Duration::from_secs(3_600),
        compile_deadline: Duration::from_secs(3_600),
        compilers_max: 64,
        strikes_max: 1_000,
        strike_window: Duration::from_secs(24 * 3_600),
        quarantine_first: Duration::from_secs(3_600),
        quarantine_longest: Duration::from_secs(24 * 3_600),
    };

    /// Returns the limits when every one of them lies between 1 and its ceiling.
    ///
    /// # Errors
    ///
    /// All fields that do not, in the order of the struct.
    pub fn checked(self) -> Result<Limits, Vec<LimitProblem>> {
        let mut problems = Vec::new();
        macro_rules! numbers {
            ($($field:ident),*) => { $(
                if self.$field == 0 || self.$field > Limits::CEILING.$field {
                    problems.push(LimitProblem {
                        name: stringify!($field),
                        message: format!(
                            "is {}; it must be from 1 to {}",
                            self.$field, Limits::CEILING.$field
                        ),
                    });
                }
            )* };
        }
        macro_rules! durations {
            ($($field:ident),*) => { $(
                if self.$field < Duration::from_millis(1) || self.$field > Limits::CEILING.$field {
                    problems.push(LimitProblem {
                        name: stringify!($field),
                        message: format!(
                            "is {} ms; it must be from 1 to {} ms",
                            self.$field.as_millis(), Limits::CEILING.$field.as_millis()
                        ),
                    });
                }
            )* };
        }
        durations!(call_deadline, instantiate_deadline, describe_deadline);
        numbers!(
            memory_bytes_max,
            inline_memory_bytes_max,
            table_elements_max,
            instances_max,
            memories_max,
            tables_max,
            result_bytes_max,
            plan_edits_max,
            plan_bytes_max,
            findings_max,
            target_calls_max,
            target_bytes_max,
            target_entries_max,
            target_read_bytes_max,
            log_lines_max,
            log_bytes_max,
            output_bytes_max,
            handles_max,
            random_bytes_max,
            component_bytes_max,
            calls_per_plugin_max,
            calls_max,
            calls_waiting_max,
            compile_memory_bytes_max,
            compilers_max,
            strikes_max
        );
        durations!(
            wait_deadline,
            load_deadline,
            compile_cpu,
            compile_deadline,
            strike_window,
            quarantine_first,
            quarantine_longest
        );
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// Returns the part of the limits that a plan is checked against.
    pub fn plan(&self) -> PlanLimits {
        PlanLimits {
            edits_max: self.plan_edits_max as usize,
            bytes_max: self.plan_bytes_max,
            findings_max: self.findings_max as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_and_the_ceilings_are_legal() {
        assert_eq!(Limits::default().checked(), Ok(Limits::default()));
        assert_eq!(Limits::CEILING.checked(), Ok(Limits::CEILING));
    }

    #[test]
    fn every_limit_out_of_range_is_named_at_once() {
        let limits = Limits {
            call_deadline: Duration::from_secs(61),
            memory_bytes_max: 0,
            log_lines_max: 10_001,
            ..Limits::default()
        };

        let problems: Vec<String> = limits
            .checked()
            .expect_err("three are out of range")
            .iter()
            .map(ToString::to_string)
            .collect();

        assert_eq!(
            problems,
            [
                "`call_deadline` is 61000 ms; it must be from 1 to 60000 ms",
                "`memory_bytes_max` is 0; it must be from 1 to 1073741824",
                "`log_lines_max` is 10001; it must be from 1 to 10000",
            ]
        );
    }
}
