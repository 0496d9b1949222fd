//! The session streams: dense, complete, of one history.

use std::collections::HashMap;

use api::event::v1::{
    AcknowledgeRequest, HeadRequest, ReplayRequest, ResolveRequest, ResumeRequest, resume_response::History,
};
use api::session::v1::{RevokeAllSessionsRequest, RevokeSessionRequest, SessionCreated};
use events::bus::{Channel as _, Signal, Subscription};
use events::cloud_event::{Heard, from_channel};
use events::{Event, EventLog as _, RelayLease as _, Resolved};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use testkit::{Lifetime, Port, Redis, RedisUse, State, TestRedis, state, wait_until};
use tonic::Code;
use types::{EventId, Role};
use uuid::Uuid;

use crate::harness::{
    Harness, LoggedIn, SOON, USER_TOKEN, bearer, refusal, refused, request_id, stream_of, user_in,
};

/// Whether a stream holds together: positions 1, 2, 3, each event knowing the one before.
fn assert_dense(events: &[Event], stream: &str) {
    for (at, event) in events.iter().enumerate() {
        assert_eq!((event.stream.as_str(), event.position), (stream, i64::try_from(at).unwrap() + 1));
        assert_eq!(event.previous, at.checked_sub(1).map(|before| events[before].new.id));
        assert_eq!(event.epoch, events[0].epoch);
    }
    let mut versions: HashMap<_, i64> = HashMap::new();
    for event in events {
        let version = versions.entry(event.new.aggregate.clone()).or_default();
        *version += 1;
        assert_eq!(event.new.aggregate_version, *version);
        assert_eq!(event.new.aggregate.kind, "user_sessions");
    }
}

#[tokio::test]
async fn every_change_is_one_event_and_positions_are_dense_whatever_happens_at_once() {
    let harness = Harness::start().await;
    // One partition, so that all of them compete for positions.
    let users: Vec<_> = (0..12).map(|_| harness.peer.sign_up_as(user_in(5), Role::Customer)).collect();
    let changes = users.iter().map(async |user| {
        let first = harness.log_in(user).await.unwrap();
        let second = harness.log_in(user).await.unwrap();
        let refreshed = harness.refresh(&first.refresh_token).await.unwrap();
        let session_id = second.session.unwrap().id;
        let revoke = RevokeSessionRequest { request_id: request_id(), session_id, ..Default::default() };
        let caller = LoggedIn { access_token: refreshed.access_token, ..first };
        harness.revoke(&caller, revoke).await.unwrap();
        let all = RevokeAllSessionsRequest { request_id: request_id(), ..Default::default() };
        harness.revoke_all(&caller, all).await.unwrap();
    });
    join_all(changes).await;
    let events = harness.events_of(users[0].id).await;
    assert_dense(&events, "session-05");
    for user in &users {
        let told: Vec<_> = events
            .iter()
            .filter(|event| event.new.aggregate.id == user.id.to_string())
            .map(|event| event.new.event_type.strip_prefix("session.v1.").unwrap())
            .collect();
        let expected =
            ["SessionCreated", "SessionCreated", "SessionRefreshed", "SessionRevoked", "AllSessionsRevoked"];
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn a_user_is_in_the_stream_of_the_own_partition_and_its_token_says_which() {
    let harness = Harness::start().await;
    for partition in [0, 7, 10, 15] {
        let user = harness.peer.sign_up_as(user_in(partition), Role::Customer);
        let login = harness.log_in(&user).await.unwrap();
        let events = harness.store.read_after(&format!("session-{partition:02}"), 0, 10).await.unwrap();
        assert_dense(&events, &stream_of(user.id));
        let told = events[0].decode::<SessionCreated>().unwrap().unwrap();
        let (session_id, user_id) = (login.session.unwrap().id, user.id.to_string());
        assert_eq!(told, SessionCreated { session_id, user_id });
        assert!(login.access_token.starts_with(&format!("ts_a_{partition:02x}_")));
        assert!(events[0].new.headers.traceparent.is_some());
    }
}

#[tokio::test]
async fn consumers_read_a_stream_over_the_event_service() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    let stream = stream_of(user.id);
    let mut client = harness.event_client();
    let head = |stream: &str| bearer(HeadRequest { stream: stream.to_owned() }, USER_TOKEN);
    let empty = client.head(head(&stream)).await.unwrap().into_inner().head.unwrap();
    assert_eq!((empty.position, empty.event_id.as_str(), empty.oldest_position), (0, "", 0));
    for _ in 0..3 {
        harness.log_in(&user).await.unwrap();
    }
    let events = harness.events_of(user.id).await;
    let now = client.head(head(&stream)).await.unwrap().into_inner().head.unwrap();
    assert_eq!((now.position, now.oldest_position, &now.epoch), (3, 1, &empty.epoch));
    assert_eq!(now.event_id, events[2].new.id.to_string());
    assert_eq!(client.head(head("session-16")).await.unwrap_err().code(), Code::NotFound);

    let replay = ReplayRequest { stream: stream.clone(), after_position: 1, ..Default::default() };
    let pages = client.replay(bearer(replay, USER_TOKEN)).await.unwrap().into_inner();
    let pages: Vec<_> = pages.try_collect().await.unwrap();
    let ids: Vec<_> = pages.iter().flat_map(|page| &page.events).map(|event| event.id.clone()).collect();
    assert_eq!(ids, [events[1].new.id.to_string(), events[2].new.id.to_string()]);

    let resume = |position, id: EventId| ResumeRequest {
        stream: stream.clone(),
        epoch: Uuid::new_v4().to_string(),
        position,
        event_id: id.to_string(),
    };
    let same = client.resume(bearer(resume(2, events[1].new.id), USER_TOKEN)).await.unwrap().into_inner();
    assert_eq!(same.history(), History::Same);
    let other = client.resume(bearer(resume(2, events[0].new.id), USER_TOKEN)).await.unwrap().into_inner();
    assert_eq!(other.history(), History::Rewound);

    let resolve = ResolveRequest { event_id: events[1].new.id.to_string() };
    let found = client.resolve(bearer(resolve, USER_TOKEN)).await.unwrap().into_inner();
    assert_eq!((found.stream, found.position, found.epoch), (stream.clone(), 2, now.epoch.clone()));
    let acknowledge =
        AcknowledgeRequest { stream, consumer: "a.cache".to_owned(), epoch: now.epoch, position: 2 };
    let status = client.acknowledge(bearer(acknowledge, USER_TOKEN)).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::NotFound, "CONSUMER_NOT_FOUND"));
}

