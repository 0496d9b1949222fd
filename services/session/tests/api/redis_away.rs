//! Without its Redis the service says so at once, lets nobody in, and is itself again when Redis is.

use std::time::{Duration, Instant};

use api::session::v1::{RevokeAllSessionsRequest, RevokeSessionRequest};
use testkit::{Lifetime, Port, Redis, RedisUse, State, not_serving, serving, state, wait_until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use types::Role;

use crate::harness::{Harness, SOON, refusal, refused, request_id, user_in};

/// Much less than the deadline of a call, much more than the limit of a command.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn assert_away<T: std::fmt::Debug>(reason: &str, call: impl Future<Output = Result<T, Status>>) {
    let begun = Instant::now();
    let status = call.await.unwrap_err();
    assert!(begun.elapsed() < AT_ONCE, "answered after {:?}: {status:?}", begun.elapsed());
    assert_eq!(refusal(&status), refused(Code::Unavailable, reason), "{status:?}");
    assert!(status.get_details_retry_info().is_some());
    assert!(!status.message().contains("127.0.0.1"), "{}", status.message());
}

#[tokio::test]
async fn while_redis_is_dead_or_hangs_calls_fail_fast_and_afterwards_sessions_are_still_there() {
    let state = State::for_run(&state::base()).await.unwrap();
    let redis = Redis::start(&state, RedisUse::Sessions, Port::Free, Lifetime::WithParent).await.unwrap();
    let limit = ["--redis-command-timeout", "200ms"];
    let harness = Harness::start_on(&redis.url(0), &limit).await;
    let user = harness.peer.sign_up(Role::Customer);
    // A slow machine may miss the limit now and then; the caller would come back as well.
    let patient = async || harness.log_in(&user).await;
    let login = wait_until(SOON, "a login", patient).await.unwrap();

    redis.process().kill().await.unwrap();
    let checks = harness.peer.checks();
    for _ in 0..3 {
        assert_away("DEPENDENCY_UNAVAILABLE", harness.log_in(&user)).await;
        assert_away("DEPENDENCY_UNAVAILABLE", harness.validate(&login.access_token)).await;
        assert_away("DEPENDENCY_UNAVAILABLE", harness.refresh(&login.refresh_token)).await;
        // Nobody is let in as anybody else: the verification itself is what fails.
        assert_away("SESSION_STORE_UNAVAILABLE", harness.list(&login, Default::default())).await;
    }
    assert_eq!(harness.peer.checks(), checks, "a password was checked without the throttle");
    let url = harness.session.url();
    wait_until(SOON, "health to say so", async || not_serving(&url).await).await.unwrap();

    redis.restart().await.unwrap();
    let valid = async || harness.validate(&login.access_token).await;
    wait_until(SOON, "the session to be there", valid).await.unwrap();
    wait_until(SOON, "health", async || serving(&url).await).await.unwrap();

    redis.process().pause().unwrap();
    for _ in 0..2 {
        assert_away("DEPENDENCY_UNAVAILABLE", harness.validate(&login.access_token)).await;
        assert_away("SESSION_STORE_UNAVAILABLE", harness.list(&login, Default::default())).await;
    }
    redis.process().resume().unwrap();
    wait_until(SOON, "the session to be there", valid).await.unwrap();
    let refreshed = async || harness.refresh(&login.refresh_token).await;
    wait_until(SOON, "a refresh", refreshed).await.unwrap();
    drop(harness);
    drop(redis);
    state.remove().unwrap();
}

#[tokio::test]
async fn a_full_redis_refuses_logins_and_still_ends_sessions() {
    let state = State::for_run(&state::base()).await.unwrap();
    let redis = Redis::start(&state, RedisUse::Sessions, Port::Free, Lifetime::WithParent).await.unwrap();
    let harness = Harness::start_on(&redis.url(0), &[]).await;
    let (user, login) = harness.somebody().await;
    // The admin's request id is claimed in another partition than that of the sessions that end.
    let admin = harness.peer.sign_up_as(user_in(1), Role::Admin);
    let admin = harness.log_in(&admin).await.unwrap();
    let ann = harness.peer.sign_up_as(user_in(2), Role::Customer);
    let ann_first = harness.log_in(&ann).await.unwrap();
    let ann_second = harness.log_in(&ann).await.unwrap();
    harness.redis(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_away("STORAGE_UNAVAILABLE", harness.log_in(&user)).await;
    assert_away("STORAGE_UNAVAILABLE", harness.refresh(&login.refresh_token)).await;
    harness.validate(&login.access_token).await.unwrap();
    let one = RevokeSessionRequest {
        request_id: request_id(),
        session_id: ann_first.session.unwrap().id,
        user_id: ann.id.to_string(),
    };
    harness.revoke(&admin, one).await.unwrap();
    assert_eq!(harness.own_sessions(&ann_second).await, [ann_second.session.clone().unwrap().id]);
    let of_ann = RevokeAllSessionsRequest { request_id: request_id(), user_id: ann.id.to_string() };
    assert_eq!(harness.revoke_all(&admin, of_ann).await.unwrap().into_inner().revoked_count, 1);
    assert_eq!(harness.validate(&ann_second.access_token).await.unwrap_err().code(), Code::Unauthenticated);
    let all = RevokeAllSessionsRequest { request_id: request_id(), ..Default::default() };
    assert_eq!(harness.revoke_all(&login, all).await.unwrap().into_inner().revoked_count, 1);
    assert_eq!(harness.validate(&login.access_token).await.unwrap_err().code(), Code::Unauthenticated);
    // Caches in other services hear of it.
    let told = harness.events_of(user.id).await.pop().unwrap();
    assert_eq!(told.new.event_type, "session.v1.AllSessionsRevoked");
    harness.redis(&["CONFIG", "SET", "maxmemory", "0"]).await;
    harness.log_in(&user).await.unwrap();
    drop(harness);
    drop(redis);
    state.remove().unwrap();
}
