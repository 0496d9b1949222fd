//! Exchanging refresh tokens.

use api::session::v1::SessionRefreshed;
use api::session::v1::{SessionRevoked, session_revoked::Cause};
use futures_util::future::join_all;
use tonic::Code;

use crate::harness::{Harness, refusal, refused};

fn invalid() -> (Code, String) {
    refused(Code::Unauthenticated, "INVALID_CREDENTIALS")
}

#[tokio::test]
async fn new_tokens_take_the_place_of_the_old_ones() {
    let harness = Harness::start().await;
    let (user, login) = harness.somebody().await;
    let refreshed = harness.refresh(&login.refresh_token).await.unwrap();
    assert_ne!(refreshed.access_token, login.access_token);
    let status = harness.validate(&login.access_token).await.unwrap_err();
    assert_eq!(refusal(&status), invalid());
    let (before, after) = (login.session.unwrap(), refreshed.session.unwrap());
    assert_eq!(
        (&after.id, after.create_time, after.expire_time),
        (&before.id, before.create_time, before.expire_time)
    );
    assert_eq!((after.client_name.as_str(), after.user_id), ("a test", user.id.to_string()));
    assert_eq!(harness.validate(&refreshed.access_token).await.unwrap().session_id, before.id);

    let events = harness.events_of(user.id).await;
    let told = events.last().unwrap().decode::<SessionRefreshed>().unwrap().unwrap();
    assert_eq!(told, SessionRefreshed { session_id: before.id, user_id: user.id.to_string() });
}

#[tokio::test]
async fn a_refresh_token_that_comes_twice_ends_the_session() {
    let harness = Harness::start().await;
    let (user, login) = harness.somebody().await;
    let other = harness.log_in(&user).await.unwrap();
    let second = harness.refresh(&login.refresh_token).await.unwrap();
    let third = harness.refresh(&second.refresh_token).await.unwrap();
    // Not the last used one: every token that was ever used is remembered.
    let status = harness.refresh(&login.refresh_token).await.unwrap_err();
    assert_eq!(refusal(&status), invalid());
    for dead in [&login.access_token, &second.access_token, &third.access_token] {
        assert_eq!(refusal(&harness.validate(dead).await.unwrap_err()), invalid());
    }
    assert_eq!(refusal(&harness.refresh(&third.refresh_token).await.unwrap_err()), invalid());
    assert_eq!(harness.own_sessions(&other).await, [other.session.unwrap().id]);

    let events = harness.events_of(user.id).await;
    let told = events.last().unwrap().decode::<SessionRevoked>().unwrap().unwrap();
    assert_eq!((told.session_id, told.user_id), (login.session.unwrap().id, user.id.to_string()));
    assert_eq!(told.cause, i32::from(Cause::RefreshReused));
}

#[tokio::test]
async fn of_many_exchanges_at_once_one_wins_and_the_session_ends() {
    let harness = Harness::start().await;
    for _ in 0..5 {
        let (user, login) = harness.somebody().await;
        let answers = join_all((0..8).map(|_| harness.refresh(&login.refresh_token))).await;
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        assert!(
            answers
                .iter()
                .filter_map(|answer| answer.as_ref().err())
                .all(|status| refusal(status) == invalid())
        );
        assert_eq!(refusal(&harness.validate(&won[0].access_token).await.unwrap_err()), invalid());
        assert_eq!(refusal(&harness.refresh(&won[0].refresh_token).await.unwrap_err()), invalid());
        let told: Vec<_> = harness.events_of(user.id).await.into_iter().map(|event| event.new).collect();
        let told: Vec<_> = told
            .iter()
            .filter(|event| event.aggregate.id == user.id.to_string())
            .map(|event| event.event_type.as_str())
            .collect();
        assert_eq!(
            told,
            ["session.v1.SessionCreated", "session.v1.SessionRefreshed", "session.v1.SessionRevoked"]
        );
    }
}

#[tokio::test]
async fn no_used_token_is_forgotten_while_its_session_lives() {
    let harness = Harness::start_with(&["--rotated-tokens-max", "3"]).await;
    let (user, login) = harness.somebody().await;
    let stolen = harness.refresh(&login.refresh_token).await.unwrap();
    let mut token = stolen.refresh_token.clone();
    for _ in 0..2 {
        token = harness.refresh(&token).await.unwrap().refresh_token;
    }
    let kept = async || harness.redis(&["KEYS", "*:refresh:*"]).await.lines().count();
    assert_eq!(kept().await, 4, "the present one and all that were used");
    // One more would push the owner's out of memory: the session ends instead.
    assert_eq!(refusal(&harness.refresh(&token).await.unwrap_err()), invalid());
    assert_eq!(refusal(&harness.refresh(&login.refresh_token).await.unwrap_err()), invalid());
    for pattern in ["*:refresh:*", "*:rotated:*", "*:access:*", "*:session:*"] {
        assert_eq!(harness.redis(&["KEYS", pattern]).await, "");
    }
    let events = harness.events_of(user.id).await;
    let told: Vec<_> = events.iter().filter_map(|event| event.decode::<SessionRevoked>()).collect();
    let expected = SessionRevoked {
        session_id: login.session.unwrap().id,
        user_id: user.id.to_string(),
        cause: Cause::RefreshesUsedUp.into(),
    };
    assert_eq!(told, [Ok(expected)]);
}

#[tokio::test]
async fn a_full_memory_still_notices_a_second_use() {
    let harness = Harness::start_with(&["--rotated-tokens-max", "3"]).await;
    let (user, login) = harness.somebody().await;
    let mut tokens = vec![login.refresh_token.clone()];
    for at in 0..3 {
        tokens.push(harness.refresh(&tokens[at]).await.unwrap().refresh_token);
    }
    assert_eq!(refusal(&harness.refresh(&tokens[0]).await.unwrap_err()), invalid());
    assert_eq!(refusal(&harness.refresh(&tokens[3]).await.unwrap_err()), invalid());
    let events = harness.events_of(user.id).await;
    let told = events.last().unwrap().decode::<SessionRevoked>().unwrap().unwrap();
    assert_eq!(told.cause, i32::from(Cause::RefreshReused));
}
