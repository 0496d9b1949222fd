//! What is measured of every database, whichever driver talks to it.

use std::time::Duration;

use crate::{Counter, Family, Histogram, MeasuredGauge, OTHER, number};

static OPERATIONS: Family<Histogram, 2> = Family::new(
    "db_client_operation_duration_seconds",
    "How long the database takes for an operation, its way there and back included.",
    ["db_system_name", "db_operation_name"],
    24,
);
static CONNECTIONS: Family<MeasuredGauge, 2> =
    Family::new("db_client_connection_count", "Connections that are open.", ["pool", "state"], 8);
static MOST: Family<MeasuredGauge, 1> =
    Family::new("db_client_connection_max", "Connections that may be open.", ["pool"], 4);
static WAITS: Family<Histogram, 1> = Family::new(
    "db_client_connection_wait_time_seconds",
    "How long it takes until a connection is free.",
    ["pool"],
    4,
);
static TIMEOUTS: Family<Counter, 1> = Family::new(
    "db_client_connection_timeouts_total",
    "How often no connection became free in time.",
    ["pool"],
    4,
);

/// The operations of one database system, by name. Whatever has another name counts as `_OTHER`.
#[derive(Debug)]
pub struct Operations {
    named: Vec<(&'static str, Histogram)>,
    other: Histogram,
}

impl Operations {
    /// Of a system by OpenTelemetry's name for it, such as `postgresql`.
    #[must_use]
    pub fn of(system: &str, names: &[&'static str]) -> Self {
        let named = names.iter().map(|name| (*name, OPERATIONS.with([system, name]))).collect();
        Self { named, other: OPERATIONS.with([system, OTHER]) }
    }

    /// One of them took so long. Small and capital letters are the same.
    pub fn observe(&self, name: &str, duration: Duration) {
        let named = self.named.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
        named.map_or(&self.other, |(_, histogram)| histogram).observe(duration);
    }
}

/// How many connections a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// All that are open.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// How many there may be.
    pub most: usize,
}

/// Whoever waits for the connections of one pool.
#[derive(Debug, Clone)]
pub struct Waits {
    waits: Histogram,
    timeouts: Counter,
}

impl Waits {
    /// Of the pool with this name. Its connections are counted by `count` whenever somebody asks, until that says `None`.
    pub fn of(pool: &str, count: impl Fn() -> Option<Connections> + Clone + Send + Sync + 'static) -> Self {
        let measure = |what: fn(Connections) -> usize| {
            let count = count.clone();
            move || Some(number(what(count()?)))
        };
        CONNECTIONS.measure([pool, "idle"], measure(|all| all.idle));
        CONNECTIONS.measure([pool, "used"], measure(|all| all.open.saturating_sub(all.idle)));
        MOST.measure([pool], measure(|all| all.most));
        Self { waits: WAITS.with([pool]), timeouts: TIMEOUTS.with([pool]) }
    }

    /// A connection was free after so long.
    pub fn got(&self, after: Duration) {
        self.waits.observe(after);
    }

    /// None became free in time.
    pub fn gave_up(&self) {
        self.timeouts.increment();
    }
}
