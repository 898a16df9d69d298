//! What was measured, said while it goes on and written down at the end.

use std::io::Write;

use serde_json::{Value, json};

use crate::caller::{Era, Way};
use crate::load::Measured;
use crate::server::Spec;

/// Everything that was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    loads: Vec<Value>,
    starts: Vec<Value>,
    memory: Vec<Value>,
    problems: Vec<Value>,
}

impl Figures {
    /// Says a line to whoever looks on.
    pub(crate) fn say(&self, line: &str) {
        writeln!(std::io::stderr(), "transports: {line}").ok();
    }

    pub(crate) fn load(
        &mut self,
        spec: &Spec,
        way: &Way,
        era: Era,
        at_once: usize,
        measured: Measured,
    ) {
        self.loads.push(self.line(spec, way, era, at_once, "list_machines", &measured));
    }

    /// Keeps what was measured with a tool that only ours has.
    pub(crate) fn second(&mut self, spec: &Spec, way: &Way, at_once: usize, measured: Measured) {
        let tool = spec.second_tool.as_ref().map_or("", |tool| &tool.name);
        self.loads.push(self.line(spec, way, Era::Newer, at_once, tool, &measured));
    }

    fn line(
        &self,
        spec: &Spec,
        way: &Way,
        era: Era,
        at_once: usize,
        tool: &str,
        measured: &Measured,
    ) -> Value {
        let (rate, p50, p99) =
            (measured.calls_per_s(), measured.percentile_ms(50), measured.percentile_ms(99));
        let (name, way, era) = (&spec.name, way.name(), era.version());
        self.say(&format!(
            "{name}: {way} {era} {at_once} at once, {tool}: {rate:.0} calls/s, p50 {p50:.3} ms, p99 {p99:.3} ms"
        ));
        json!({"server": name, "way": way, "era": era, "at_once": at_once, "tool": tool,
               "calls": measured.calls(), "calls_per_s": rate, "p50_ms": p50, "p99_ms": p99})
    }

    /// Keeps the median of some starts.
    pub(crate) fn start(&mut self, spec: &Spec, way: &str, times_ms: &mut [f64]) {
        times_ms.sort_by(f64::total_cmp);
        let median = times_ms.get(times_ms.len() / 2).copied().unwrap_or_default();
        self.say(&format!("{}: first answer over {way} after {median:.0} ms", spec.name));
        self.starts.push(json!({"server": spec.name, "way": way, "ms": median}));
    }

    pub(crate) fn memory(&mut self, spec: &Spec, what: &str, sessions: usize, mb: f64) {
        self.say(&format!("{}: {what}, {sessions} sessions: {mb:.1} MB", spec.name));
        let line = json!({"server": spec.name, "what": what, "sessions": sessions, "mb": mb});
        self.memory.push(line);
    }

    pub(crate) fn problem(&mut self, server: &str, problem: &str) {
        self.problems.push(json!({"server": server, "problem": problem}));
    }

    pub(crate) fn to_json(&self) -> String {
        let all = json!({"loads": self.loads, "starts": self.starts, "memory": self.memory,
                         "problems": self.problems});
        format!("{all:#}\n")
    }
}
