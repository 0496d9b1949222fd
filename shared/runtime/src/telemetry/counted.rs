//! What becomes of the spans: exported, lost because the collector did not take them, or dropped because more were waiting
//! for it than memory is set aside for. The SDK drops spans unseen, so the queue is bounded here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Family};
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

static SPANS: Family<Counter, 1> =
    Family::new("spans_total", "Spans of recorded traces, by what became of them.", ["result"], 3);

/// The most spans that wait for the collector.
const QUEUE_MAX: usize = 2048;

/// A processor that gives spans to the exporter in batches, and counts them.
pub(super) fn processor<E: SpanExporter + 'static>(exporter: E) -> impl SpanProcessor {
    let counts = Arc::new(Counts::new());
    let exporter = Exporter { inner: exporter, counts: Arc::clone(&counts) };
    // One more than ever wait, so that the SDK itself never drops one.
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE_MAX + 1).build();
    Processor { inner: BatchSpanProcessor::builder(exporter).with_batch_config(config).build(), counts }
}

#[derive(Debug)]
struct Counts {
    waiting: AtomicUsize,
    exported: Counter,
    failed: Counter,
    dropped: Counter,
}

impl Counts {
    fn new() -> Self {
        let [exported, failed, dropped] =
            ["exported", "failed", "dropped"].map(|result| SPANS.with([result]));
        Self { waiting: AtomicUsize::new(0), exported, failed, dropped }
    }
}

#[derive(Debug)]
struct Processor<P> {
    inner: P,
    counts: Arc<Counts>,
}

impl<P: SpanProcessor> SpanProcessor for Processor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counts.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE_MAX {
            self.inner.on_end(span);
        } else {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.increment();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[derive(Debug)]
struct Exporter<E> {
    inner: E,
    counts: Arc<Counts>,
}

impl<E: SpanExporter> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.counts.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = self.inner.export(batch).await;
        let counter = if result.is_ok() { &self.counts.exported } else { &self.counts.failed };
        counter.add(u64::try_from(count).unwrap_or(u64::MAX));
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
