//! The verifier that services use: the cache in front of whoever keeps the sessions.

use metrics::Counter;

use super::SessionCache;
use crate::token::AccessToken;
use crate::verifier::cached;
use crate::{CountedVerifier, SessionVerifier, Verified, VerifyError};

/// A verifier that asks another one only when the cache does not know. Only good answers are kept.
#[derive(Debug, Clone)]
pub struct CachingVerifier<V> {
    inner: CountedVerifier<V>,
    cache: SessionCache,
    cached: Counter,
}

impl<V> CachingVerifier<V> {
    /// Wraps a verifier.
    pub fn new(inner: V, cache: SessionCache) -> Self {
        Self { inner: CountedVerifier::new(inner), cache, cached: cached() }
    }
}

impl<V: SessionVerifier> SessionVerifier for CachingVerifier<V> {
    async fn verify(&self, token: &AccessToken) -> Result<Verified, VerifyError> {
        let key = token.hash();
        let began = self.cache.begin();
        if let Some(verified) = self.cache.get(&key, began.at) {
            self.cached.increment();
            return Ok(verified);
        }
        let verified = self.inner.verify(token).await?;
        self.cache.keep(key, began, verified);
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use time::OffsetDateTime;
    use tokio::sync::Semaphore;
    use types::{ManualClock, Role, SessionId, UserId};
    use uuid::Uuid;

    use super::super::{CacheConfig, MARKS_MAX};
    use super::*;
    use crate::Person;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// Answers when it gets a permit, and counts.
    #[derive(Clone)]
    struct Store {
        permits: Arc<Semaphore>,
        calls: Arc<AtomicUsize>,
    }

    impl SessionVerifier for Store {
        async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
            let person = Person {
                user_id: UserId::from_uuid(Uuid::from_u128(1)),
                role: Role::Customer,
                session_id: SessionId::from_uuid(Uuid::from_u128(2)),
            };
            Ok(Verified { person, expires_at: START + Duration::from_secs(60) })
        }
    }

    struct Fixture {
        verifier: CachingVerifier<Store>,
        clock: Arc<ManualClock>,
        token: AccessToken,
    }

    impl Fixture {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::at(START));
            let store = Store { permits: Arc::new(Semaphore::new(100)), calls: Arc::default() };
            let cache = SessionCache::new(CacheConfig::default(), clock.clone());
            cache.set_enabled(true);
            let verifier = CachingVerifier::new(store, cache);
            Self { verifier, clock, token: AccessToken::generate(1) }
        }

        /// How often the store was asked for one more verification.
        async fn asked(&self) -> usize {
            let before = self.verifier.inner.inner().calls.load(Ordering::SeqCst);
            self.verifier.verify(&self.token).await.unwrap();
            self.verifier.inner.inner().calls.load(Ordering::SeqCst) - before
        }
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_seconds_and_never_beyond_its_end() {
        let fixture = Fixture::new();
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0));
        fixture.clock.advance(time::Duration::seconds(5));
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0));
        fixture.clock.advance(time::Duration::seconds(55));
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 1), "the token has expired");
    }

    #[tokio::test]
    async fn an_invalidation_drops_what_it_names_and_nothing_else() {
        let fixture = Fixture::new();
        let (user, session) =
            (UserId::from_uuid(Uuid::from_u128(1)), SessionId::from_uuid(Uuid::from_u128(2)));
        let cache = &fixture.verifier.cache;
        fixture.asked().await;
        cache.invalidate_user(UserId::from_uuid(Uuid::from_u128(9)));
        assert_eq!(fixture.asked().await, 0);
        cache.invalidate_user(user);
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0));
        cache.invalidate_session(session);
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0));
        cache.clear();
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0));
    }

    #[tokio::test]
    async fn a_verification_that_began_before_an_invalidation_is_not_kept_after_it() {
        let session = SessionId::from_uuid(Uuid::from_u128(2));
        let user = UserId::from_uuid(Uuid::from_u128(1));
        let invalidations: [Invalidate<'_>; 4] = [
            &|cache| cache.invalidate_session(session),
            &|cache| cache.invalidate_user(user),
            &SessionCache::clear,
            &|cache| {
                cache.set_enabled(false);
                cache.set_enabled(true);
            },
        ];
        for invalidate in invalidations {
            let fixture = Fixture::new();
            let store = fixture.verifier.inner.inner();
            store.permits.forget_permits(100);
            let mut slow = poll_once(fixture.verifier.verify(&fixture.token));
            assert!(slow.is_pending(), "the store has been asked and has not answered");
            invalidate(&fixture.verifier.cache);
            store.permits.add_permits(100);
            slow.finish().await.unwrap();
            assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0));
        }
    }

    #[tokio::test]
    async fn while_it_is_off_every_call_verifies() {
        let fixture = Fixture::new();
        fixture.asked().await;
        fixture.verifier.cache.set_enabled(false);
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 1));
        fixture.verifier.cache.set_enabled(true);
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0), "what was kept before is void");
    }

    #[tokio::test]
    async fn too_many_marks_void_everything_rather_than_nothing() {
        let fixture = Fixture::new();
        fixture.asked().await;
        for id in 0..=MARKS_MAX {
            fixture.verifier.cache.invalidate_user(UserId::from_uuid(Uuid::from_u128(100 + id as u128)));
        }
        assert_eq!((fixture.asked().await, fixture.asked().await), (1, 0));
        assert!(fixture.verifier.cache.marks().in_order.len() < MARKS_MAX);
    }

    type Invalidate<'a> = &'a dyn Fn(&SessionCache);

    /// A future that was polled once.
    struct PolledOnce<F>(std::pin::Pin<Box<F>>, bool);

    fn poll_once<F: Future>(future: F) -> PolledOnce<F> {
        let mut future = Box::pin(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let pending = future.as_mut().poll(&mut context).is_pending();
        PolledOnce(future, pending)
    }

    impl<F: Future> PolledOnce<F> {
        fn is_pending(&self) -> bool {
            self.1
        }

        async fn finish(&mut self) -> F::Output {
            self.0.as_mut().await
        }
    }
}
