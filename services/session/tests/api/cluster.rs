//! A cluster refuses a script that reaches into two slots, and a user without a right is refused a command. So
//! everything is done once on a Redis in cluster mode, as the user that `migrations/session/users.acl` describes:
//! Redis itself says whether each script keeps to one hash tag and whether the rights suffice.

use api::event::v1::ResyncRequest;
use api::event::v1::event_admin_service_client::EventAdminServiceClient;
use api::session::v1::{RevokeAllSessionsRequest, RevokeSessionRequest};
use testkit::{Lifetime, Port, Redis, RedisUse, State, state, wait_until};
use tonic::Code;
use types::Role;

use crate::harness::{Harness, SOON, bearer, request_id, user_in};

#[tokio::test]
async fn every_script_keeps_to_one_slot_and_to_the_rights_of_the_service() {
    let state = State::for_run(&state::base()).await.unwrap();
    let redis = Redis::start(&state, RedisUse::Sessions, Port::Free, Lifetime::WithParent).await.unwrap();
    // Without a word, the nodes' own port is 10,000 further on, where outgoing connections have theirs.
    let nodes = Port::Free.choose().unwrap().to_string();
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &nodes].map(Into::into);
    redis.process().relaunch_with(|launch| launch.args.extend(cluster));
    redis.stop().await.unwrap();
    redis.restart().await.unwrap();
    redis.admin().run(0, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await.unwrap();
    wait_until(SOON, "the cluster", async || {
        let info = redis.admin().run(0, &["CLUSTER", "INFO"]).await.unwrap();
        if info.contains("cluster_state:ok") { Ok(()) } else { Err(info) }
    })
    .await
    .unwrap();
    let across = redis.admin().run(0, &["EVAL", "#!lua\nreturn redis.call('GET', 'b')", "1", "{a}"]).await;
    assert!(across.is_err(), "this Redis does not keep slots apart, so the test would show nothing");

    let rights = include_str!("../../../../migrations/session/users.acl");
    let rights = rights.split_ascii_whitespace().skip(1);
    let set_user: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(rights).chain([">right"]).collect();
    redis.admin().run(0, &set_user).await.unwrap();
    for denied in [&["FLUSHALL"][..], &["KEYS", "*"], &["CONFIG", "SET", "a", "b"], &["GET", "somebody:else"]]
    {
        let try_it: Vec<_> = ["ACL", "DRYRUN", "session-service"].iter().chain(denied).copied().collect();
        let answer = redis.admin().run(0, &try_it).await;
        assert_ne!(answer.unwrap_or_default(), "OK", "{denied:?} is allowed");
    }

    let url = format!("redis://session-service:right@127.0.0.1:{}/0", redis.port());
    let small =
        ["--sessions-per-user-max", "2", "--rotated-tokens-max", "3", "--session-touch-interval", "1ms"];
    let mut harness = Harness::start_on(&url, &small).await;
    harness.admin = redis.admin().clone();
    let user = harness.peer.sign_up_as(user_in(1), Role::Customer);
    harness.try_password(&user.email, "a guess").await.unwrap_err();
    let login = harness.log_in(&user).await.unwrap();
    harness.validate(&login.access_token).await.unwrap();
    let mut refresh_token = login.refresh_token.clone();
    for _ in 0..3 {
        refresh_token = harness.refresh(&refresh_token).await.unwrap().refresh_token;
    }
    for _ in 0..2 {
        harness.log_in(&user).await.unwrap();
    }
    let reused = harness.log_in(&user).await.unwrap();
    harness.refresh(&reused.refresh_token).await.unwrap();
    assert_eq!(harness.refresh(&reused.refresh_token).await.unwrap_err().code(), Code::Unauthenticated);

    let admin = harness.peer.sign_up_as(user_in(2), Role::Admin);
    let admin = harness.log_in(&admin).await.unwrap();
    let (user_id, session) = (user.id.to_string(), harness.log_in(&user).await.unwrap());
    let session_id = session.session.clone().unwrap().id;
    harness.own_sessions(&session).await;
    let one = RevokeSessionRequest { request_id: request_id(), session_id, user_id: user_id.clone() };
    harness.revoke(&admin, one).await.unwrap();
    let all = RevokeAllSessionsRequest { request_id: request_id(), user_id };
    harness.revoke_all(&admin, all).await.unwrap();

    // The consumer's scripts, the streams' and the touch of a token.
    let witness = harness.log_in(&user).await.unwrap();
    harness.peer.change_role(&user, Role::Merchant);
    let ended = async || match harness.validate(&witness.access_token).await {
        Ok(_) => Err("the session lives".to_owned()),
        Err(status) if status.code() == Code::Unauthenticated => Ok(()),
        Err(status) => Err(status.to_string()),
    };
    wait_until(SOON, "the consumer to end the session", ended).await.unwrap();
    assert!(!harness.events_of(user.id).await.is_empty());
    let leased = async || match redis.admin().run(0, &["EXISTS", "{relay}:lease"]).await.as_deref() {
        Ok("1") => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until(SOON, "the relay's lease", leased).await.unwrap();

    let admin = harness.peer.sign_up(Role::Admin);
    let admin = harness.log_in(&admin).await.unwrap();
    let mut events = EventAdminServiceClient::new(harness.channel.clone());
    let resync = ResyncRequest { request_id: request_id(), consumer: "session.revocations".to_owned() };
    events.resync(bearer(resync, &admin.access_token)).await.unwrap();
    assert_eq!(harness.validate(&admin.access_token).await.unwrap_err().code(), Code::Unauthenticated);
    drop(harness);
    drop(redis);
    state.remove().unwrap();
}
