//! Guessing passwords gets slow, and the owner still gets in.

use std::time::Duration;

use api::session::v1::LoginRequest;
use futures_util::future::join_all;
use testkit::wait_until;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;
use types::Role;

use crate::harness::{Harness, SOON, refusal, refused};

/// Waits so short that a test sees them end.
const SHORT: [&str; 4] = ["--login-first-wait", "300ms", "--login-longest-wait", "1s"];

#[tokio::test]
async fn after_five_failures_every_try_waits_whatever_its_password() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    for _ in 0..5 {
        let status = harness.try_password(&user.email, "a guess").await.unwrap_err();
        assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    }
    let checks = harness.peer.checks();
    for password in ["a guess", &user.password] {
        let status = harness.try_password(&user.email, password).await.unwrap_err();
        assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "LOGIN_THROTTLED"));
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        let quota = status.get_details_quota_failure().unwrap();
        assert_eq!(quota.violations[0].subject, "login");
    }
    assert_eq!(harness.peer.checks(), checks, "a try that waits was checked");
    let other = harness.peer.sign_up(Role::Customer);
    harness.log_in(&other).await.unwrap();
}

#[tokio::test]
async fn an_address_that_nobody_has_is_throttled_alike() {
    let harness = Harness::start().await;
    for _ in 0..5 {
        harness.try_password("nobody@example.com", "a guess").await.unwrap_err();
    }
    // Another spelling of the same address is no new set of guesses.
    let status = harness.try_password("NOBODY@Example.com", "a guess").await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "LOGIN_THROTTLED"));
}

#[tokio::test]
async fn after_the_wait_the_right_password_lets_in_and_wipes_the_slate() {
    let harness = Harness::start_with(&SHORT).await;
    let user = harness.peer.sign_up(Role::Customer);
    for _ in 0..5 {
        harness.try_password(&user.email, "a guess").await.unwrap_err();
    }
    assert_eq!(harness.log_in(&user).await.unwrap_err().code(), Code::ResourceExhausted);
    wait_until(SOON, "the wait to be over", async || harness.log_in(&user).await).await.unwrap();
    // Again five are free: the failures before the success are forgotten.
    for _ in 0..5 {
        let status = harness.try_password(&user.email, "a guess").await.unwrap_err();
        assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    }
}

#[tokio::test]
async fn each_failure_doubles_the_wait_up_to_the_longest() {
    let harness = Harness::start_with(&SHORT).await;
    let user = harness.peer.sign_up(Role::Customer);
    let mut waits = Vec::new();
    for failure in 1..=9 {
        let attempt = async || {
            let status = harness.try_password(&user.email, "a guess").await.unwrap_err();
            if status.code() == Code::Unauthenticated { Ok(()) } else { Err(status) }
        };
        wait_until(SOON, "a try to be admitted", attempt).await.unwrap();
        if failure >= 5 {
            let status = harness.try_password(&user.email, "a guess").await.unwrap_err();
            waits.push(status.get_details_retry_info().unwrap().retry_delay.unwrap());
        }
    }
    // Each was read a moment after it began.
    for (wait, longest) in waits.iter().zip([300, 600, 1000, 1000, 1000].map(Duration::from_millis)) {
        assert!(*wait <= longest && *wait > longest.mul_f64(0.5), "{waits:?}");
    }
}

#[tokio::test]
async fn many_guesses_at_once_are_not_many_guesses() {
    let harness = Harness::start_with(&["--login-tries-at-once", "8"]).await;
    let user = harness.peer.sign_up(Role::Customer);
    harness.peer.hold();
    let guesses = join_all((0..40).map(|_| harness.try_password(&user.email, "a guess")));
    let release = async {
        wait_until(SOON, "the guesses to arrive", async || match harness.peer.checks() {
            8.. => Ok(()),
            checks => Err(format!("{checks} checks")),
        })
        .await
        .unwrap();
        harness.peer.let_go();
    };
    let (answers, ()) = tokio::join!(guesses, release);
    let checked =
        answers.iter().filter(|answer| answer.as_ref().unwrap_err().code() == Code::Unauthenticated).count();
    // Those that come while the first eight are settled may still be free, but never more than eight and five.
    assert!((8..=13).contains(&checked), "{checked} guesses were checked");
    assert_eq!(harness.peer.checks(), checked);
    let status = harness.log_in(&user).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "LOGIN_THROTTLED"));
}

