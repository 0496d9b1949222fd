//! How long sessions live and how many there may be.

use api::session::v1::{ListSessionsRequest, SessionRevoked, session_revoked::Cause};
use testkit::wait_until;
use tonic::Code;

use crate::harness::{Harness, LoggedIn, SOON, refusal, refused};

#[tokio::test]
async fn one_session_too_many_ends_the_oldest_and_tells_it() {
    let harness = Harness::start_with(&["--sessions-per-user-max", "3"]).await;
    let (user, oldest) = harness.somebody().await;
    let mut logins = Vec::new();
    for _ in 0..3 {
        logins.push(harness.log_in(&user).await.unwrap());
    }
    let status = harness.validate(&oldest.access_token).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    let ids: Vec<_> = logins.iter().map(|login| login.session.clone().unwrap().id).collect();
    assert_eq!(harness.own_sessions(&logins[0]).await, ids);
    let events = harness.events_of(user.id).await;
    let told: Vec<_> = events.iter().filter_map(|event| event.decode::<SessionRevoked>()).collect();
    let expected = SessionRevoked {
        session_id: oldest.session.unwrap().id,
        user_id: user.id.to_string(),
        cause: Cause::TooMany.into(),
    };
    assert_eq!(told, [Ok(expected)]);
}

#[tokio::test]
async fn a_lowered_limit_is_reached_in_a_few_logins() {
    let harness = Harness::start().await;
    let (user, _) = harness.somebody().await;
    for _ in 0..9 {
        harness.log_in(&user).await.unwrap();
    }
    let lower =
        Harness::start_between(&harness.url(), &harness.url(), &["--sessions-per-user-max", "2"]).await;
    let user = lower.peer.sign_up_as(user.id, user.role);
    let mut counts = Vec::new();
    for _ in 0..4 {
        let login = lower.log_in(&user).await.unwrap();
        counts.push(lower.own_sessions(&login).await.len());
    }
    assert_eq!(counts, [7, 4, 2, 2]);
}

async fn dead(harness: &Harness, login: &LoggedIn) {
    let ended = async || match harness.validate(&login.access_token).await {
        Ok(_) => Err("the token is still good"),
        Err(status) => {
            assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
            Ok(())
        }
    };
    wait_until(SOON, "the access token to end", ended).await.unwrap();
}

#[tokio::test]
async fn an_access_token_ends_and_its_session_lives_on() {
    let short = ["--access-token-life", "400ms", "--session-touch-interval", "1ms"];
    let harness = Harness::start_with(&short).await;
    let (_, login) = harness.somebody().await;
    harness.validate(&login.access_token).await.unwrap();
    dead(&harness, &login).await;
    harness.refresh(&login.refresh_token).await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_not_used_ends() {
    let short =
        ["--access-token-life", "200ms", "--session-touch-interval", "1ms", "--session-idle-life", "500ms"];
    let harness = Harness::start_with(&short).await;
    let (user, login) = harness.somebody().await;
    let gone = async || match harness.redis(&["KEYS", "*:session:*"]).await.as_str() {
        "" => Ok(()),
        keys => Err(keys.to_owned()),
    };
    wait_until(SOON, "the session to end", gone).await.unwrap();
    let status = harness.refresh(&login.refresh_token).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    // What it left in the index is swept by the next login and shown to nobody.
    let next = harness.log_in(&user).await.unwrap();
    assert_eq!(harness.own_sessions(&next).await, [next.session.unwrap().id]);
    assert_eq!(
        harness
            .redis(&[
                "ZCARD",
                &format!("{{s{:02}}}:sessions:{}", user.id.uuid().as_bytes()[15] % 16, user.id)
            ])
            .await,
        "1"
    );
}

#[tokio::test]
async fn use_keeps_a_session_alive_and_is_written_down_once_an_interval() {
    let short =
        ["--access-token-life", "10s", "--session-touch-interval", "300ms", "--session-idle-life", "15s"];
    let harness = Harness::start_with(&short).await;
    let (_, login) = harness.somebody().await;
    let used = async || {
        let sessions = harness.list(&login, ListSessionsRequest::default()).await.unwrap().sessions;
        let millis = |time: Option<prost_types::Timestamp>| {
            let time = time.unwrap();
            time.seconds * 1000 + i64::from(time.nanos) / 1_000_000
        };
        (millis(sessions[0].use_time), millis(sessions[0].idle_expire_time))
    };
    let (first_use, first_idle) = used().await;
    // Listing shows the token, which is use; but within the interval nothing is written.
    let again = used().await;
    if again.0 != first_use {
        assert!(again.0 - first_use >= 300, "use was written down after {} ms", again.0 - first_use);
    }
    let later = wait_until(SOON, "use to be written down", async || {
        let now = used().await;
        if now.0 > first_use { Ok(now) } else { Err(format!("still {first_use}")) }
    });
    let (use_time, idle_end) = later.await.unwrap();
    assert!(use_time - first_use >= 300 && idle_end - first_idle == use_time - first_use);
}

#[tokio::test]
async fn no_session_outlives_its_absolute_end() {
    let short = [
        "--access-token-life",
        "400ms",
        "--session-touch-interval",
        "1ms",
        "--session-idle-life",
        "1s",
        "--session-life",
        "1500ms",
    ];
    let harness = Harness::start_with(&short).await;
    let (_, login) = harness.somebody().await;
    let end = login.session.clone().unwrap().expire_time;
    let mut refresh_token = login.refresh_token.clone();
    let refused_at_last = async || match harness.refresh(&refresh_token).await {
        Ok(refreshed) => {
            let session = refreshed.session.unwrap();
            assert_eq!(session.expire_time, end);
            let after = |time: Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos));
            assert!(after(refreshed.access_expire_time) <= after(end));
            assert!(after(session.idle_expire_time) <= after(end));
            refresh_token = refreshed.refresh_token;
            Err("the session still lives")
        }
        Err(status) => {
            assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
            Ok(())
        }
    };
    wait_until(SOON, "the session to end", refused_at_last).await.unwrap();
    let left = async || match harness.redis(&["KEYS", "*:refresh:*"]).await.as_str() {
        "" => Ok(()),
        keys => Err(keys.to_owned()),
    };
    wait_until(SOON, "its tokens to go", left).await.unwrap();
}
