//! Logs on standard error, traces to an OTLP collector when there is one. Nobody waits for either: what the log's reader
//! or the collector does not take is lost, and lost lines are counted in the log.
//!
//! The trace context does not depend on the collector. Whether or not anything is exported, every call has a trace id,
//! events carry it, and errors name it.

mod counted;
mod json;
mod log;
mod repeats;
mod trace;

use std::io::IsTerminal as _;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use metrics::{Counter, Family};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};
use types::{TRACES_ONLY, WORKER};

use self::log::{Log, Note};
use crate::config::{LogFormat, TelemetryConfig, redact_url};

pub use repeats::{OncePerCause, Repeats};
pub use trace::{continued, current_traceparent, set_parents, trace_id};
pub(crate) use trace::{is_exporting, recorded, set_foreign_parent, set_parent, traceparent_of};

/// The libraries that carry a call. Their spans are not exported: exporting makes such calls itself.
const QUIET: [&str; 6] = ["h2", "hyper", "hyper_util", "tonic", "tower", "opentelemetry"];
/// How long the end of the process waits for the log's reader.
pub(crate) const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// How long it waits for the collector. A dead one costs no more.
const EXPORT_WITHIN: Duration = Duration::from_secs(3);

static PANICS: Family<Counter, 0> =
    Family::new("panics_total", "Panics, each a defect of the program.", [], 1);

/// The process has one standard error, so it has one log.
static LOG: OnceLock<Log> = OnceLock::new();
/// What the log of this process repeats.
static REPEATS: LazyLock<Repeats> = LazyLock::new(Repeats::default);

/// Tells how often lines were left out whose cause is over. Called every second.
pub(crate) fn tell_repeats() {
    REPEATS.tell(false);
}

/// Exports the remaining spans and writes the remaining lines when it is flushed.
#[derive(Debug)]
#[must_use = "spans and lines that have not left yet are lost without `flush`"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Exports the last spans and writes the last lines of the log. The collector gets three seconds for that, and the
    /// log's reader one.
    pub async fn flush(self) {
        let flush = move || {
            REPEATS.tell(true);
            if let Some(Err(error)) = self.0.map(|provider| provider.shutdown_with_timeout(EXPORT_WITHIN)) {
                tracing::warn!(error = %error, "could not export the last spans");
            }
            flush_log();
        };
        if let Err(error) = tokio::task::spawn_blocking(flush).await {
            tracing::error!(error = %error, "could not flush spans and log");
        }
    }
}

/// Waits, for a second at most, until the lines that were logged so far are written. What is not written by then is
/// lost when the process ends.
pub(crate) fn flush_log() {
    if let Some(log) = LOG.get() {
        // Nobody is left to tell.
        let _in_time = log.flush(FLUSH_WITHIN);
    }
}

/// Starts logging and tracing for this process, and logs panics. With a collector it needs a tokio runtime that
/// lives until [`Guard::flush`]. A second call in one process changes nothing.
///
/// # Errors
/// When the collector's address is not usable, or no thread can be started.
pub fn init(name: &'static str, config: &TelemetryConfig) -> anyhow::Result<Guard> {
    let provider = provider(name, config)?;
    let spans = QUIET.iter().fold(Targets::new().with_default(LevelFilter::INFO), |targets, target| {
        targets.with_target(*target, LevelFilter::OFF)
    });
    let exported = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(name))
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(spans.clone().with_target(WORKER, LevelFilter::OFF))
            .boxed()
    });
    let quiet = QUIET.iter().fold(String::new(), |filter, library| filter + library + "=warn,");
    let events = EnvFilter::try_new(quiet + &config.log_filter).context("--log-filter")?;
    // Spans are kept whatever lines the filter wants, so that each line names the call that it belongs to.
    let is_span = filter_fn(|metadata| metadata.is_span()).with_max_level_hint(LevelFilter::INFO);
    let is_for_logs = filter_fn(|metadata| metadata.target() != TRACES_ONLY);
    let filter = events.or(spans.and(is_span)).and(is_for_logs);
    let log = log(name, config.log_format)?;
    let logs = match config.log_format {
        LogFormat::Json => fmt::layer()
            .fmt_fields(json::Fields)
            .event_format(REPEATS.format(json::Event::new(name)))
            .with_writer(log)
            .with_filter(filter)
            .boxed(),
        LogFormat::Human => fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .map_event_format(|format| REPEATS.format(format))
            .with_writer(log)
            .with_filter(filter)
            .boxed(),
    };
    let is_exporting = exported.is_some();
    // A `Vec` and not an `Option`: with an empty layer, tracing never learns that the many spans and lines of libraries
    // are unwanted for good, and asks about each one every time. That would be half of the cost of an empty call.
    let layers: Vec<_> = exported.into_iter().chain([logs]).collect();
    if Registry::default().with(layers).try_init().is_ok() {
        if is_exporting {
            trace::export(config.trace_ratio);
        }
        log_panics();
    }
    Ok(Guard(provider))
}

/// The process's log, started by whoever asks first.
fn log(service: &'static str, format: LogFormat) -> anyhow::Result<Log> {
    if let Some(log) = LOG.get() {
        return Ok(log.clone());
    }
    let log = Log::start(std::io::stderr(), note(service, format)).context("starting the log's thread")?;
    Ok(LOG.get_or_init(|| log).clone())
}

/// Tells of lost lines in the format of the others.
fn note(service: &'static str, format: LogFormat) -> Note {
    Box::new(move |count| {
        let (target, message) =
            (module_path!(), format!("{count} lines were lost: the log's reader did not take them"));
        let plain = format!("WARN {target}: {message}\n");
        match format {
            LogFormat::Json => json::warning(service, target, &message, "lost", count).unwrap_or(plain),
            LogFormat::Human => plain,
        }
    })
}

fn provider(name: &'static str, config: &TelemetryConfig) -> anyhow::Result<Option<SdkTracerProvider>> {
    let Some(endpoint) = config.otlp_endpoint.as_ref().filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(None);
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| {
        format!("--otlp-endpoint (OTEL_EXPORTER_OTLP_ENDPOINT) {}", redact_url(endpoint))
    })?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(name))
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_ratio))))
        .with_span_processor(counted::processor(exporter))
        .build();
    Ok(Some(provider))
}

/// Names the service and its release, which is the workspace's, and what `OTEL_RESOURCE_ATTRIBUTES` says of where it runs.
fn resource(name: &'static str) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder_empty()
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_service_name(name)
        .with_attribute(version)
        .build()
}

/// Logs a panic as one line. The default hook writes several, which log readers do not join.
fn log_panics() {
    let panics = PANICS.with([]);
    std::panic::set_hook(Box::new(move |panic| {
        panics.increment();
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let panic = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(location, panic, "panicked");
    }));
}
