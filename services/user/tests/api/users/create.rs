//! Signing up.

use api::auth::v1::Role;
use api::user::v1::{User, VerifyPasswordRequest, user};
use bson::doc;
use futures_util::future::join_all;
use prost::Message as _;
use tonic::Code;

use super::uncounted;
use crate::harness::{Harness, PASSWORD, is_replay, refusal, refused, sign_up};

#[tokio::test]
async fn whoever_signs_up_is_a_customer_and_can_log_in() {
    let harness = Harness::start().await;
    let created = harness.sign_up(sign_up("Ann.O'Hara+x@Example.COM")).await.unwrap();
    assert!(!is_replay(&created));
    let user = created.into_inner().user.unwrap();
    assert_eq!(user.email, "Ann.O'Hara+x@Example.COM");
    assert_eq!((user.role(), user.state()), (Role::Customer, user::State::Active));
    assert_eq!((user.etag.as_str(), user.version, user.post_count), ("1", 1, 0));
    let read = User { auth_epoch: 0, ..uncounted(harness.user(&user.id).await) };
    assert_eq!(
        read, user,
        "what is read later is what was answered, but for counts and what is for services"
    );
    assert_eq!(harness.events("user.v1.UserCreated").await, 1);

    let request =
        VerifyPasswordRequest { email: "ann.o'hara+X@example.com".into(), password: PASSWORD.into() };
    let login = harness.session_service().users().verify_password(request).await.unwrap().into_inner();
    assert_eq!(
        (login.user_id.as_str(), login.role(), login.auth_epoch),
        (user.id.as_str(), Role::Customer, 1)
    );
}

#[tokio::test]
async fn nobody_chooses_the_own_role() {
    let harness = Harness::start().await;
    // A field of the user, sent where the request has none: unknown fields are ignored, and not kept.
    let mut bytes = sign_up("eve@example.com").encode_to_vec();
    for number in 5..=20 {
        let field = [u8::try_from(number * 8).unwrap(), Role::Admin as u8];
        if number < 16 {
            bytes.extend(field);
        }
    }
    let request = api::user::v1::CreateUserRequest::decode(bytes.as_slice()).unwrap();
    let user = harness.sign_up(request).await.unwrap().into_inner().user.unwrap();
    assert_eq!(harness.user(&user.id).await.role(), Role::Customer);
    let stored =
        harness.database.collection::<bson::Document>("user").find_one(doc! {}).await.unwrap().unwrap();
    let fields: Vec<&str> = stored.keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "_id",
            "email",
            "email_key",
            "display_name",
            "role",
            "state",
            "auth_epoch",
            "post_count",
            "version",
            "event_version",
            "create_time",
            "update_time",
            "search"
        ]
    );
}

#[tokio::test]
async fn fifty_calls_with_one_request_id_make_one_user() {
    let harness = Harness::start().await;
    let request = sign_up("ann@example.com");
    let answers = join_all((0..50).map(|_| harness.sign_up(request.clone()))).await;
    let users: Vec<User> =
        answers.iter().map(|answer| answer.as_ref().unwrap().get_ref().user.clone().unwrap()).collect();
    assert!(users.iter().all(|user| *user == users[0]));
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer.as_ref().unwrap())).count(), 1);
    assert_eq!(harness.count("user", doc! {}).await, 1);
    assert_eq!(harness.count("credential", doc! {}).await, 1);
    assert_eq!(harness.events("user.v1.UserCreated").await, 1);
}

#[tokio::test]
async fn of_two_who_claim_an_address_at_once_one_gets_it() {
    let harness = Harness::start().await;
    for round in 0..5 {
        let email = format!("ann{round}@example.com");
        let (one, two) = tokio::join!(harness.sign_up(sign_up(&email)), harness.sign_up(sign_up(&email)));
        let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
        assert!(won.is_ok(), "{won:?}");
        assert_eq!(refusal(lost), refused(Code::AlreadyExists, "EMAIL_TAKEN", &["user "]));
    }
    assert_eq!(harness.count("user", doc! {}).await, 5);
    assert_eq!(harness.events("user.v1.UserCreated").await, 5, "whoever lost left no event");
}

