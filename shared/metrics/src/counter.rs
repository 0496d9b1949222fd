//! Numbers that only grow.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::core::PerCore;
use crate::family::Family;
use crate::metric::{Make, Metric};

/// Counts events. Its name in the text ends with `_total`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Counter(Arc<PerCore<AtomicU64>>);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.here().fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were, on all cores.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.all().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Make for Counter {
    fn make() -> Self {
        Self(Arc::new(PerCore::new()))
    }
}

impl Metric for Counter {
    const TYPE: MetricType = MetricType::Counter;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.value(), None)
    }
}

/// A counter that somebody else keeps, read when it is asked for.
#[derive(Clone)]
pub struct MeasuredCounter(Arc<dyn Fn() -> Option<f64> + Send + Sync>);

impl fmt::Debug for MeasuredCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeasuredCounter(..)")
    }
}

impl Metric for MeasuredCounter {
    const TYPE: MetricType = MetricType::Counter;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        (self.0)().map_or(Ok(()), |value| encoder.encode_counter::<NoLabelSet, _, f64>(&value, None))
    }

    fn is_there(&self) -> bool {
        (self.0)().is_some()
    }
}

impl<const N: usize> Family<MeasuredCounter, N> {
    /// As [`Family::measure`] of a gauge.
    pub fn measure(
        &'static self,
        values: [&str; N],
        measure: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.replace(values, MeasuredCounter(Arc::new(measure)));
    }
}