#[tokio::test]
async fn an_event_is_found_by_its_id_behind_many_others_and_an_unknown_one_is_not() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up_as(user_in(9), Role::Customer);
    harness.log_in(&user).await.unwrap();
    let first = harness.events_of(user.id).await.remove(0);
    for _ in 0..60 {
        join_all((0..10).map(|_| harness.log_in(&user))).await;
    }
    assert!(harness.events_of(user.id).await.len() > 600);
    let found = harness.store.resolve(first.new.id).await.unwrap();
    let expected = Resolved::At { stream: "session-09".to_owned(), epoch: first.epoch, position: 1 };
    assert_eq!(found, expected);
    // Among them the first and the last times that an id can tell.
    let ends = [
        "00000000-0000-7000-8000-000000000000",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "00000000-0000-1000-8000-000000000000",
        "ffffffff-ffff-1fff-bfff-ffffffffffff",
    ];
    let ends = ends.map(|id| id.parse().unwrap());
    for unknown in [Uuid::now_v7(), Uuid::new_v4()].into_iter().chain(ends) {
        assert_eq!(harness.store.resolve(EventId::from_uuid(unknown)).await.unwrap(), Resolved::Unknown);
    }
}

#[tokio::test]
async fn a_stream_is_trimmed_and_says_where_it_begins() {
    let harness =
        Harness::start_with(&["--session-stream-length", "50", "--sessions-per-user-max", "2"]).await;
    let user = harness.peer.sign_up_as(user_in(4), Role::Customer);
    for _ in 0..200 {
        harness.log_in(&user).await.unwrap();
    }
    let head = harness.store.head("session-04").await.unwrap().unwrap();
    // A login and the session that made room, but for the first two.
    assert_eq!(head.position, 200 + 198);
    assert!(head.oldest > 1 && head.position - head.oldest < 200, "{head:?}");
    let events = harness.store.read_after("session-04", head.oldest - 1, 1000).await.unwrap();
    assert_eq!(events.len(), usize::try_from(head.position - head.oldest + 1).unwrap());
    assert_eq!((events[0].position, events.last().unwrap().new.id), (head.oldest, head.event_id.unwrap()));
    let replay = ReplayRequest { stream: "session-04".to_owned(), ..Default::default() };
    let pages = harness.event_client().replay(bearer(replay, USER_TOKEN)).await;
    let status = match pages {
        Err(status) => status,
        Ok(pages) => pages.into_inner().try_collect::<Vec<_>>().await.unwrap_err(),
    };
    assert_eq!(refusal(&status), refused(Code::OutOfRange, "POSITION_PRUNED"));
}

