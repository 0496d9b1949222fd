//! From where logins fail, and that the owner gets in all the same.

use std::time::Duration;

use api::session::v1::LoginRequest;
use futures_util::future::join_all;
use testkit::wait_until;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use types::Role;

use crate::harness::{Harness, SOON, refusal, refused};
use crate::peer::User;

const OWNER: u8 = 3;

fn throttled() -> (Code, String) {
    refused(Code::ResourceExhausted, "LOGIN_THROTTLED")
}

/// A guess from `127.0.0.<host>`.
async fn guess(harness: &Harness, host: u8, user: &User) -> Status {
    harness.try_from(host, &user.email, "a guess").await.unwrap_err()
}

async fn owner(harness: &Harness, host: u8, user: &User) -> Result<(), Status> {
    harness.try_from(host, &user.email, &user.password).await.map(drop)
}

#[tokio::test]
async fn failures_from_one_source_keep_no_other_one_out() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    for _ in 0..5 {
        assert_eq!(guess(&harness, 2, &user).await.code(), Code::Unauthenticated);
    }
    assert_eq!(refusal(&guess(&harness, 2, &user).await), throttled());
    owner(&harness, OWNER, &user).await.unwrap();
    // That the owner got in gives the other one nothing.
    assert_eq!(refusal(&guess(&harness, 2, &user).await), throttled());
}

/// The wait of the address over all sources.
const FEW_IN_ALL: [&str; 4] = ["--login-free-failures", "2", "--login-free-failures-in-all", "6"];

#[tokio::test]
async fn failures_from_many_sources_slow_the_address_down_but_not_where_it_logged_in() {
    let harness = Harness::start_with(&FEW_IN_ALL).await;
    let user = harness.peer.sign_up(Role::Customer);
    owner(&harness, OWNER, &user).await.unwrap();
    for host in 10..16 {
        assert_eq!(guess(&harness, host, &user).await.code(), Code::Unauthenticated, "{host}");
    }
    assert_eq!(refusal(&guess(&harness, 16, &user).await), throttled());
    for _ in 0..3 {
        owner(&harness, OWNER, &user).await.unwrap();
    }
    // Whoever guesses from there has the waits of that source.
    for _ in 0..2 {
        assert_eq!(guess(&harness, OWNER, &user).await.code(), Code::Unauthenticated);
    }
    assert_eq!(refusal(&guess(&harness, OWNER, &user).await), throttled());
}

#[tokio::test]
async fn guesses_at_once_from_many_sources_leave_the_owner_a_place() {
    let harness = Harness::start_with(&["--login-tries-at-once-in-all", "4"]).await;
    let user = harness.peer.sign_up(Role::Customer);
    owner(&harness, OWNER, &user).await.unwrap();
    let before = harness.peer.checks();
    harness.peer.hold();
    let guesses = join_all((10..18).map(|host| guess(&harness, host, &user)));
    let owner_comes = async {
        wait_until(SOON, "the guesses to arrive", async || match harness.peer.checks() - before {
            4.. => Ok(()),
            checks => Err(format!("{checks} checks")),
        })
        .await
        .unwrap();
        let (answer, ()) = tokio::join!(owner(&harness, OWNER, &user), async {
            wait_until(SOON, "the owner to be checked", async || match harness.peer.checks() - before {
                5.. => Ok(()),
                checks => Err(format!("{checks} checks")),
            })
            .await
            .unwrap();
            assert_eq!(harness.peer.checks() - before, 5, "four guesses and the owner's try");
            harness.peer.let_go();
        });
        answer.unwrap();
    };
    tokio::join!(guesses, owner_comes);
}

#[tokio::test]
async fn only_the_latest_sources_are_known_and_not_for_ever() {
    let harness = Harness::start_with(&[&FEW_IN_ALL[..], &["--login-known-sources-max", "2"]].concat()).await;
    let user = harness.peer.sign_up(Role::Customer);
    for host in [20, 21, 22] {
        owner(&harness, host, &user).await.unwrap();
    }
    for host in 10..16 {
        guess(&harness, host, &user).await;
    }
    let answers = [20, 21, 22].map(|host| owner(&harness, host, &user));
    let [oldest, second, newest] = join_all(answers).await.try_into().unwrap();
    assert_eq!(refusal(&oldest.unwrap_err()), throttled());
    second.and(newest).unwrap();

    let known = harness.redis(&["KEYS", "login:*:known"]).await;
    let life: u64 = harness.redis(&["PTTL", &known]).await.parse().unwrap();
    assert!((1..=30 * 24 * 3_600_000).contains(&life), "{life} ms");
    let short = [&FEW_IN_ALL[..], &["--login-known-source-life", "50ms"]].concat();
    let harness = Harness::start_with(&short).await;
    let user = harness.peer.sign_up(Role::Customer);
    owner(&harness, OWNER, &user).await.unwrap();
    let forgotten = async || match harness.redis(&["KEYS", "login:*:known"]).await.as_str() {
        "" => Ok(()),
        keys => Err(keys.to_owned()),
    };
    wait_until(SOON, "the source to be forgotten", forgotten).await.unwrap();
    for host in 10..16 {
        guess(&harness, host, &user).await;
    }
    assert_eq!(refusal(&owner(&harness, OWNER, &user).await.unwrap_err()), throttled());
}

#[tokio::test]
async fn one_source_fails_only_so_often_over_all_addresses() {
    let harness = Harness::start_with(&["--login-source-failures-max", "3"]).await;
    let users = [0; 5].map(|_| harness.peer.sign_up(Role::Customer));
    for user in &users {
        owner(&harness, 2, user).await.unwrap();
    }
    for user in &users[..3] {
        assert_eq!(guess(&harness, 2, user).await.code(), Code::Unauthenticated);
    }
    let checks = harness.peer.checks();
    for password in ["a guess", &users[3].password] {
        let status = harness.try_from(2, &users[3].email, password).await.unwrap_err();
        assert_eq!(refusal(&status), throttled());
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(200), "{wait:?}");
    }
    assert_eq!(harness.peer.checks(), checks, "a try that waits was checked");
    owner(&harness, OWNER, &users[3]).await.unwrap();
}

#[tokio::test]
async fn only_so_many_passwords_are_checked_at_once_whoever_still_waits_for_them() {
    let harness = Harness::start_with(&["--login-checks-max", "2"]).await;
    let users = [0; 3].map(|_| harness.peer.sign_up(Role::Customer));
    harness.peer.hold();
    let impatient = join_all(users[..2].iter().map(async |user| {
        let (email, password) = (user.email.clone(), user.password.clone());
        let mut request = Request::new(LoginRequest { email, password, client_name: String::new() });
        request.set_timeout(Duration::from_millis(500));
        harness.client().login(request).await.unwrap_err()
    }));
    for status in impatient.await {
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    }
    let status = harness.log_in(&users[2]).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "OVERLOADED"));
    assert!(status.get_details_retry_info().is_some());
    harness.peer.let_go();
    wait_until(SOON, "a place", async || harness.log_in(&users[2]).await).await.unwrap();
}

/// The call has five seconds.
#[tokio::test]
async fn a_check_that_takes_too_long_is_given_up_before_the_call() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    harness.peer.hold();
    let status = harness.log_in(&user).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Unavailable, "DEPENDENCY_UNAVAILABLE"));
    harness.peer.let_go();
}
