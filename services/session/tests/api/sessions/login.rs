//! Logging in, and what the tokens are good for.

use api::auth::v1::Role as RoleMessage;
use api::common::v1::ErrorReason;
use api::refusal::Refusal;
use api::session::v1::{ListSessionsRequest, LoginRequest, ValidateSessionRequest};
use tonic::Code;
use tonic_types::StatusExt as _;
use types::Role;

use crate::harness::{Harness, USER_TOKEN, bearer, refusal, refused, violations, whole};

#[tokio::test]
async fn whoever_knows_the_password_gets_a_session() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Merchant);
    let login = harness.log_in(&user).await.unwrap();
    let session = login.session.clone().unwrap();
    assert_eq!((session.user_id.as_str(), session.client_name.as_str()), (&*user.id.to_string(), "a test"));
    assert!(session.current);
    let life = session.expire_time.unwrap().seconds - session.create_time.unwrap().seconds;
    let idle = session.idle_expire_time.unwrap().seconds - session.use_time.unwrap().seconds;
    let access = login.access_expire_time.unwrap().seconds - session.create_time.unwrap().seconds;
    assert_eq!((life, idle, access), (12 * 3600, 1800, 900));

    let valid = harness.validate(&login.access_token).await.unwrap();
    assert_eq!((valid.session_id, valid.user_id), (session.id.clone(), user.id.to_string()));
    assert_eq!(valid.role, i32::from(RoleMessage::Merchant));
    assert_eq!(valid.access_expire_time, login.access_expire_time);
    assert_eq!(harness.own_sessions(&login).await, [session.id]);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    let wrong = harness.try_password(&user.email, "not the password").await.unwrap_err();
    let unknown = harness.try_password("nobody@example.com", "not the password").await.unwrap_err();
    assert_eq!(refusal(&wrong), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    assert_eq!(whole(&wrong), whole(&unknown));
    assert!(harness.events_of(user.id).await.is_empty(), "a failed login is no event");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_login_is_told_at_once() {
    let harness = Harness::start().await;
    let request = LoginRequest {
        email: "a\0nn@example.com".to_owned(),
        password: "x".repeat(513),
        client_name: "n".repeat(101),
    };
    let status = harness.client().login(request).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::InvalidArgument, "INVALID_REQUEST"));
    let mut found = violations(&status);
    found.sort();
    assert_eq!(found, ["client_name TOO_LONG", "email CONTROL_CHARACTER", "password TOO_LONG"]);
    let empty = harness.client().login(LoginRequest::default()).await.unwrap_err();
    assert_eq!(violations(&empty), ["email REQUIRED", "password REQUIRED"]);
    assert_eq!(harness.peer.checks(), 0, "user service was asked all the same");
}

#[tokio::test]
async fn what_user_service_does_not_answer_is_no_wrong_password() {
    let harness = Harness::start().await;
    let user = harness.peer.sign_up(Role::Customer);
    let refusal_of = |code, reason: ErrorReason| Refusal::new(code, &reason, "no").into_status();
    for (trouble, expected) in [
        (
            refusal_of(Code::Unavailable, ErrorReason::StorageUnavailable),
            refused(Code::Unavailable, "DEPENDENCY_UNAVAILABLE"),
        ),
        (
            refusal_of(Code::ResourceExhausted, ErrorReason::Overloaded),
            refused(Code::ResourceExhausted, "OVERLOADED"),
        ),
        (
            refusal_of(Code::Internal, ErrorReason::Internal),
            refused(Code::Unavailable, "DEPENDENCY_UNAVAILABLE"),
        ),
    ] {
        harness.peer.trouble(Some(trouble));
        // More often than an address may fail.
        for _ in 0..7 {
            let status = harness.log_in(&user).await.unwrap_err();
            assert_eq!(refusal(&status), expected);
            assert!(status.get_details_retry_info().is_some());
        }
    }
    harness.peer.trouble(None);
    harness.log_in(&user).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    let harness = Harness::start().await;
    let (_, login) = harness.somebody().await;
    let foreign = auth::token::AccessToken::generate(3).expose().to_owned();
    for bad in
        [&foreign, &login.refresh_token, "x", &login.access_token[1..], &login.access_token.replace('_', "-")]
    {
        let status = harness.validate(bad).await.unwrap_err();
        assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"), "{bad}");
    }
    let empty = harness.validate("").await.unwrap_err();
    assert_eq!(violations(&empty), ["access_token REQUIRED"]);
    for bad in [&login.access_token, ""] {
        let status = harness.refresh(bad).await.unwrap_err();
        assert!(matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument));
    }
}

