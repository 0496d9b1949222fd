//! Verified sessions, kept for seconds.
//!
//! What makes this safe is that a revocation reaches the cache by an event, so that an answer that was right
//! when it was given is dropped when it stops being right. Each entry carries the generation at which its
//! verification began; an invalidation raises the generation and leaves a mark with it. An entry below the
//! mark of its session or user is void, also when it comes in after the mark. Marks are kept as long as an
//! entry could live; when there are too many, the floor is raised and everything older is void.

mod caching_verifier;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use moka::sync::Cache;
use time::OffsetDateTime;
use types::{Clock, SessionId, UserId};
use uuid::Uuid;

use crate::Verified;

pub use caching_verifier::CachingVerifier;

const MARKS_MAX: usize = 10_000;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct CacheConfig {
    /// How many sessions.
    pub capacity: u64,
    /// How long at most, counted from the beginning of the verification.
    pub ttl: std::time::Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { capacity: 50_000, ttl: std::time::Duration::from_secs(5) }
    }
}

/// The cache itself: one for all cores, since the events that invalidate it are read on one of them.
#[derive(Clone)]
pub struct SessionCache(Arc<State>);

struct State {
    entries: Cache<[u8; 32], Entry, BuildHasherDefault<FirstBytes>>,
    clock: Arc<dyn Clock>,
    ttl: std::time::Duration,
    enabled: AtomicBool,
    generation: AtomicU64,
    /// Entries below are void.
    floor: AtomicU64,
    mark_count: AtomicUsize,
    marks: Mutex<Marks>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    verified: Verified,
    generation: u64,
    began: OffsetDateTime,
}

#[derive(Default)]
struct Marks {
    generations: HashMap<Uuid, u64>,
    in_order: VecDeque<(OffsetDateTime, Uuid, u64)>,
}

/// A position in time before which nothing that was invalidated since may be kept.
#[derive(Debug, Clone, Copy)]
struct Began {
    generation: u64,
    at: OffsetDateTime,
}

impl SessionCache {
    /// An empty cache. It is off until somebody who hears what invalidates its entries switches it on.
    pub fn new(config: CacheConfig, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(State {
            entries: Cache::builder()
                .max_capacity(config.capacity)
                .time_to_live(config.ttl)
                .build_with_hasher(BuildHasherDefault::default()),
            clock,
            ttl: config.ttl,
            enabled: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            mark_count: AtomicUsize::new(0),
            marks: Mutex::default(),
        }))
    }

    /// Forgets a session, for good: also what is being verified at this moment.
    pub fn invalidate_session(&self, session: SessionId) {
        self.mark(session.uuid());
    }

    /// Forgets all sessions of a user.
    pub fn invalidate_user(&self, user: UserId) {
        self.mark(user.uuid());
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let generation = self.0.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.floor.fetch_max(generation, Ordering::SeqCst);
        self.0.entries.invalidate_all();
    }

    /// Switches the cache off while the events that invalidate it are silent, and on again, empty, when they
    /// flow.
    pub fn set_enabled(&self, enabled: bool) {
        if self.0.enabled.swap(enabled, Ordering::SeqCst) != enabled {
            self.clear();
        }
    }

    /// Whether answers are kept.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.enabled.load(Ordering::SeqCst)
    }

    fn begin(&self) -> Began {
        Began { generation: self.0.generation.load(Ordering::SeqCst), at: self.0.clock.now() }
    }

    fn get(&self, key: &[u8; 32], now: OffsetDateTime) -> Option<Verified> {
        if !self.is_enabled() {
            return None;
        }
        let entry = self.0.entries.get(key)?;
        let young = now - entry.began < self.0.ttl && now < entry.verified.expires_at;
        (young && !self.is_void(&entry)).then_some(entry.verified)
    }

    fn keep(&self, key: [u8; 32], began: Began, verified: Verified) {
        let entry = Entry { verified, generation: began.generation, began: began.at };
        if self.is_enabled() && !self.is_void(&entry) {
            self.0.entries.insert(key, entry);
        }
    }

    fn is_void(&self, entry: &Entry) -> bool {
        if entry.generation < self.0.floor.load(Ordering::SeqCst) {
            return true;
        }
        if self.0.mark_count.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let marks = self.marks();
        let person = &entry.verified.person;
        [person.session_id.uuid(), person.user_id.uuid()]
            .iter()
            .any(|id| marks.generations.get(id).is_some_and(|mark| entry.generation < *mark))
    }

    fn mark(&self, id: Uuid) {
        let mut marks = self.marks();
        let generation = self.0.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let now = self.0.clock.now();
        while let Some((at, id, generation)) = marks.in_order.front().copied() {
            if now - at <= self.0.ttl {
                break;
            }
            marks.in_order.pop_front();
            if marks.generations.get(&id) == Some(&generation) {
                marks.generations.remove(&id);
            }
        }
        if marks.in_order.len() >= MARKS_MAX {
            *marks = Marks::default();
            self.0.floor.fetch_max(generation, Ordering::SeqCst);
        } else {
            marks.generations.insert(id, generation);
            marks.in_order.push_back((now, id, generation));
        }
        self.0.mark_count.store(marks.in_order.len(), Ordering::SeqCst);
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.marks.lock().expect("no holder of this lock panics")
    }
}

impl std::fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").field("enabled", &self.is_enabled()).finish_non_exhaustive()
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use types::ManualClock;

    use super::*;

    #[test]
    fn marks_are_forgotten_when_no_entry_can_be_older() {
        let clock = Arc::new(ManualClock::at(OffsetDateTime::UNIX_EPOCH));
        let cache = SessionCache::new(CacheConfig::default(), clock.clone());
        cache.invalidate_user(UserId::from_uuid(Uuid::from_u128(1)));
        clock.advance(time::Duration::seconds(6));
        cache.invalidate_user(UserId::from_uuid(Uuid::from_u128(2)));
        let marks = cache.marks();
        assert_eq!((marks.in_order.len(), marks.generations.len()), (1, 1));
    }
}
