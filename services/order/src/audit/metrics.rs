//! What is told of the audits. Any replica may have made the last one, so each reads how it ended.

use metrics::{Counter, Family, Gauge, OTHER, number};

use crate::domain::audit_outcome::{Drift, Known};

static DRIFT: Family<Gauge, 1> = Family::new(
    "ledger_drift",
    "What the last audit found in the books that must not be there, by what it is about.",
    ["check"],
    CHECKS.len() + 1,
);
static LAST_SUCCESS: Family<Gauge, 1> = Family::new(
    "audit_last_success_timestamp_seconds",
    "When the last audit ended, or the last one of everything began, in seconds since 1970.",
    ["scope"],
    SCOPES.len(),
);
static FAILURES: Family<Counter, 1> =
    Family::new("audit_failures_total", "Audits that came to no end.", ["scope"], SCOPES.len());

/// The first words of what findings are about.
const CHECKS: [&str; 7] = ["account", "wallet", "transfer", "posting", "order", "hold", "sums"];
const SCOPES: [&str; 2] = [NEW, FULL];
const NEW: &str = "new";
const FULL: &str = "full";

/// The audits of this process.
#[derive(Debug)]
pub(super) struct AuditMetrics {
    failures: [Counter; 2],
}

impl AuditMetrics {
    pub(super) fn new() -> Self {
        Self { failures: SCOPES.map(|scope| FAILURES.with([scope])) }
    }

    /// An audit came to no end.
    pub(super) fn failed(&self, is_full: bool) {
        let [new, full] = &self.failures;
        if is_full { full } else { new }.increment();
    }

    /// The last that is known of the books.
    pub(super) fn known(&self, known: &Known) {
        let at = |time: time::OffsetDateTime| time.unix_timestamp_nanos() as f64 / 1e9;
        if let Some(full_at) = known.full_at {
            LAST_SUCCESS.with([FULL]).set(at(full_at));
        }
        let Some(last) = &known.last else { return };
        LAST_SUCCESS.with([NEW]).set(at(last.ended_at));
        let findings = &last.outcome.findings;
        for check in CHECKS {
            let of_check = findings.iter().filter(|drift| check_of(drift) == check).count();
            DRIFT.with([check]).set(number(of_check));
        }
        let more = usize::try_from(last.outcome.more_findings).unwrap_or_default();
        let others = findings.iter().filter(|drift| check_of(drift) == OTHER).count();
        DRIFT.with([OTHER]).set(number(others + more));
    }
}

fn check_of(drift: &Drift) -> &'static str {
    let word = drift.subject.split(' ').next().unwrap_or_default();
    CHECKS.into_iter().find(|check| *check == word).unwrap_or(OTHER)
}