#[tokio::test]
async fn after_a_flush_people_log_in_again_and_the_stream_has_another_history() {
    let harness = Harness::start().await;
    let (user, login) = harness.somebody().await;
    harness.log_in(&user).await.unwrap();
    let before = harness.store.head(&stream_of(user.id)).await.unwrap().unwrap();
    harness.redis(&["FLUSHDB"]).await;
    harness.redis(&["SCRIPT", "FLUSH"]).await;
    let status = harness.validate(&login.access_token).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    let again = harness.log_in(&user).await.unwrap();
    harness.validate(&again.access_token).await.unwrap();
    let after = harness.store.head(&stream_of(user.id)).await.unwrap().unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((before.position, after.position), (2, 1));
    assert_dense(&harness.events_of(user.id).await, &stream_of(user.id));

    let replay = ReplayRequest {
        stream: before.stream,
        epoch: before.epoch.to_string(),
        after_position: 1,
        follow: false,
    };
    let pages = harness.event_client().replay(bearer(replay, USER_TOKEN)).await;
    let status = match pages {
        Err(status) => status,
        Ok(pages) => pages.into_inner().try_collect::<Vec<_>>().await.unwrap_err(),
    };
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "EPOCH_CHANGED"));
}

#[tokio::test]
async fn another_server_is_another_history_and_the_same_one_is_not() {
    let harness = Harness::start().await;
    let (user, _) = harness.somebody().await;
    let stream = stream_of(user.id);
    let owner = Uuid::new_v4();
    harness.redis(&["DEL", "{relay}:lease"]).await;
    let hold = async || {
        harness.redis(&["DEL", "{relay}:lease"]).await;
        assert!(harness.store.hold(owner, std::time::Duration::from_secs(3)).await.unwrap());
    };
    hold().await;
    let before = harness.store.head(&stream).await.unwrap().unwrap();
    hold().await;
    assert_eq!(harness.store.head(&stream).await.unwrap().unwrap(), before);

    // A restart, or a replica that took over, has another run id.
    let key = format!("{{s{}}}:stream", stream.strip_prefix("session-").unwrap());
    harness.redis(&["HSET", &key, "server", "another"]).await;
    let fresh = Harness::start_between(&harness.url(), &harness.url(), &[]).await;
    let adopted = async || {
        let after = fresh.store.head(&stream).await.unwrap().unwrap();
        if after.epoch == before.epoch { Err("still the old epoch") } else { Ok(after) }
    };
    harness.session.stop().await;
    let after = wait_until(SOON, "a new epoch", adopted).await.unwrap();
    // The same events are there still, so whoever resumes goes on.
    assert_eq!((after.position, after.event_id), (before.position, before.event_id));
}

/// The next event on a channel, heartbeats left out.
async fn next_event(subscription: &mut Subscription) -> Event {
    loop {
        if let Signal::Message { payload, .. } = subscription.next().await
            && let Heard::Event(event) = from_channel(payload).unwrap()
        {
            return *event;
        }
    }
}

#[tokio::test]
async fn a_change_is_published_at_once_and_one_replica_publishes() {
    let state = State::for_run(&state::base()).await.unwrap();
    // Channels are the same in all numbered databases, so this test has a server of its own.
    let redis =
        Redis::start(&state, RedisUse::EventsAndCache, Port::Free, Lifetime::WithParent).await.unwrap();
    let sessions = TestRedis::sessions().await.unwrap();
    let harness = Harness::start_between(sessions.url(), &redis.url(0), &[]).await;
    let _second = Harness::start_between(sessions.url(), &redis.url(0), &[]).await;
    let bus = events::Bus::connect(redis.url(0)).unwrap();
    let user = harness.peer.sign_up(Role::Customer);
    let channel = events::bus::events_channel(&stream_of(user.id));
    let mut subscription = bus.subscribe(vec![channel], None);
    // The first heartbeat: from now on it is published.
    loop {
        if matches!(subscription.next().await, Signal::Message { .. }) {
            break;
        }
    }
    let mut heard = Vec::new();
    for _ in 0..5 {
        harness.log_in(&user).await.unwrap();
        heard.push(next_event(&mut subscription).await);
    }
    assert_eq!(heard, harness.events_of(user.id).await);
    drop(harness);
    drop(redis);
    state.remove().unwrap();
}

#[tokio::test]
async fn whoever_follows_over_grpc_hears_of_a_login() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    let replay = ReplayRequest { stream: stream_of(user.id), follow: true, ..Default::default() };
    let pages = harness.event_client().replay(bearer(replay, USER_TOKEN)).await.unwrap().into_inner();
    let mut events =
        pages.map(Result::unwrap).filter_map(async |page| page.events.into_iter().next()).boxed();
    let first = events.next();
    let login = harness.log_in(&user);
    let (first, login) = tokio::join!(first, login);
    let session = login.unwrap().session.unwrap().id;
    assert_eq!(first.unwrap().r#type, "session.v1.SessionCreated");
    let events = harness.events_of(user.id).await;
    assert_eq!(events[0].decode::<SessionCreated>().unwrap().unwrap().session_id, session);
}
