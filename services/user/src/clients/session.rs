//! Session service's events, which keep the cache of verified sessions honest: an answer that was right when it was
//! given is dropped when it stops being right. While any of the streams is silent, nothing is cached at all.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use api::session::v1::{AllSessionsRevoked, SessionRefreshed, SessionRevoked};
use auth::SessionCache;
use events::{Event, Listener};

/// Sessions are spread over so many streams, fixed for ever.
const PARTITIONS: usize = 16;

/// The streams of session service.
pub(crate) fn streams() -> impl Iterator<Item = String> {
    (0..PARTITIONS).map(|partition| format!("session-{partition:02}"))
}

/// Drops from the cache what events say is over.
#[derive(Debug)]
pub(crate) struct Revocations {
    sessions: SessionCache,
    live: Mutex<HashSet<String>>,
}

impl Revocations {
    /// Guards this cache, which is off until all streams are heard.
    pub(crate) fn new(sessions: SessionCache) -> Self {
        sessions.set_enabled(false);
        Self { sessions, live: Mutex::default() }
    }
}

impl Listener for Revocations {
    fn on_event(&self, event: &Event) {
        if let Some(refreshed) = event.decode::<SessionRefreshed>() {
            self.forget_session(refreshed.map(|refreshed| refreshed.session_id));
        } else if let Some(revoked) = event.decode::<SessionRevoked>() {
            self.forget_session(revoked.map(|revoked| revoked.session_id));
        } else if let Some(revoked) = event.decode::<AllSessionsRevoked>() {
            match revoked.ok().and_then(|revoked| revoked.user_id.parse().ok()) {
                Some(user) => self.sessions.invalidate_user(user),
                None => self.sessions.clear(),
            }
        }
    }

    fn on_clear(&self, _stream: &str) {
        self.sessions.clear();
    }

    fn on_live(&self, stream: &str, live: bool) {
        let mut streams = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live {
            streams.insert(stream.to_owned());
        } else {
            streams.remove(stream);
        }
        self.sessions.set_enabled(streams.len() == PARTITIONS);
    }
}

impl Revocations {
    /// What cannot be read may be anybody's.
    fn forget_session<E>(&self, session_id: Result<String, E>) {
        match session_id.ok().and_then(|id| id.parse().ok()) {
            Some(session) => self.sessions.invalidate_session(session),
            None => self.sessions.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use auth::token::AccessToken;
    use auth::{CacheConfig, CachingVerifier, Person, SessionVerifier, Verified, VerifyError};
    use events::{Aggregate, Headers, NewEvent};
    use prost::{Message, Name};
    use time::OffsetDateTime;
    use types::{Clock as _, EventId, Role, SessionId, SystemClock, UserId};
    use uuid::Uuid;

    use super::*;

    const USER: UserId = UserId::from_uuid(Uuid::from_u128(1));
    const SESSION: SessionId = SessionId::from_uuid(Uuid::from_u128(2));

    /// Session service, counting how often it is asked.
    #[derive(Clone, Default)]
    struct Asked(Arc<Mutex<u32>>);

    impl SessionVerifier for Asked {
        async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
            *self.0.lock().unwrap() += 1;
            let person = Person { user_id: USER, role: Role::Customer, session_id: SESSION };
            Ok(Verified { person, expires_at: SystemClock.now() + time::Duration::HOUR })
        }
    }

    struct Cache {
        revocations: Revocations,
        verifier: CachingVerifier<Asked>,
        asked: Asked,
        token: AccessToken,
    }

    impl Cache {
        fn new() -> Self {
            let cache = SessionCache::new(CacheConfig::default(), Arc::new(SystemClock));
            let asked = Asked::default();
            Self {
                revocations: Revocations::new(cache.clone()),
                verifier: CachingVerifier::new(asked.clone(), cache),
                asked,
                token: AccessToken::generate(0),
            }
        }

        fn live() -> Self {
            let cache = Self::new();
            streams().for_each(|stream| cache.revocations.on_live(&stream, true));
            cache
        }

        /// How often session service was asked during two calls.
        async fn asked_by_two_calls(&self) -> u32 {
            let before = *self.asked.0.lock().unwrap();
            for _ in 0..2 {
                self.verifier.verify(&self.token).await.unwrap();
            }
            *self.asked.0.lock().unwrap() - before
        }
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

    #[tokio::test]
    async fn nothing_is_cached_until_all_streams_are_heard() {
        let cache = Cache::new();
        assert_eq!(cache.asked_by_two_calls().await, 2);
        for stream in streams().skip(1) {
            cache.revocations.on_live(&stream, true);
        }
        assert_eq!(cache.asked_by_two_calls().await, 2);
        cache.revocations.on_live("session-00", true);
        assert_eq!(cache.asked_by_two_calls().await, 1);
        cache.revocations.on_live("session-07", false);
        assert_eq!(cache.asked_by_two_calls().await, 2);
    }

    #[tokio::test]
    async fn what_ends_a_session_ends_it_here() {
        let (session_id, user_id) = (SESSION.to_string(), USER.to_string());
        let revoked = event(&SessionRevoked { session_id: session_id.clone(), ..SessionRevoked::default() });
        let refreshed = event(&SessionRefreshed { session_id, user_id: user_id.clone() });
        let all = event(&AllSessionsRevoked { user_id, auth_epoch: 2 });
        let mut broken = revoked.clone();
        broken.new.payload = vec![0xff].into();
        for event in [revoked, refreshed, all, broken] {
            let cache = Cache::live();
            assert_eq!(cache.asked_by_two_calls().await, 1);
            assert_eq!(cache.asked_by_two_calls().await, 0);
            cache.revocations.on_event(&event);
            assert_eq!(cache.asked_by_two_calls().await, 1, "{}", event.new.event_type);
        }
        let cache = Cache::live();
        cache.asked_by_two_calls().await;
        cache.revocations.on_clear("session-03");
        assert_eq!(cache.asked_by_two_calls().await, 1);
    }

    #[tokio::test]
    async fn another_session_is_left_alone() {
        let cache = Cache::live();
        cache.asked_by_two_calls().await;
        let other =
            SessionRevoked { session_id: Uuid::from_u128(9).to_string(), ..SessionRevoked::default() };
        cache.revocations.on_event(&event(&other));
        assert_eq!(cache.asked_by_two_calls().await, 0);
    }
}
