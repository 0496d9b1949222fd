//! Whether a database has the time of this machine.

use std::time::Duration;

use time::OffsetDateTime;
use types::{Clock as _, SystemClock};

use super::Seen;

const OFF_MAX: Duration = Duration::from_secs(1);

/// Compares the time that `read` is told with this machine's, as that was in the middle of the question.
///
/// # Errors
/// Those of `read`.
pub async fn clock_seen<E>(read: impl Future<Output = Result<OffsetDateTime, E>>) -> Result<Seen, E> {
    let before = SystemClock.now();
    let theirs = read.await?;
    let ours: OffsetDateTime = before + (SystemClock.now() - before) / 2;
    let off = (theirs - ours).unsigned_abs();
    let side = if theirs > ours { "ahead" } else { "behind" };
    let found = format!("{:.3} s {side}", off.as_secs_f64());
    Ok(if off <= OFF_MAX {
        Seen::ok(found)
    } else {
        Seen::failed(found, "set both machines' clocks by NTP, and look with: chronyc tracking")
    })
}
