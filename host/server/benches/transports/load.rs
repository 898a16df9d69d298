//! Calls one tool over some connections for a while, and says how fast the answers came.

use std::collections::HashMap;
use std::time::Instant;

use crate::caller::{Caller, Era, Tool, Way};
use crate::server::{Place, Spec, Started};
use crate::{MEASURED, WARM_UP};

/// How fast the answers came.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Times of all calls, in milliseconds, from the shortest to the longest.
    times_ms: Vec<f64>,
    seconds: f64,
}

impl Measured {
    fn new(mut times_ms: Vec<f64>, seconds: f64) -> Self {
        times_ms.sort_by(f64::total_cmp);
        Self { times_ms, seconds }
    }

    pub(crate) fn calls(&self) -> usize {
        self.times_ms.len()
    }

    pub(crate) fn calls_per_s(&self) -> f64 {
        self.calls() as f64 / self.seconds
    }

    pub(crate) fn percentile_ms(&self, rank: usize) -> f64 {
        let at = (self.times_ms.len() * rank / 100).min(self.times_ms.len().saturating_sub(1));
        self.times_ms.get(at).copied().unwrap_or_default()
    }
}

/// Calls over so many connections, each with one call at a time.
pub(crate) async fn over(
    spec: &Spec,
    way: &Way,
    era: Era,
    connections: usize,
    tool: Tool,
) -> Result<Measured, String> {
    let mut callers = Vec::new();
    for _ in 0..connections {
        let caller = Caller::connect(way, era).await;
        callers.push(caller.map_err(|error| format!("{} {}: {error}", spec.name, way.name()))?);
    }
    let began = Instant::now();
    let from = began + WARM_UP;
    let end = from + MEASURED;
    let running: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            let tool = tool.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let asked = Instant::now();
                    if asked >= end {
                        return Ok::<_, String>(times);
                    }
                    caller.call(&tool).await?;
                    if asked >= from {
                        times.push(asked.elapsed().as_secs_f64() * 1_000.0);
                    }
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for one in running {
        times.extend(one.await.map_err(|error| error.to_string())??);
    }
    Ok(Measured::new(times, from.elapsed().as_secs_f64()))
}

/// Calls over standard input and output, with so many calls under way at once.
pub(crate) async fn over_stdio(
    spec: &Spec,
    place: &Place,
    depth: usize,
) -> Result<Measured, String> {
    let mut started = Started::over_stdio(spec, place)?;
    let mut caller = started.caller().await?;
    let tool = spec.tool();
    let from = Instant::now() + WARM_UP;
    let end = from + MEASURED;
    let mut asked = HashMap::new();
    let mut times = Vec::new();
    for _ in 0..depth {
        asked.insert(caller.send(&tool).await?, Instant::now());
    }
    while !asked.is_empty() {
        let id = caller.answered().await?;
        let at = asked.remove(&id).ok_or_else(|| format!("nobody asked {id}"))?;
        if at >= from {
            times.push(at.elapsed().as_secs_f64() * 1_000.0);
        }
        if Instant::now() < end {
            let now = Instant::now();
            asked.insert(caller.send(&tool).await?, now);
        }
    }
    let measured = Measured::new(times, from.elapsed().as_secs_f64());
    drop(caller);
    started.stop().await;
    Ok(measured)
}
