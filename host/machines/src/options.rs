//! Every limit of this crate in one place, with its default, its unit and the reason for it.

use std::time::Duration;

/// What one machine spends on a task and on a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineOptions {
    /// Tasks that run at once; more wait in order (default 64). A task needs five file descriptors and a process, and
    /// the usual limit of descriptors is 1,024.
    pub tasks_at_once_max: usize,
    /// Probes that run at once; more wait in order (default 32).
    pub probes_at_once_max: usize,
    /// Bytes kept of the beginning of each output stream (default 32 KiB): what was started, and with what.
    pub output_head_bytes: usize,
    /// Bytes kept of the end of each output stream (default 32 KiB): how it ended.
    pub output_tail_bytes: usize,
    /// Bytes that the JSON object of a step's outputs may have (default 64 KiB). A longer line is no candidate, a longer
    /// file is a failure.
    pub outputs_bytes_max: usize,
    /// How long output is still read after the program ended, while one of its children holds the pipe (default 1 s).
    pub linger: Duration,
    /// Files whose text is kept as evidence (default 64). Further ones are named without their text.
    pub collect_files_max: usize,
    /// Files that are named as evidence (default 1,000).
    pub collect_names_max: usize,
    /// Bytes kept of one file (default 1 MiB): its beginning.
    pub collect_file_bytes_max: u64,
    /// Bytes kept of all files of one task (default 8 MiB): what a gate may read is 32 MiB.
    pub collect_total_bytes_max: u64,
    /// Directory entries that a search for files looks at (default 100,000), so that `**` over a huge tree ends.
    pub collect_entries_max: usize,
    /// Bytes kept of a body or a file by a probe (default 64 KiB).
    pub probe_bytes_max: usize,
    /// Bytes that are read of the answer to a request (default 8 MiB). What lies behind is not looked at; an answer whose
    /// body must be judged may not be longer.
    pub http_body_bytes_max: usize,
    /// Calls that run at once on one tool server (default 8); more wait in order.
    pub tool_calls_at_once_max: usize,
    /// How long a tool server may take to start and to say that it is ready (default 30 s): package runners fetch what
    /// they run first.
    pub tool_connect_timeout: Duration,
    /// Bytes that a task's standard input may have (default 8 MiB).
    pub stdin_bytes_max: usize,
}

impl Default for MachineOptions {
    fn default() -> Self {
        MachineOptions {
            tasks_at_once_max: 64,
            probes_at_once_max: 32,
            output_head_bytes: 32 * 1024,
            output_tail_bytes: 32 * 1024,
            outputs_bytes_max: 64 * 1024,
            linger: Duration::from_secs(1),
            collect_files_max: 64,
            collect_names_max: 1_000,
            collect_file_bytes_max: 1024 * 1024,
            collect_total_bytes_max: 8 * 1024 * 1024,
            collect_entries_max: 100_000,
            probe_bytes_max: 64 * 1024,
            http_body_bytes_max: 8 * 1024 * 1024,
            tool_calls_at_once_max: 8,
            tool_connect_timeout: Duration::from_secs(30),
            stdin_bytes_max: 8 * 1024 * 1024,
        }
    }
}
