//! The load generator: drives calls at a running system, and measures times, CPU and memory.
//!
//! Two ways to drive. A *closed loop* keeps so many calls in flight: it finds out how much work there can be, and what
//! it costs; since it waits for slow answers, its times are no service levels. At a *fixed rate* each call has a time
//! at which it is due, and its time is counted from then, whether or not it could be sent: what others would have
//! waited is in the figures.

pub mod backlog;
mod bare;
pub mod calls;
pub mod cpu;
pub mod drive;
pub mod events_way;
mod order_events;
pub mod pay;
pub mod round;

use time::OffsetDateTime;
use uuid::Uuid;

/// What the floors set in their sessions with PostgreSQL, as order service does: without it, the statements that both
/// send cost the server more.
pub const POSTGRES_SETTINGS: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// The time that a UUIDv7 was made at, to a millisecond.
#[must_use]
pub fn made_at(id: Uuid) -> OffsetDateTime {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    OffsetDateTime::UNIX_EPOCH + std::time::Duration::new(seconds, nanos)
}