#[tokio::test]
async fn what_nobody_can_have_leaves_no_key() {
    let harness = Harness::start().await;
    let long = "x".repeat(129);
    for (email, password) in [
        ("nobody", "a guess"),
        ("nobody@", "a guess"),
        ("nobody@localhost", "a guess"),
        ("no@body@example.com", "a guess"),
        ("nobody@example.com", &long),
    ] {
        // More often than an address may fail.
        for _ in 0..7 {
            let status = harness.try_password(email, password).await.unwrap_err();
            assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"), "{email}");
        }
    }
    assert_eq!(harness.redis(&["KEYS", "login:*"]).await, "");
    assert_eq!(harness.peer.checks(), 0);
}

#[tokio::test]
async fn failures_that_cost_nothing_are_soon_forgotten() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    for failure in 1..=5 {
        harness.try_password(&user.email, "a guess").await.unwrap_err();
        let life = async |pattern: &str| {
            let key = harness.redis(&["KEYS", pattern]).await;
            harness.redis(&["PTTL", &key]).await.parse::<u64>().unwrap()
        };
        let (short, long) = (200_000..=300_000, 3_500_000..=3_600_000);
        let of_source = life("login:*:failures:*").await;
        let expected = if failure < 5 { &short } else { &long };
        assert!(expected.contains(&of_source), "{of_source} ms after {failure} failures");
        let of_all = life("login:*:failures").await;
        assert!(short.contains(&of_all), "{of_all} ms after {failure} failures");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_try_behind() {
    let harness = Harness::start_with(&["--login-tries-at-once", "4"]).await;
    let user = harness.peer.sign_up(Role::Customer);
    harness.peer.hold();
    let impatient = join_all((0..4).map(|_| async {
        let login = LoginRequest {
            email: user.email.clone(),
            password: user.password.clone(),
            client_name: String::new(),
        };
        let mut request = Request::new(login);
        request.set_timeout(Duration::from_secs(1));
        harness.client().login(request).await.unwrap_err()
    }));
    for status in impatient.await {
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    }
    // The four are still being checked, so there is no place for a fifth yet.
    assert_eq!(harness.peer.checks(), 4);
    assert_eq!(harness.log_in(&user).await.unwrap_err().code(), Code::ResourceExhausted);
    harness.peer.let_go();
    let settled = async || {
        let keys = harness.redis(&["KEYS", "login:*"]).await;
        match keys.lines().collect::<Vec<_>>()[..] {
            [known] if known.ends_with(":known") => Ok(()),
            _ => Err(keys),
        }
    };
    // Sooner than tries that nobody settles stop to count.
    wait_until(Duration::from_secs(5), "the tries to be settled", settled).await.unwrap();
    harness.log_in(&user).await.unwrap();
}

#[tokio::test]
async fn a_guess_whose_caller_goes_away_counts() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    harness.peer.hold();
    let guesses = join_all((0..5).map(|_| harness.try_password(&user.email, "a guess")));
    let arrive = wait_until(SOON, "the guesses to arrive", async || match harness.peer.checks() {
        5.. => Ok(()),
        checks => Err(format!("{checks} checks")),
    });
    tokio::select! {
        answers = guesses => panic!("answered before the check: {answers:?}"),
        arrived = arrive => arrived.unwrap(),
    }
    harness.peer.let_go();
    let counted = async || {
        let key = harness.redis(&["KEYS", "login:*:failures"]).await;
        match harness.redis(&["HGET", &key, "count"]).await.as_str() {
            "5" => Ok(()),
            count => Err(format!("{count} failures")),
        }
    };
    wait_until(SOON, "the guesses to count", counted).await.unwrap();
    let status = harness.log_in(&user).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "LOGIN_THROTTLED"));
}

#[tokio::test]
async fn many_right_logins_at_once_all_succeed() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    let logins = join_all((0..30).map(|_| harness.log_in(&user))).await;
    assert!(logins.iter().all(Result::is_ok), "{logins:?}");
}
