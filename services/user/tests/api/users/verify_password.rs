//! Checking passwords for session service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::user::v1::{DeactivateUserRequest, User, VerifyPasswordRequest, VerifyPasswordResponse};
use bson::{Document, doc};
use futures_util::future::join_all;
use testkit::client::request_id;
use time::macros::datetime;
use tonic::{Code, Status};
use types::ManualClock;

use crate::harness::{Harness, PASSWORD, refusal, refused};

async fn verify(harness: &Harness, email: &str, password: &str) -> Result<VerifyPasswordResponse, Status> {
    let request = VerifyPasswordRequest { email: email.to_owned(), password: password.to_owned() };
    Ok(harness.session_service().users().verify_password(request).await?.into_inner())
}

#[tokio::test]
async fn whatever_is_wrong_has_one_answer() {
    let harness = Harness::start().await;
    let (ann, gone) = (harness.customer().await, harness.customer().await);
    let request =
        DeactivateUserRequest { request_id: request_id(), user_id: gone.id.clone(), ..Default::default() };
    gone.caller.users().deactivate_user(request).await.unwrap();
    assert_eq!(verify(&harness, &ann.email, PASSWORD).await.unwrap().user_id, ann.id);
    let mut answers = Vec::new();
    for (email, password) in [
        (ann.email.as_str(), "another evening, another garden"),
        (ann.email.as_str(), &*format!("{PASSWORD} ")),
        (ann.email.as_str(), &*"x".repeat(1_000)),
        ("nobody@example.com", PASSWORD),
        ("not an address", PASSWORD),
        (gone.email.as_str(), PASSWORD),
    ] {
        let status = verify(&harness, email, password).await.unwrap_err();
        answers.push(status.message().to_owned());
        let expected = refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]);
        assert_eq!(refusal(Err::<(), _>(status)), expected, "{email} {password}");
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let expected =
        refused(Code::InvalidArgument, "INVALID_REQUEST", &["email REQUIRED", "password REQUIRED"]);
    assert_eq!(refusal(verify(&harness, "", "").await), expected);
}

#[tokio::test]
async fn only_session_service_checks_passwords() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let request = VerifyPasswordRequest { email: ann.email.clone(), password: PASSWORD.to_owned() };
    for (caller, expected) in [
        (harness.nobody(), refused(Code::Unauthenticated, "MISSING_CREDENTIALS", &[])),
        (ann.caller.clone(), refused(Code::PermissionDenied, "PERMISSION_DENIED", &[])),
        (admin.caller.clone(), refused(Code::PermissionDenied, "PERMISSION_DENIED", &[])),
        (harness.order_service(), refused(Code::PermissionDenied, "CALLER_NOT_ALLOWED", &[])),
    ] {
        assert_eq!(refusal(caller.users().verify_password(request.clone()).await), expected);
    }
}

/// A version that answers unknown addresses without hashing is some fifty times as fast for them.
#[tokio::test]
async fn an_unknown_address_takes_as_much_work_as_a_wrong_password() {
    const SAMPLES: usize = 60;
    let harness = Harness::start_with(&["--argon2-memory-kib=8192"]).await;
    let ann = harness.customer().await;
    let timed = async |email: &str| {
        let begun = Instant::now();
        verify(&harness, email, "another evening, another garden").await.unwrap_err();
        begun.elapsed()
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        known.push(timed(&ann.email).await);
        unknown.push(timed("nobody@example.com").await);
    }
    let median = |mut samples: Vec<Duration>| {
        samples.sort_unstable();
        samples[SAMPLES / 2].as_secs_f64()
    };
    let ratio = median(unknown) / median(known);
    assert!((0.8..1.25).contains(&ratio), "the medians' ratio is {ratio:.2}");
}

#[tokio::test]
async fn a_login_brings_an_old_hash_up_to_date() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let id = bson::Uuid::parse_str(&ann.id).unwrap();
    let credentials = harness.database.collection::<Document>("credential");
    // Made with less work than this service's parameters ask for.
    let old = argon2_hash(PASSWORD, 32);
    credentials.update_one(doc! { "_id": id }, doc! { "$set": { "password_hash": &old } }).await.unwrap();

    verify(&harness, &ann.email, "another evening, another garden").await.unwrap_err();
    let hash = async || {
        let row = credentials.find_one(doc! { "_id": id }).await.unwrap().unwrap();
        row.get_str("password_hash").unwrap().to_owned()
    };
    assert_eq!(hash().await, old, "who does not know the password changes nothing");
    verify(&harness, &ann.email, PASSWORD).await.unwrap();
    assert!(hash().await.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", hash().await);
    verify(&harness, &ann.email, PASSWORD).await.unwrap();
}

/// A version that writes at each login, or that waits for who holds the user, is seen here.
#[tokio::test]
async fn a_login_is_kept_to_the_minute_and_is_no_change_of_the_user() {
    let noon = datetime!(2026-03-01 12:00 UTC);
    let clock = Arc::new(ManualClock::at(noon));
    let harness = Harness::start_by(Arc::clone(&clock) as _).await;
    let ann = harness.customer().await;
    let before = harness.user(&ann.id).await;
    assert_eq!(before.last_login_time, None);
    verify(&harness, &ann.email, "another evening, another garden").await.unwrap_err();
    assert_eq!(harness.user(&ann.id).await, before);
    let mut kept = Vec::new();
    for seconds in [0, 30, 29, 1, 30, 3_510] {
        clock.advance(time::Duration::seconds(seconds));
        verify(&harness, &ann.email, PASSWORD).await.unwrap();
        let user = harness.user(&ann.id).await;
        let time = user.last_login_time.unwrap();
        kept.push(time.seconds - noon.unix_timestamp());
        assert_eq!(user, User { last_login_time: Some(time), ..before.clone() });
    }
    assert_eq!(kept, [0, 0, 0, 60, 60, 3_600]);
}

fn argon2_hash(password: &str, memory_kib: u32) -> String {
    use argon2::password_hash::PasswordHasher as _;
    let params = argon2::Params::new(memory_kib, 1, 1, None).unwrap();
    argon2::Argon2::from(params).hash_password(password.as_bytes()).unwrap().to_string()
}

#[tokio::test]
async fn a_flood_of_logins_is_refused_and_other_calls_go_on() {
    let harness = Harness::start_with(&["--argon2-memory-kib=32768", "--password-queue=2"]).await;
    let ann = harness.customer().await;
    let flood = join_all((0..24).map(|_| verify(&harness, "nobody@example.com", PASSWORD)));
    let begun = Instant::now();
    let (answers, user) = tokio::join!(flood, harness.user(&ann.id));
    assert_eq!(user.id, ann.id);
    let (mut refusals, mut answered) = (0, 0);
    for answer in answers {
        let status = answer.unwrap_err();
        match status.code() {
            Code::ResourceExhausted => {
                let details = tonic_types::StatusExt::get_error_details(&status);
                assert!(details.retry_info().is_some() && details.quota_failure().is_some());
                assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
                refusals += 1;
            }
            _ => {
                assert_eq!(refusal(Err::<(), _>(status)).1, "INVALID_CREDENTIALS");
                answered += 1;
            }
        }
    }
    assert!(refusals > 0 && answered > 0, "{refusals} refused, {answered} answered in {:?}", begun.elapsed());
}
