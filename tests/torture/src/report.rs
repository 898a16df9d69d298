//! What a run says at its end, and the limits that its figures are held to.

use std::io::Write as _;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::audit::Audited;
use crate::faults::Faults;
use crate::world::Figures;

/// The most memory that a debug build of the server may hold, in MiB: three times what it needs here.
const RSS_MIB_MAX: u64 = 512;

/// The most that the write-ahead log may hold, in MiB: its own limit of 64 and what one batch adds.
const WAL_MIB_MAX: u64 = 80;

const MIB: u64 = 1024 * 1024;

/// The figures of one run.
pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) settled: Duration,
    pub(crate) figures: &'a Figures,
    pub(crate) audited: &'a Audited,
}

impl Report<'_> {
    /// Holds the figures to their limits and returns them as text.
    pub(crate) fn check(&self, faults: &Faults) -> String {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Self { seed, settled, figures, audited } = self;
        let rss = get(&figures.rss_max_kib) / 1024;
        let wal = get(&figures.wal_max_bytes) / MIB;
        faults.unless(rss <= RSS_MIB_MAX, || format!("the server grew to {rss} MiB"));
        faults.unless(wal <= WAL_MIB_MAX, || format!("the log grew to {wal} MiB"));
        let mut starts = figures.starts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        starts.sort();
        let start =
            |part: usize| starts.get(starts.len() * part / 100).map_or(0, Duration::as_millis);
        let total: usize = audited.executions.values().sum();
        format!(
            "seed {seed}\n\
             torment     {} kills ({} before it listened), {} freezes, {} polite stops, {} frozen effects\n\
             lives       {} listened, after {} ms (median), {} ms (99 of 100)\n\
             calls       {} accepted, {} refused, {} without an answer\n\
             executions  {total} {:?}, {} of them children; all ended {:.1} s after the last torment\n\
             steps       {} completed; {} deliveries, {} lost, {} late reports, {} retries, {} decisions\n\
             effects     {} begun, {} patterns applied\n\
             store       {} events, {} MiB, log at most {wal} MiB\n\
             memory      at most {rss} MiB",
            get(&figures.kills),
            get(&figures.kills_at_start),
            get(&figures.freezes),
            get(&figures.stops),
            get(&figures.frozen_effects),
            starts.len(),
            start(50),
            start(99),
            get(&figures.accepted),
            get(&figures.refused),
            get(&figures.unanswered),
            audited.executions,
            audited.children,
            settled.as_secs_f64(),
            audited.steps_completed,
            audited.deliveries,
            audited.lost,
            audited.late_reports,
            audited.retries,
            audited.decisions,
            audited.effects,
            audited.applications,
            audited.events,
            audited.database_bytes / MIB,
        )
    }
}

/// Says something to whoever started the run.
pub(crate) fn say(text: &str) {
    // Nobody may be listening.
    writeln!(std::io::stderr(), "torture: {text}").ok();
}
