use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use auth::token::AccessToken;
use auth::{CacheConfig, CachingVerifier, Person, SessionVerifier, Verified, VerifyError};
use events::{Aggregate, Headers, NewEvent};
use prost::{Message, Name};
use time::OffsetDateTime;
use types::{Clock as _, EventId, Role, SystemClock};
use uuid::Uuid;

use super::*;

const USER: UserId = UserId::from_uuid(Uuid::from_u128(1));
const SESSION: SessionId = SessionId::from_uuid(Uuid::from_u128(2));
const OTHER: Uuid = Uuid::from_u128(9);

/// Session service, counting how often it is asked.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicU32>);

impl SessionVerifier for Asked {
    async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let person = Person { user_id: USER, role: Role::Customer, session_id: SESSION };
        Ok(Verified { person, expires_at: SystemClock.now() + time::Duration::HOUR })
    }
}

struct Guarded {
    guard: SessionGuard,
    cache: SessionCache,
    verifier: CachingVerifier<Asked>,
    asked: Asked,
    token: AccessToken,
}

impl Guarded {
    fn new() -> Self {
        let cache = SessionCache::new(CacheConfig::default(), Arc::new(SystemClock));
        let asked = Asked::default();
        Self {
            guard: SessionGuard::new(cache.clone()),
            verifier: CachingVerifier::new(asked.clone(), cache.clone()),
            cache,
            asked,
            token: AccessToken::generate(0),
        }
    }

    /// All streams are heard, and the session is cached.
    async fn warm() -> Self {
        let guarded = Self::new();
        streams().for_each(|stream| guarded.guard.on_live(&stream, true));
        assert_eq!(guarded.asked_by_two_calls().await, 1);
        assert_eq!(guarded.asked_by_two_calls().await, 0);
        guarded
    }

    /// How often session service was asked during two calls.
    async fn asked_by_two_calls(&self) -> u32 {
        let before = self.asked.0.load(Ordering::Relaxed);
        for _ in 0..2 {
            self.verifier.verify(&self.token).await.unwrap();
        }
        self.asked.0.load(Ordering::Relaxed) - before
    }
}

/// Whether a cached session is verified anew after this event.
async fn ends_the_session(event: &Event) -> bool {
    let guarded = Guarded::warm().await;
    guarded.guard.on_event(event);
    let asked = guarded.asked_by_two_calls().await;
    assert!(guarded.cache.is_enabled() && asked <= 1, "the cache goes on");
    asked == 1
}

fn event<M: Message + Name>(payload: &M) -> Event {
    let (id, at) = (EventId::from_uuid(Uuid::from_u128(3)), OffsetDateTime::UNIX_EPOCH);
    let aggregate = Aggregate::new("user_sessions", USER);
    Event {
        stream: "session-01".to_owned(),
        epoch: Uuid::from_u128(4),
        position: 1,
        previous: None,
        new: NewEvent::new(id, aggregate, 1, payload, Headers::default(), at),
    }
}

fn created(session: &dyn Display, user: &dyn Display) -> Event {
    event(&SessionCreated { session_id: session.to_string(), user_id: user.to_string() })
}

fn refreshed(session: &dyn Display, user: &dyn Display) -> Event {
    event(&SessionRefreshed { session_id: session.to_string(), user_id: user.to_string() })
}

fn revoked(session: &dyn Display, user: &dyn Display) -> Event {
    let (session_id, user_id) = (session.to_string(), user.to_string());
    event(&SessionRevoked { session_id, user_id, ..SessionRevoked::default() })
}

fn all_revoked(user: &dyn Display) -> Event {
    event(&AllSessionsRevoked { user_id: user.to_string(), auth_epoch: 2 })
}

#[tokio::test]
async fn a_revoked_session_ends_and_no_other_does() {
    assert!(ends_the_session(&revoked(&SESSION, &USER)).await);
    assert!(!ends_the_session(&revoked(&OTHER, &USER)).await);
}

