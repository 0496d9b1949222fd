//! What is counted and measured of transfers.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{Counter, Family, Gauge, Held, Histogram, TraceId, number};

use crate::domain::transfer::{Kind, State, Transfer};
use crate::storage::Ages;

static TRANSFERS: Family<Counter, 2> =
    Family::new("transfers_total", "Transfers that have ended.", ["kind", "outcome"], 4);
static DURATION: Family<Histogram, 2> = Family::new(
    "transfer_duration_seconds",
    "From when a transfer was begun to its end.",
    ["kind", "outcome"],
    4,
);
static OLDEST_UNDECIDED: Family<Gauge, 0> = Family::new(
    "transfer_oldest_undecided_seconds",
    "How long ago the oldest transfer was begun that is not decided; 0 when there is none.",
    [],
    1,
);
static OLDEST_UNFINISHED: Family<Gauge, 0> = Family::new(
    "transfer_oldest_unfinished_seconds",
    "How long ago the oldest transfer was decided that has not ended; 0 when there is none.",
    [],
    1,
);
static NEEDING_OPERATOR: Family<Gauge, 0> =
    Family::new("transfers_needing_operator", "Transfers that an operator must look at.", [], 1);

static ENDS: LazyLock<Vec<(Kind, State, Counter, Histogram)>> = LazyLock::new(|| {
    let outcomes = [State::Completed, State::Cancelled];
    let of = |kind: Kind, state: State| {
        let labels = [kind.as_str(), state.as_str()];
        (kind, state, TRANSFERS.with(labels), DURATION.with(labels))
    };
    [Kind::Pay, Kind::Refund].into_iter().flat_map(|kind| outcomes.map(|state| of(kind, state))).collect()
});

/// Tells of all kinds of ends from now on, also of those that have not happened yet.
pub(super) fn begin() {
    LazyLock::force(&ENDS);
}

/// A transfer has ended, and that is committed. This trace, if it is recorded, shows how.
pub(super) fn ended(transfer: &Transfer, trace: Option<TraceId>) {
    let found = ENDS.iter().find(|(kind, state, ..)| *kind == transfer.kind && *state == transfer.state);
    if let Some((_, _, count, duration)) = found {
        count.increment();
        let took = Duration::try_from(transfer.updated_at - transfer.created_at).unwrap_or_default();
        match trace {
            Some(trace) => duration.observe_in(took, trace),
            None => duration.observe(took),
        }
    }
}

/// How old the transfers are that have not ended. Not told of while it is not known.
#[derive(Debug)]
pub(super) struct Unfinished {
    undecided: Held<Gauge, 0>,
    unfinished: Held<Gauge, 0>,
    needing_operator: Held<Gauge, 0>,
}

impl Unfinished {
    pub(super) fn new() -> Self {
        Self {
            undecided: OLDEST_UNDECIDED.held([]),
            unfinished: OLDEST_UNFINISHED.held([]),
            needing_operator: NEEDING_OPERATOR.held([]),
        }
    }

    pub(super) fn is(&self, ages: &Ages) {
        self.undecided.set(ages.undecided_seconds.unwrap_or_default());
        self.unfinished.set(ages.unfinished_seconds.unwrap_or_default());
        self.needing_operator.set(number(ages.needs_operator));
    }
}
