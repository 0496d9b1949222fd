//! The load generator: drives calls at a running system, and measures times, CPU and memory.
//!
//! There are two ways to drive. A *closed loop* keeps a fixed number of calls in flight. It finds out how much work is
//! possible and what it costs; since it waits for slow answers, its times are no service levels. At a *fixed rate* each
//! call is due at a certain time, and its duration counts from then, even if it is sent later. So the figures contain
//! the time that other callers would have waited.

pub mod backlog;
mod bare;
pub mod calls;
pub mod cpu;
pub mod drive;
pub mod events_way;
pub mod hand_over;
mod order_events;
pub mod pay;
pub mod relate;
pub mod round;
pub mod seed;

use std::process::ExitCode;

use anyhow::Result;
use api::causes::Causes;
use time::OffsetDateTime;
use uuid::Uuid;

/// The settings of the floors' sessions with PostgreSQL, the same as order service's. Without them, the statements that
/// both send cost the server more.
pub const POSTGRES_SETTINGS: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// How a program of this crate ends. A failure is printed as a message with its causes, without a backtrace.
pub fn exit_code(program: &str, result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{program}: {}", Causes(error.as_ref()));
        ExitCode::FAILURE
    })
}

/// The time that a UUIDv7 was made at, to a millisecond.
#[must_use]
pub fn made_at(id: Uuid) -> OffsetDateTime {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    OffsetDateTime::UNIX_EPOCH + std::time::Duration::new(seconds, nanos)
}
