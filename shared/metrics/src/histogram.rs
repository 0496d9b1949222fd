//! How durations are distributed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::core::PerCore;
use crate::exemplar::{Exemplar, TraceId};
use crate::metric::{Exemplified, Make, Metric};

/// The upper bounds of the buckets, in seconds; one more bucket has none. From 0.25 ms, a call that found everything in a
/// cache, over 250 ms, beyond which calls count as slow, to twice the longest deadline.
pub const BOUNDS: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0];

const BUCKETS: usize = BOUNDS.len() + 1;

/// The bounds in nanoseconds, which is how durations come.
const BOUNDS_NS: [u64; BOUNDS.len()] = {
    let mut nanos = [0; BOUNDS.len()];
    let mut index = 0;
    while index < BOUNDS.len() {
        nanos[index] = (BOUNDS[index] * 1e9).round() as u64;
        index += 1;
    }
    nanos
};

/// Counts durations by how long they are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<PerCore<OfCore>>);

#[derive(Debug, Default)]
struct OfCore {
    buckets: [AtomicU64; BUCKETS],
    /// In nanoseconds: room for 584 years.
    sum: AtomicU64,
    /// The last recorded trace of each bucket, once there is one.
    exemplars: Mutex<Option<Box<[Option<Exemplar>; BUCKETS]>>>,
}

impl Histogram {
    /// Something took so long.
    pub fn observe(&self, duration: Duration) {
        self.count(duration);
    }

    /// Something took so long, and this recorded trace shows what.
    pub fn observe_in(&self, duration: Duration, trace: TraceId) {
        let bucket = self.count(duration);
        // Whoever reads has it for a moment: then this example is not kept, and the next one is.
        if let Ok(mut exemplars) = self.0.here().exemplars.try_lock() {
            let exemplars = exemplars.get_or_insert_with(|| Box::new([None; BUCKETS]));
            #[expect(clippy::disallowed_methods, reason = "only whoever reads the text wants to know it")]
            let at = SystemTime::now();
            exemplars[bucket] = Some(Exemplar { trace, seconds: duration.as_secs_f64(), at });
        }
    }

    /// How many durations there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.read().0.iter().sum()
    }

    fn count(&self, duration: Duration) -> usize {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < nanos);
        let here = self.0.here();
        here.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        here.sum.fetch_add(nanos, Ordering::Relaxed);
        bucket
    }

    /// The buckets and the sum in nanoseconds, of all cores.
    fn read(&self) -> ([u64; BUCKETS], u64) {
        let mut counts = [0; BUCKETS];
        let mut sum = 0_u64;
        for core in self.0.all() {
            for (count, bucket) in counts.iter_mut().zip(&core.buckets) {
                *count += bucket.load(Ordering::Relaxed);
            }
            sum = sum.wrapping_add(core.sum.load(Ordering::Relaxed));
        }
        (counts, sum)
    }
}

impl Make for Histogram {
    fn make() -> Self {
        Self(Arc::new(PerCore::new()))
    }
}

impl Metric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
    /// The buckets, the sum and the count.
    const LINES: usize = BUCKETS + 2;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (counts, sum) = self.read();
        let buckets: Vec<(f64, u64)> = BOUNDS.into_iter().chain([f64::INFINITY]).zip(counts).collect();
        let seconds = Duration::from_nanos(sum).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(seconds, counts.iter().sum(), &buckets, None)
    }

    fn exemplars(&self, labels: &str) -> Vec<Exemplified> {
        let mut latest: [Option<Exemplar>; BUCKETS] = [None; BUCKETS];
        for core in self.0.all() {
            let Ok(exemplars) = core.exemplars.lock() else { continue };
            for (kept, one) in latest.iter_mut().zip(exemplars.iter().flat_map(|all| all.iter())) {
                if one.is_some_and(|one| kept.is_none_or(|kept| kept.at < one.at)) {
                    *kept = *one;
                }
            }
        }
        let bound = |index: usize| BOUNDS.get(index).map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
        let comma = if labels.is_empty() { "" } else { "," };
        let lines = latest.iter().enumerate().filter_map(|(index, one)| {
            let line = format!("_bucket{{le=\"{}\"{comma}{labels}}} ", bound(index));
            Some(Exemplified { line, exemplar: one.as_ref()?.text() })
        });
        lines.collect()
    }
}
