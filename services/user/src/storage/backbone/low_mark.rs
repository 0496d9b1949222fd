//! Where the sequencer's scans begin. What was stamped leaves the index of pending events, but MongoDB keeps the keys of
//! what is gone for as long as snapshots may go back (`minSnapshotHistoryWindowInSeconds`, five minutes), and a scan from
//! the beginning walks over all of them.
//!
//! So where much was stamped and a scan from the beginning takes long, those after it begin at a mark: a little below what
//! the last one found.
//! Nothing is missed by it. What is committed below the mark, because its writer's clock is behind or its transaction took
//! long, is found by the next scan from the beginning, which comes every second, or less often if it takes very long.

use std::time::Duration;

use events::Lease;
use tokio::time::Instant;
use uuid::Uuid;

/// A scan from the beginning that takes no longer is cheap enough to be done each time.
const CHEAP: Duration = Duration::from_millis(5);
/// Fewer stamped events than this leave no keys that were worth passing over: what takes long then is something else.
const MANY: u64 = 1_000;
/// How often everything is scanned, at the most.
const FULL_EVERY: Duration = Duration::from_secs(1);
/// How much of the time may go into scans of everything: one part of so many.
const FULL_SHARE: u32 = 20;
/// How far below what was found the next scan begins: transactions end in another order than they began, and clocks differ.
const MARGIN: Duration = Duration::from_secs(1);

/// The mark of one sequencer.
#[derive(Debug)]
pub(in crate::storage) struct LowMark {
    /// Whose scans it is about: whoever takes the lease knows nothing of what was pending before.
    owner: Option<(Uuid, i64)>,
    low: Option<Uuid>,
    /// How many it has stamped.
    stamped: u64,
    /// When everything is scanned again.
    full_at: Instant,
    cheap: Duration,
    many: u64,
}

impl Default for LowMark {
    fn default() -> Self {
        Self { owner: None, low: None, stamped: 0, full_at: Instant::now(), cheap: CHEAP, many: MANY }
    }
}

/// One scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// The lowest id that it looks at; `None` for all.
    pub(super) from: Option<Uuid>,
    began: Instant,
}

impl LowMark {
    /// Begins a scan.
    pub(super) fn scan(&mut self, lease: &Lease) -> Scan {
        let (began, owner) = (Instant::now(), Some((lease.owner, lease.fence)));
        if self.owner != owner {
            (self.owner, self.low, self.stamped) = (owner, None, 0);
        }
        let is_full = self.low.is_none() || began >= self.full_at;
        if is_full {
            // Also when it fails, since it may have taken too long: those in between go on.
            self.full_at = began + FULL_EVERY;
        }
        Scan { from: self.low.filter(|_| !is_full), began }
    }

    /// So many that a scan found are stamped, and this was the lowest.
    pub(super) fn scanned(&mut self, scan: Scan, took: Duration, count: usize, lowest: Option<Uuid>) {
        self.stamped = self.stamped.saturating_add(count as u64);
        let below = lowest.map(|lowest| earlier(lowest, MARGIN));
        if scan.from.is_some() {
            self.low = self.low.max(below);
            return;
        }
        self.full_at = scan.began + FULL_EVERY.max(took * FULL_SHARE);
        self.low = if took > self.cheap && self.stamped >= self.many { below.or(self.low) } else { None };
    }

    /// A scan was given up: what it would have looked at is still to be looked at.
    pub(super) fn scan_again(&mut self, scan: Scan) {
        if scan.from.is_none() {
            self.full_at = scan.began;
        }
    }

    /// Everything is scanned again after this time, for tests.
    #[cfg(test)]
    pub(super) fn full_in(&mut self, time: Duration) {
        self.full_at = Instant::now() + time;
    }

    /// Every scan counts as slow.
    pub(in crate::storage) fn without_cheap_scans() -> Self {
        Self { cheap: Duration::ZERO, many: 0, ..Self::default() }
    }
}

impl Scan {
    /// How long it has taken.
    pub(super) fn took(self) -> Duration {
        self.began.elapsed()
    }
}

/// The lowest id that could have been made so long before another: those of version 7 begin with the milliseconds.
fn earlier(id: Uuid, by: Duration) -> Uuid {
    const REST: u32 = 80;
    let millis = u128::from(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    Uuid::from_u128((id.as_u128() >> REST).saturating_sub(millis) << REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(200);

    fn lease(fence: i64) -> Lease {
        Lease {
            stream: "user".to_owned(),
            owner: Uuid::from_u128(1),
            fence,
            epoch: Uuid::from_u128(2),
            head: 0,
            published_through: 0,
        }
    }

    /// An id that was made in this second.
    fn made_in(second: u128) -> Uuid {
        Uuid::from_u128(((second * 1000) << 80) | 7)
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_scanned_while_that_is_cheap() {
        let mut mark = LowMark::default();
        for _ in 0..3 {
            let scan = mark.scan(&lease(1));
            assert_eq!(scan.from, None);
            mark.scanned(scan, CHEAP, 5_000, Some(made_in(100)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_scanned_until_enough_is_stamped_to_be_in_the_way() {
        let mut mark = LowMark::default();
        for (count, is_marked) in [(999, false), (1, true)] {
            let scan = mark.scan(&lease(1));
            mark.scanned(scan, SLOW, count, Some(made_in(100)));
            assert_eq!(mark.scan(&lease(1)).from.is_some(), is_marked, "{count} more");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_slow_scan_the_next_ones_begin_at_a_mark_and_everything_is_scanned_now_and_then() {
        let mut mark = LowMark::default();
        let scan = mark.scan(&lease(1));
        mark.scanned(scan, SLOW, 1_000, Some(made_in(100)));
        let scan = mark.scan(&lease(1));
        let below = Uuid::from_u128(99_000 << 80);
        assert_eq!(scan.from, Some(below));
        mark.scanned(scan, Duration::ZERO, 1, Some(made_in(50)));
        assert_eq!(mark.scan(&lease(1)).from, Some(below), "a mark goes up only");
        mark.scanned(scan, Duration::ZERO, 1, Some(made_in(103)));
        assert_eq!(mark.scan(&lease(1)).from, Some(Uuid::from_u128(102_000 << 80)));
        // It took 200 ms, and may take a twentieth of the time.
        tokio::time::advance(Duration::from_millis(3_999)).await;
        assert!(mark.scan(&lease(1)).from.is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        let scan = mark.scan(&lease(1));
        assert_eq!(scan.from, None);
        // Its writer's clock is behind: from then on scans begin low enough for it.
        mark.scanned(scan, SLOW, 1_000, Some(made_in(20)));
        assert_eq!(mark.scan(&lease(1)).from, Some(Uuid::from_u128(19_000 << 80)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_of_everything_that_fails_is_not_done_again_at_once_and_a_new_lease_begins_with_one() {
        let mut mark = LowMark::default();
        let scan = mark.scan(&lease(1));
        mark.scanned(scan, SLOW, 1_000, Some(made_in(100)));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(mark.scan(&lease(1)).from, None);
        assert!(mark.scan(&lease(1)).from.is_some());
        assert_eq!(mark.scan(&lease(2)).from, None);
    }

    #[test]
    fn ids_that_are_no_times_have_a_mark_as_well() {
        assert_eq!(earlier(Uuid::from_u128(9), MARGIN), Uuid::nil());
    }
}
