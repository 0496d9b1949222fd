//! How long the server takes.

use std::time::{Duration, Instant};

use runtime::doctor::{Seen, Times};

use super::place::Place;

const TIMES: usize = 100;
const ROUND_TRIP: Duration = Duration::from_millis(5);
const COMMIT: Duration = Duration::from_millis(20);
/// A message in the log that no table has: its commit waits for the disk, and for a standby if there is one that it waits
/// for, as any other.
const COMMITTED: &str = "SELECT pg_logical_emit_message(true, 'order-service-doctor', '')::text";

pub(super) async fn round_trip(place: &Place) -> anyhow::Result<Seen> {
    timed(
        place,
        "SELECT pg_backend_pid()::text",
        ROUND_TRIP,
        "let the service and PostgreSQL be closer to each other",
    )
    .await
}

pub(super) async fn commit(place: &Place) -> anyhow::Result<Seen> {
    timed(place, COMMITTED, COMMIT, "a faster disk for pg_wal, or a closer synchronous standby").await
}

async fn timed(place: &Place, statement: &str, wanted: Duration, mend: &'static str) -> anyhow::Result<Seen> {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        let _: (String,) = place.row(statement).await?;
        times.push(began.elapsed());
    }
    let times = Times::of(times)?;
    let found = times.to_string();
    Ok(if times.p50() <= wanted { Seen::ok(found) } else { Seen::advice(found, mend) })
}