#[tokio::test]
async fn an_address_is_taken_however_it_is_written() {
    let harness = Harness::start().await;
    harness.sign_up(sign_up("andr\u{e9}.stra\u{df}e@b\u{fc}cher.example")).await.unwrap();
    for same in [
        "andre\u{301}.stra\u{df}e@bu\u{308}cher.example",
        "ANDR\u{c9}.STRASSE@xn--bcher-kva.example",
        "\u{ff41}ndr\u{e9}.strasse@B\u{dc}CHER.example",
    ] {
        let second = harness.sign_up(sign_up(same)).await;
        assert_eq!(refusal(second), refused(Code::AlreadyExists, "EMAIL_TAKEN", &["user "]), "{same}");
    }
    harness.sign_up(sign_up("andre.strasse@bucher.example")).await.unwrap();
}

#[tokio::test]
async fn a_refused_sign_up_may_be_tried_again_under_its_id() {
    let harness = Harness::start().await;
    harness.sign_up(sign_up("ann@example.com")).await.unwrap();
    let taken = sign_up("ann@example.com");
    assert_eq!(refusal(harness.sign_up(taken.clone()).await).1, "EMAIL_TAKEN");
    assert_eq!(harness.count("request", doc! {}).await, 1, "the claim of the id went with the transaction");
}

#[tokio::test]
async fn a_request_id_names_one_content_and_one_password() {
    let harness = Harness::start().await;
    let first = sign_up("ann@example.com");
    let user = harness.sign_up(first.clone()).await.unwrap().into_inner();
    let again = harness.sign_up(first.clone()).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(*again.get_ref(), user);

    for (changed, fields) in [
        (
            {
                let mut other = first.clone();
                other.display_name = "Bob".into();
                other
            },
            "display_name",
        ),
        (
            {
                let mut other = first.clone();
                other.email = "bob@example.com".into();
                other.display_name = "Bob".into();
                other
            },
            "email,display_name",
        ),
        (
            {
                let mut other = first.clone();
                other.password = "another evening in the garden".into();
                other
            },
            "password",
        ),
    ] {
        let status = harness.sign_up(changed).await.unwrap_err();
        let named =
            tonic_types::StatusExt::get_details_error_info(&status).unwrap().metadata["fields"].clone();
        assert_eq!(named, fields);
        let expected = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
        assert_eq!(refusal(Err::<(), _>(status)), expected);
    }
    assert_eq!(harness.count("user", doc! {}).await, 1);
}

#[tokio::test]
async fn every_broken_rule_is_told_at_once() {
    let harness = Harness::start().await;
    let mut request = sign_up("ann@localhost");
    request.request_id = "7".into();
    request.display_name = "a\u{202e}b".into();
    request.password = "short".into();
    let expected = refused(
        Code::InvalidArgument,
        "INVALID_REQUEST",
        &[
            "request_id INVALID_ID",
            "email INVALID_EMAIL",
            "display_name DISALLOWED_CHARACTER",
            "password WEAK_PASSWORD",
        ],
    );
    assert_eq!(refusal(harness.sign_up(request).await), expected);
    let empty = harness.sign_up(api::user::v1::CreateUserRequest::default()).await;
    let expected = refused(
        Code::InvalidArgument,
        "INVALID_REQUEST",
        &["request_id REQUIRED", "email REQUIRED", "display_name REQUIRED", "password REQUIRED"],
    );
    assert_eq!(refusal(empty), expected);
    assert_eq!(harness.count("user", doc! {}).await, 0);
}

#[tokio::test]
async fn passwords_that_are_guessed_first_are_refused() {
    let harness = Harness::start().await;
    for (password, reason) in [
        ("x".repeat(14), "WEAK_PASSWORD"),
        ("passwordpassword".into(), "WEAK_PASSWORD"),
        ("ann.long.name@example.com".into(), "WEAK_PASSWORD"),
        ("a nul \0 in the middle".into(), "WEAK_PASSWORD"),
        ("y".repeat(40_000), "TOO_LONG"),
    ] {
        let mut request = sign_up("Ann.Long.Name@example.com");
        request.password = password.clone();
        let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &[&format!("password {reason}")]);
        assert_eq!(refusal(harness.sign_up(request).await), expected, "{password:?}");
    }
}

#[tokio::test]
async fn no_password_and_no_hash_is_anywhere_but_in_the_credentials() {
    let harness = Harness::start().await;
    harness.sign_up(sign_up("ann@example.com")).await.unwrap();
    for name in harness.database.list_collection_names().await.unwrap() {
        let mut rows = harness.database.collection::<bson::Document>(&name).find(doc! {}).await.unwrap();
        while rows.advance().await.unwrap() {
            let text = format!("{:?}", rows.deserialize_current().unwrap());
            assert!(!text.contains(PASSWORD), "{name}: {text}");
            assert!(name == "credential" || !text.contains("$argon2"), "{name}: {text}");
        }
    }
}
