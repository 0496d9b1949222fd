//! What the load generator has measured in a stretch of time. It is a crate of its own so that `cargo xtask`, which reads
//! it, need not be built with all that the load generator needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The result of a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// How long it was.
    pub seconds: f64,
    /// Calls or events that were done.
    pub done: u64,
    /// Calls that failed, by code.
    pub errors: BTreeMap<String, u64>,
    /// The time that half of them took at most, in milliseconds.
    pub p50_ms: f64,
    /// The time that nine of ten took at most.
    pub p90_ms: f64,
    /// The time that 99 of 100 took at most.
    pub p99_ms: f64,
    /// The longest.
    pub longest_ms: f64,
    /// What the watched processes used.
    pub processes: BTreeMap<String, Used>,
}

/// What a process used in a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// CPU time in microseconds.
    pub cpu_us: f64,
    /// Memory at its end, in MiB.
    pub resident_mib: f64,
}

impl Round {
    /// Calls or events in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.seconds
    }

    /// Whether something was done, and nothing failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.done > 0 && self.errors.is_empty()
    }

    /// The result as lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { p50_ms, p90_ms, p99_ms, longest_ms, .. } = self;
        let mut lines = vec![format!("done {}  rate {:.0}/s", self.done, self.rate())];
        lines.push(format!(
            "p50 {p50_ms:.2} ms  p90 {p90_ms:.2} ms  p99 {p99_ms:.2} ms  max {longest_ms:.2} ms"
        ));
        lines.extend(self.processes.iter().map(|(name, used)| {
            let each = used.cpu_us / self.done.max(1) as f64;
            format!("{name}: {each:.1} us of CPU each, {:.1} MiB", used.resident_mib)
        }));
        lines.extend(self.errors.iter().map(|(code, count)| format!("{code} {count}")));
        lines
    }
}
