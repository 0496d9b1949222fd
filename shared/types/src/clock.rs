//! Time and ids come from outside, so that a test can set both. Leases and deadlines that several processes share use
//! their database's clock instead.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use time::{Duration, OffsetDateTime};
use uuid::{NoContext, Timestamp, Uuid};

/// Tells the time, in UTC.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> OffsetDateTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<OffsetDateTime>);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: OffsetDateTime) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock; a negative duration sets it back.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no holder of this lock panics");
        *now += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().expect("no holder of this lock panics")
    }
}

/// Makes ids.
pub trait IdSource: Send + Sync + 'static {
    /// A new UUIDv7, greater than every one that this source has made before.
    fn next(&self) -> Uuid;
}

/// Ids of the machine's clock and random generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Ids that are the same in every run.
#[derive(Debug)]
pub struct SeededIds(AtomicU64);

impl SeededIds {
    /// A source whose ids differ from those of every other seed.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self(AtomicU64::new(u64::from(seed) << 32))
    }
}

impl IdSource for SeededIds {
    fn next(&self) -> Uuid {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        let mut bytes =
            Uuid::new_v7(Timestamp::from_unix(NoContext, 1_700_000_000 + (count & 0xffff_ffff), 0))
                .into_bytes();
        bytes[8..].copy_from_slice(&count.to_be_bytes());
        uuid::Builder::from_bytes(bytes)
            .with_version(uuid::Version::SortRand)
            .with_variant(uuid::Variant::RFC4122)
            .into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved() {
        let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::hours(-1));
        assert_eq!(clock.now().unix_timestamp(), -3600);
    }

    #[test]
    fn seeded_ids_rise_and_differ_between_seeds() {
        let (one, two) = (SeededIds::new(1), SeededIds::new(2));
        let ids: Vec<_> = (0..100).map(|_| one.next()).collect();
        assert!(ids.is_sorted() && !ids.contains(&two.next()));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
