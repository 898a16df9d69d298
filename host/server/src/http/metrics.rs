//! `GET /metrics`: what is counted and how things are, in the text form that Prometheus reads (OpenMetrics 1.0). A scrape
//! runs no statement. No label holds the name of an execution, a workflow or a machine, so nothing here grows.

use std::fmt;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use caelum_core::meter::Distribution;
use caelum_engine::Engine;
use caelum_engine::meters::Measured;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::answer::refusal;

/// The path.
pub const PATH: &str = "/metrics";

/// The media type of the text, as the OpenMetrics specification names it.
const MEDIA_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Returns the route; who may see it is decided before it.
pub fn route(engine: Engine) -> Router {
    Router::new().route(PATH, get(serve).with_state(engine))
}

async fn serve(State(engine): State<Engine>) -> Response {
    // Asks the file system for the sizes of the store, and every open execution for what it waits for.
    let text = tokio::task::spawn_blocking(move || text(engine.measured())).await;
    match text {
        Ok(Ok(text)) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Ok(Err(fmt::Error)) | Err(_) => {
            tracing::error!("the metrics cannot be written");
            refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the metrics cannot be written",
                "the server's log says more",
            )
        }
    }
}

/// Writes what was measured.
fn text(measured: Measured) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("caelum");
    registry.register_collector(Box::new(Measures(measured)));
    let mut text = String::with_capacity(16 * 1024);
    encode(&mut text, &registry)?;
    Ok(text)
}

/// What was measured, as the encoder asks for it.
#[derive(Debug)]
struct Measures(Measured);

/// A writer of one encoder: counters, gauges and histograms under their names.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn metric(
        &mut self,
        (name, help): (&str, &str),
        metric_type: MetricType,
        write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(self.0.encode_descriptor(name, help, None, metric_type)?)
    }

    fn counter(&mut self, metric: (&str, &str), value: u64) -> fmt::Result {
        self.metric(metric, MetricType::Counter, |mut encoder| count(&mut encoder, value))
    }

    fn counters<const N: usize>(
        &mut self,
        metric: (&str, &str),
        values: impl IntoIterator<Item = ([(&'static str, &'static str); N], u64)>,
    ) -> fmt::Result {
        self.metric(metric, MetricType::Counter, |mut encoder| {
            values
                .into_iter()
                .try_for_each(|(labels, value)| count(&mut encoder.encode_family(&labels)?, value))
        })
    }

    fn gauge(&mut self, metric: (&str, &str), value: f64) -> fmt::Result {
        self.metric(metric, MetricType::Gauge, |mut encoder| encoder.encode_gauge(&value))
    }

    fn gauges<const N: usize>(
        &mut self,
        metric: (&str, &str),
        values: impl IntoIterator<Item = ([(&'static str, &'static str); N], u64)>,
    ) -> fmt::Result {
        self.metric(metric, MetricType::Gauge, |mut encoder| {
            values.into_iter().try_for_each(|(labels, value)| {
                encoder.encode_family(&labels)?.encode_gauge(&value)
            })
        })
    }

    fn histogram(
        &mut self,
        metric: (&str, &str),
        scale: f64,
        values: &Distribution,
    ) -> fmt::Result {
        self.metric(metric, MetricType::Histogram, |mut encoder| {
            distribution(&mut encoder, scale, values)
        })
    }
}

fn count(encoder: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, f64>(&value, None::<&Exemplar<NoLabelSet, f64>>)
}

/// Writes a distribution whose values are `scale` of the unit that the metric's name says.
fn distribution(encoder: &mut MetricEncoder<'_>, scale: f64, values: &Distribution) -> fmt::Result {
    let bounds = values.bounds.iter().map(|bound| *bound as f64 * scale).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(values.counts.iter().copied()).collect();
    encoder.encode_histogram::<NoLabelSet>(
        values.sum as f64 * scale,
        values.count(),
        &buckets,
        None,
    )
}

/// Times are counted in microseconds and told in seconds.
const MICROS: f64 = 1e-6;

impl Collector for Measures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let measured = &self.0;
        let mut writer = Writer(encoder);
        writer.counter(
            ("runs_started", "Executions that were started, task groups and children included."),
            measured.runs_started,
        )?;
        writer.counters(
            ("runs_finished", "Executions that ended, by how."),
            measured.runs_finished.iter().map(|(outcome, value)| ([("outcome", *outcome)], *value)),
        )?;
        writer.counters(
            ("steps", "Steps that ended, by type and how."),
            measured.steps.iter().map(|(step_type, outcome, value)| {
                ([("type", *step_type), ("outcome", *outcome)], *value)
            }),
        )?;
        let help = "From the first attempt of a step to its end, by type.";
        writer.metric(("step_duration_seconds", help), MetricType::Histogram, |mut encoder| {
            measured.step_times.iter().try_for_each(|(step_type, times)| {
                let labels = [("type", *step_type)];
                distribution(&mut encoder.encode_family(&labels)?, MICROS, times)
            })
        })?;
        writer.histogram(
            (
                "step_queue_seconds",
                "From the beginning of an attempt until a machine begins with its work.",
            ),
            MICROS,
            &measured.queued,
        )?;
        writer.histogram(
            (
                "step_overhead_seconds",
                "From the end of a step until the work of the next one is handed out.",
            ),
            MICROS,
            &measured.overhead,
        )?;
        writer.counters(
            ("attempts", "Attempts and further deliveries, by why they were made."),
            measured.attempts.iter().map(|(reason, value)| ([("reason", *reason)], *value)),
        )?;
        writer.counter(
            ("leases_expired", "Work that was handed out and that nobody reported."),
            measured.leases_expired,
        )?;
        writer.counter(
            ("stale_reports", "Reports that came too late or twice, and changed nothing."),
            measured.stale_reports,
        )?;
        writer.gauge(
            ("approvals_pending", "Steps that wait for a review now."),
            measured.approvals_pending as f64,
        )?;
        writer.histogram(
            ("approval_wait_seconds", "How long gates waited for the review that decided."),
            MICROS,
            &measured.approval_waits,
        )?;
        writer.gauges(
            ("machines", "Machines, by state."),
            measured.machines.iter().map(|(state, value)| ([("state", *state)], *value)),
        )?;
        writer.gauge(
            (
                "heartbeat_lag_seconds",
                "How long the machine has been silent that was silent longest.",
            ),
            measured.heartbeat_lag.as_secs_f64(),
        )?;
        writer.histogram(
            ("commit_batch_size", "Requests in one commit of the store."),
            1.0,
            &measured.store.batch_sizes,
        )?;
        writer.histogram(
            ("commit_seconds", "How long commits of the store took."),
            MICROS,
            &measured.store.commit_times,
        )?;
        writer.gauge(
            ("wal_bytes", "Size of the store's write-ahead log."),
            measured.store.wal_bytes as f64,
        )?;
        writer.gauge(
            ("db_bytes", "Size of the store's database file."),
            measured.store.database_bytes as f64,
        )?;
        writer.histogram(
            ("timer_lag_seconds", "How much later than they should timers woke somebody."),
            MICROS,
            &measured.timer_lag,
        )?;
        writer.gauge(
            (
                "stuck_runs",
                "Executions that stand still because of a defect; anything but 0 is one.",
            ),
            measured.stuck as f64,
        )
    }
}
