//! Changing the own e-mail address.

use api::user::v1::{ChangeEmailRequest, User, UserEmailChanged, VerifyPasswordRequest};
use bson::{Document, doc};
use futures_util::future::join_all;
use testkit::client::request_id;
use tonic::{Code, Response, Status};

use super::payloads;
use crate::harness::{Harness, PASSWORD, Person, is_replay, refusal, refused, sign_up};

fn change(email: &str, password: &str) -> ChangeEmailRequest {
    ChangeEmailRequest {
        request_id: request_id(),
        email: email.to_owned(),
        password: password.to_owned(),
        etag: String::new(),
    }
}

async fn changed(by: &Person, request: ChangeEmailRequest) -> Result<(User, bool), Status> {
    let response: Response<_> = by.caller.users().change_email(request).await?;
    Ok((response.get_ref().user.clone().unwrap(), is_replay(&response)))
}

async fn log_in(harness: &Harness, email: &str) -> Result<String, Status> {
    let request = VerifyPasswordRequest { email: email.to_owned(), password: PASSWORD.to_owned() };
    Ok(harness.session_service().users().verify_password(request).await?.into_inner().user_id)
}

fn taken() -> (Code, String, Vec<String>) {
    refused(Code::AlreadyExists, "EMAIL_TAKEN", &["user "])
}

#[tokio::test]
async fn the_new_address_is_the_users_and_the_old_one_is_free() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let request = change("Ann.New@Example.com", PASSWORD);
    let first = changed(&ann, request.clone()).await.unwrap();
    assert_eq!(
        (first.0.email.as_str(), first.0.etag.as_str(), first.0.version),
        ("Ann.New@Example.com", "2", 2)
    );
    assert_eq!(log_in(&harness, "ann.new@example.com").await.unwrap(), ann.id);
    let wrong = refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]);
    assert_eq!(refusal(log_in(&harness, &ann.email).await), wrong);
    assert_eq!(changed(&ann, request.clone()).await.unwrap(), (first.0, true));
    let other = ChangeEmailRequest { password: "an evening on the river".to_owned(), ..request };
    let reused = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    assert_eq!(refusal(changed(&ann, other).await), reused);

    let heir = harness.sign_up(sign_up(&ann.email)).await.unwrap().into_inner().user.unwrap();
    assert_eq!(log_in(&harness, &ann.email).await.unwrap(), heir.id);
    assert_eq!(refusal(changed(&ann, change(&ann.email, PASSWORD)).await), taken());
    // Another spelling of the own address is no other user's.
    let respelled = changed(&ann, change("ANN.new@example.com", PASSWORD)).await.unwrap().0;
    assert_eq!(respelled.email, "ANN.new@example.com");

    let told = payloads::<UserEmailChanged>(&harness).await;
    let expected = UserEmailChanged { user_id: ann.id.clone() };
    assert_eq!(told, [expected.clone(), expected]);
    let outbox = harness.database.collection::<Document>("outbox");
    let mut rows = outbox.find(doc! {}).await.unwrap();
    while rows.advance().await.unwrap() {
        let row = rows.deserialize_current().unwrap();
        let payload = row.get_binary_generic("payload").unwrap();
        assert!(!payload.contains(&b'@'), "no event has an address: {row}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_no_address_change_nothing() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let outcome = changed(&ann, change("ann.new@example.com", "an evening on the river")).await;
    assert_eq!(refusal(outcome), refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]));
    let outcome = changed(&ann, change("ann", "")).await;
    let subjects = ["email INVALID_EMAIL", "password REQUIRED"];
    assert_eq!(refusal(outcome), refused(Code::InvalidArgument, "INVALID_REQUEST", &subjects));
    let stale = ChangeEmailRequest { etag: "9".to_owned(), ..change("ann.new@example.com", PASSWORD) };
    let mismatch = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("user {}", ann.id)]);
    assert_eq!(refusal(changed(&ann, stale).await), mismatch);
    assert_eq!(log_in(&harness, &ann.email).await.unwrap(), ann.id);
}

#[tokio::test]
async fn of_many_who_change_to_one_address_at_once_one_has_it() {
    let harness = Harness::start().await;
    let people = [harness.customer().await, harness.customer().await, harness.customer().await];
    let spellings = ["one@example.com", "ONE@example.com", "One@Example.Com"];
    let changes = people.iter().zip(spellings).map(|(who, email)| changed(who, change(email, PASSWORD)));
    let outcomes = join_all(changes).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(outcome), taken());
    }
}