#[tokio::test]
async fn a_refreshed_session_is_verified_anew_and_no_other_is() {
    assert!(ends_the_session(&refreshed(&SESSION, &USER)).await);
    assert!(!ends_the_session(&refreshed(&OTHER, &USER)).await);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_and_nobody_elses_do() {
    assert!(ends_the_session(&all_revoked(&USER)).await);
    assert!(!ends_the_session(&all_revoked(&OTHER)).await);
}

#[tokio::test]
async fn a_new_session_ends_nothing() {
    assert!(!ends_the_session(&created(&SESSION, &USER)).await);
}

#[tokio::test]
async fn an_event_of_an_unknown_type_may_have_ended_any_session() {
    let mut unknown = created(&OTHER, &OTHER);
    for event_type in ["session.v1.SessionSuspended", "session.v2.SessionCreated", "SessionCreated", ""] {
        unknown.new.event_type = event_type.to_owned();
        assert!(ends_the_session(&unknown).await, "{event_type}");
    }
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_may_have_ended_any_session() {
    for readable in
        [created(&OTHER, &OTHER), refreshed(&OTHER, &OTHER), revoked(&OTHER, &OTHER), all_revoked(&OTHER)]
    {
        assert!(!ends_the_session(&readable).await, "{}", readable.new.event_type);
        let mut malformed = readable.clone();
        malformed.new.payload = vec![0xff].into();
        let mut newer = readable;
        newer.new.schema_version += 1;
        for unreadable in [malformed, newer] {
            assert!(ends_the_session(&unreadable).await, "{unreadable:?}");
        }
    }
}

#[tokio::test]
async fn an_id_that_is_none_may_be_anybodys() {
    for nonsense in ["", "x", "00000000-0000-0000-0000-00000000000"] {
        for event in [refreshed(&nonsense, &USER), revoked(&nonsense, &USER), all_revoked(&nonsense)] {
            assert!(ends_the_session(&event).await, "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_may_have_missed_something_ends_all_sessions() {
    for stream in ["session-03", "session-16", ""] {
        let guarded = Guarded::warm().await;
        guarded.guard.on_clear(stream);
        assert_eq!(guarded.asked_by_two_calls().await, 1, "{stream}");
    }
}

#[tokio::test]
async fn nothing_is_cached_until_all_streams_are_heard() {
    let guarded = Guarded::new();
    assert_eq!(guarded.asked_by_two_calls().await, 2);
    let streams: Vec<_> = streams().collect();
    assert_eq!((streams.len(), &*streams[0], &*streams[15]), (16, "session-00", "session-15"));
    for stream in &streams {
        assert!(!guarded.cache.is_enabled());
        assert_eq!(guarded.asked_by_two_calls().await, 2);
        guarded.guard.on_live(stream, true);
    }
    assert!(guarded.cache.is_enabled());
    assert_eq!(guarded.asked_by_two_calls().await, 1);
}

#[tokio::test]
async fn nothing_is_cached_while_one_stream_is_silent_nor_kept_over_its_silence() {
    let guarded = Guarded::warm().await;
    guarded.guard.on_live("session-07", false);
    assert!(!guarded.cache.is_enabled());
    assert_eq!(guarded.asked_by_two_calls().await, 2);
    guarded.guard.on_live("session-07", true);
    assert!(guarded.cache.is_enabled());
    assert_eq!(guarded.asked_by_two_calls().await, 1);
}

#[tokio::test]
async fn an_unknown_stream_stands_for_none_of_session_services() {
    let guarded = Guarded::new();
    streams().skip(1).for_each(|stream| guarded.guard.on_live(&stream, true));
    for unknown in ["session-16", "session-0", "session-007", "user", ""] {
        guarded.guard.on_live(unknown, true);
        assert!(!guarded.cache.is_enabled(), "{unknown}");
    }
    guarded.guard.on_live("session-00", true);
    assert!(guarded.cache.is_enabled());
    guarded.guard.on_live("session-16", false);
    assert!(!guarded.cache.is_enabled(), "whether the cache depends on it is not known");
}

#[test]
fn a_cache_that_was_on_is_off_until_the_streams_are_heard() {
    let cache = SessionCache::new(CacheConfig::default(), Arc::new(SystemClock));
    cache.set_enabled(true);
    let _guard = SessionGuard::new(cache.clone());
    assert!(!cache.is_enabled());
}
