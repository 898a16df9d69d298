//! `plugin bench`: how fast a plugin is, through the real host: loading, calls per second, percentiles, memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::plugin::PluginKind;
use caelum_plugin_host::{CallControl, CallReport};
use clap::Args;
use serde::Serialize;

use super::build::Building;
use super::case::Case;
use super::subject::{Code, Subject, component, load, read, refusal};
use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{FAINT, Output, STRONG, paint};
use crate::config::Config;

/// How many calls may be under way at once: more than any machine has cores, fewer than the queue of the host.
const PARALLEL_MAX: u64 = 64;

/// How long a measurement may take, in seconds: nobody waits an hour by mistake.
const SECONDS_MAX: u64 = 600;

/// How many calls are kept for the percentiles; what comes after them ends the measurement. 16 bytes each.
const CALLS_MAX: usize = 5_000_000;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The plugin: its project, which is built first, or a .wasm file.
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// What every call is given; by default nothing. A validator judges it, a pattern plans for it.
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
    /// How long to call.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// How many calls are under way at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=PARALLEL_MAX))]
    parallel: u64,
    #[command(flatten)]
    building: Building,
}

/// What was measured.
#[derive(Serialize)]
struct Benched {
    plugin: String,
    version: String,
    component_bytes: usize,
    /// All stages of loading, compiling included.
    load_ms: f64,
    calls: usize,
    failed_calls: usize,
    calls_per_second: f64,
    parallel: u64,
    /// From the caller's question to its answer.
    call_us: Percentiles,
    /// Making the instance.
    instantiate_us: Percentiles,
    /// The plugin itself.
    run_us: Percentiles,
    peak_memory_bytes: u64,
    host_calls: u64,
    bytes_read: u64,
}

/// Microseconds that this part of the calls stays within.
#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        let at = |part: f64| {
            let index = (part * (spans.len().saturating_sub(1)) as f64).round() as usize;
            spans.get(index).map_or(0.0, |span| span.as_nanos() as f64 / 1_000.0)
        };
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// One call.
struct Sample {
    total: Duration,
    instantiated: Duration,
    run: Duration,
}

/// What one of several callers saw.
#[derive(Default)]
struct Samples {
    calls: Vec<Sample>,
    failed: usize,
    first_failure: Option<String>,
    peak_memory_bytes: u64,
    host_calls: u64,
    bytes_read: u64,
}

impl Bench {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let case = match &self.case {
            Some(path) => {
                Case::read(path).map_err(|error| CommandError::Usage(error.to_string()))?
            }
            None => Case::empty(),
        };
        let (file, directory) = component(&self.plugin, &self.building, config, output).await?;
        let bytes = read(&file)?;
        let component_bytes = bytes.len();
        let begun = Instant::now();
        let (plugins, loaded) = load(config, &file, bytes, Code::Fresh).await?;
        let load_ms = begun.elapsed().as_secs_f64() * 1_000.0;
        let plugin = loaded.map_err(|refused| refusal(&refused))?;
        let subject = Arc::new(Subject { plugins, plugin, directory });

        let begun = Instant::now();
        let until = begun + Duration::from_secs(self.seconds);
        let share = CALLS_MAX / usize::try_from(self.parallel).unwrap_or(1);
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..self.parallel {
            callers.spawn(call_until(Arc::clone(&subject), case.clone(), until, share));
        }
        let samples = callers.join_all().await;
        let elapsed = begun.elapsed();
        let benched = sum(&subject, samples, elapsed, load_ms, component_bytes, self.parallel)?;
        show(output, &benched).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}

async fn call_until(subject: Arc<Subject>, case: Case, until: Instant, most: usize) -> Samples {
    let mut samples = Samples::default();
    while Instant::now() < until && samples.calls.len() < most {
        let begun = Instant::now();
        let (report, failure) = call(&subject, &case).await;
        let total = begun.elapsed();
        samples.peak_memory_bytes = samples.peak_memory_bytes.max(report.peak_memory_bytes);
        samples.host_calls = samples.host_calls.max(report.host_calls);
        samples.bytes_read = samples.bytes_read.max(report.bytes_read);
        if let Some(failure) = failure {
            samples.failed += 1;
            samples.first_failure.get_or_insert(failure);
        }
        samples.calls.push(Sample {
            total,
            instantiated: report.instantiated,
            run: report.duration,
        });
    }
    samples
}