#[tokio::test]
async fn only_user_and_order_service_validate() {
    let harness = Harness::start().await;
    let (_, login) = harness.somebody().await;
    let request = || ValidateSessionRequest { access_token: login.access_token.clone() };
    let mut client = harness.client();
    let anyone = client.validate_session(request()).await.unwrap_err();
    assert_eq!(refusal(&anyone), refused(Code::Unauthenticated, "MISSING_CREDENTIALS"));
    let person = client.validate_session(bearer(request(), &login.access_token)).await.unwrap_err();
    assert_eq!(refusal(&person), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
    client.validate_session(bearer(request(), USER_TOKEN)).await.unwrap();
}

#[tokio::test]
async fn sessions_are_listed_oldest_first_in_pages() {
    let harness = Harness::start().await;
    let (user, first) = harness.somebody().await;
    let mut ids = vec![first.session.clone().unwrap().id];
    for _ in 0..4 {
        ids.push(harness.log_in(&user).await.unwrap().session.unwrap().id);
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSessionsRequest { page_size: 2, page_token, ..Default::default() };
        let page = harness.list(&first, request).await.unwrap();
        assert!(page.sessions.len() <= 2);
        listed.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.iter().map(|session| session.id.clone()).collect::<Vec<_>>(), ids);
    let current: Vec<_> =
        listed.iter().filter(|session| session.current).map(|session| &session.id).collect();
    assert_eq!(current, [&ids[0]]);

    let (_, other) = harness.somebody().await;
    let request = ListSessionsRequest { page_size: 2, ..Default::default() };
    let page_token = harness.list(&first, request).await.unwrap().next_page_token;
    let status =
        harness.list(&other, ListSessionsRequest { page_token, ..Default::default() }).await.unwrap_err();
    assert_eq!(violations(&status), ["page_token INVALID_PAGE_TOKEN"]);
    let status =
        harness.list(&first, ListSessionsRequest { page_size: -1, ..Default::default() }).await.unwrap_err();
    assert_eq!(violations(&status), ["page_size NEGATIVE"]);
}

#[tokio::test]
async fn anothers_sessions_are_for_admins() {
    let harness = Harness::start().await;
    let (ann, ann_login) = harness.somebody().await;
    let (_, bob) = harness.somebody().await;
    let (_, admin) = harness.somebody_as(Role::Admin).await;
    let request = || ListSessionsRequest { user_id: ann.id.to_string(), ..Default::default() };
    let status = harness.list(&bob, request()).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
    let sessions = harness.list(&admin, request()).await.unwrap().sessions;
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].id.clone(), sessions[0].current), (ann_login.session.unwrap().id, false));
}

#[tokio::test]
async fn redis_knows_neither_tokens_nor_passwords_nor_addresses() {
    let harness = Harness::start().await;
    let (user, login) = harness.somebody().await;
    let wrong = "a password that nobody has";
    harness.try_password(&user.email, wrong).await.unwrap_err();
    let mut everything = String::new();
    for key in harness.redis(&["KEYS", "*"]).await.lines() {
        let dump = match harness.redis(&["TYPE", key]).await.as_str() {
            "hash" => harness.redis(&["HGETALL", key]).await,
            "string" => harness.redis(&["GET", key]).await,
            "zset" => harness.redis(&["ZRANGE", key, "0", "-1"]).await,
            "list" => harness.redis(&["LRANGE", key, "0", "-1"]).await,
            "stream" => harness.redis(&["XRANGE", key, "-", "+"]).await,
            other => panic!("{key} is a {other}"),
        };
        everything.push_str(&format!("{key}\n{dump}\n"));
    }
    assert!(everything.contains(&user.id.to_string()));
    for secret in [&login.access_token, &login.refresh_token, &user.password, wrong, &user.email] {
        assert!(!everything.contains(secret), "{secret} is in Redis");
    }
}
