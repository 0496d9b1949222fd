//! Numbers that go up and down.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::MetricEncoder;
use prometheus_client::metrics::MetricType;

use crate::family::Family;
use crate::metric::{Make, Metric};

/// A count as the value of a gauge; the largest one for what is no count.
#[expect(clippy::cast_precision_loss, reason = "whoever draws it needs no sixteenth digit")]
pub fn number(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

/// How much there is of something now. Cheap to clone. It is zero until it is set.
#[derive(Debug, Clone)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// It is this much now.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Whether something is so now: 1 or 0.
    pub fn set_bool(&self, is_so: bool) {
        self.set(f64::from(u8::from(is_so)));
    }

    /// How much it is.
    #[must_use]
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Make for Gauge {
    fn make() -> Self {
        Self(Arc::default())
    }
}

impl Metric for Gauge {
    const TYPE: MetricType = MetricType::Gauge;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.value())
    }
}

/// A gauge that is measured when somebody asks for it; not there while its measure says `None`.
#[derive(Clone)]
pub struct MeasuredGauge(Arc<dyn Fn() -> Option<f64> + Send + Sync>);

impl fmt::Debug for MeasuredGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeasuredGauge(..)")
    }
}

impl Metric for MeasuredGauge {
    const TYPE: MetricType = MetricType::Gauge;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        (self.0)().map_or(Ok(()), |value| encoder.encode_gauge(&value))
    }

    fn is_there(&self) -> bool {
        (self.0)().is_some()
    }
}

impl<const N: usize> Family<MeasuredGauge, N> {
    /// Measures the series with these values whenever somebody asks, in the place of whatever measured it before. While
    /// `measure` says `None` there is no such series. It runs on the thread of the admin port.
    pub fn measure(
        &'static self,
        values: [&str; N],
        measure: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.replace(values, MeasuredGauge(Arc::new(measure)));
    }
}