async fn call(subject: &Subject, case: &Case) -> (CallReport, Option<String>) {
    let Subject { plugins, plugin, .. } = subject;
    let tree = Arc::clone(&case.tree);
    let control = CallControl::default();
    match plugin.kind() {
        PluginKind::Validator => {
            let called = plugins
                .judge(plugin, &case.evidence, case.phase, tree, &case.parameters, control)
                .await;
            (called.report, called.outcome.err().map(|error| error.to_string()))
        }
        PluginKind::Pattern => {
            let called = plugins.plan(plugin, tree, &case.parameters, &case.context, control).await;
            (called.report, called.outcome.err().map(|error| error.to_string()))
        }
    }
}

fn sum(
    subject: &Subject,
    all: Vec<Samples>,
    elapsed: Duration,
    load_ms: f64,
    component_bytes: usize,
    parallel: u64,
) -> Result<Benched, CommandError> {
    let calls: Vec<&Sample> = all.iter().flat_map(|samples| &samples.calls).collect();
    let failed = all.iter().map(|samples| samples.failed).sum();
    if failed == calls.len() {
        let failure = all.iter().find_map(|samples| samples.first_failure.clone());
        return Err(CommandError::Refused(format!(
            "no call was answered: {}\nhint: say with --case what the plugin is given",
            failure.unwrap_or_default()
        )));
    }
    let most = |of: fn(&Samples) -> u64| all.iter().map(of).max().unwrap_or_default();
    let spans = |of: fn(&Sample) -> Duration| {
        Percentiles::of(calls.iter().map(|sample| of(sample)).collect())
    };
    Ok(Benched {
        plugin: subject.plugin.name().to_string(),
        version: subject.plugin.version().to_string(),
        component_bytes,
        load_ms,
        calls: calls.len(),
        failed_calls: failed,
        calls_per_second: calls.len() as f64 / elapsed.as_secs_f64(),
        parallel,
        call_us: spans(|sample| sample.total),
        instantiate_us: spans(|sample| sample.instantiated),
        run_us: spans(|sample| sample.run),
        peak_memory_bytes: most(|samples| samples.peak_memory_bytes),
        host_calls: most(|samples| samples.host_calls),
        bytes_read: most(|samples| samples.bytes_read),
    })
}

fn show(output: &mut Output, benched: &Benched) -> std::io::Result<()> {
    if output.result(benched)? {
        return Ok(());
    }
    output.line(format!(
        "{} {}: {} KiB, loaded and compiled in {:.0} ms",
        paint(STRONG, &benched.plugin),
        benched.version,
        benched.component_bytes.div_ceil(1024),
        benched.load_ms
    ))?;
    output.line(format!(
        "{:.0} calls per second, {} at once; {} of {} calls gave no answer",
        benched.calls_per_second, benched.parallel, benched.failed_calls, benched.calls
    ))?;
    output.line(paint(FAINT, "µs             p50       p90       p99       max"))?;
    for (name, of) in [
        ("call", &benched.call_us),
        ("  instance", &benched.instantiate_us),
        ("  plugin", &benched.run_us),
    ] {
        output.line(format!(
            "{name:10} {:9.1} {:9.1} {:9.1} {:9.1}",
            of.p50, of.p90, of.p99, of.max
        ))?;
    }
    output.line(format!(
        "{} KiB of memory, {} host calls, {} bytes read at most",
        benched.peak_memory_bytes / 1024,
        benched.host_calls,
        benched.bytes_read
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let spans = (1..=100).rev().map(Duration::from_micros).collect();

        let percentiles = Percentiles::of(spans);

        assert_eq!((percentiles.p50, percentiles.p99, percentiles.max), (51.0, 99.0, 100.0));
        assert_eq!(Percentiles::of(Vec::new()).p50, 0.0);
    }
}
