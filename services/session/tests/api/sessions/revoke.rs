//! Ending sessions because somebody asks.

use api::session::v1::session_revoked::Cause;
use api::session::v1::{AllSessionsRevoked, RevokeAllSessionsRequest, RevokeSessionRequest, SessionRevoked};
use futures_util::future::join_all;
use tonic::Code;
use tonic_types::StatusExt as _;
use types::Role;
use uuid::Uuid;

use crate::harness::{
    Harness, LoggedIn, is_replay, refusal, refused, request_id, user_in, violations, whole,
};

fn id(login: &LoggedIn) -> String {
    login.session.as_ref().unwrap().id.clone()
}

fn one(session_id: &str, user_id: &str) -> RevokeSessionRequest {
    RevokeSessionRequest {
        request_id: request_id(),
        session_id: session_id.to_owned(),
        user_id: user_id.to_owned(),
    }
}

fn all(user_id: &str) -> RevokeAllSessionsRequest {
    RevokeAllSessionsRequest { request_id: request_id(), user_id: user_id.to_owned() }
}

#[tokio::test]
async fn a_revoked_session_is_dead_at_once_and_the_others_live() {
    let harness = Harness::start().await;
    let (user, login) = harness.somebody().await;
    let other = harness.log_in(&user).await.unwrap();
    harness.revoke(&other, one(&id(&login), "")).await.unwrap();
    for answer in
        [harness.validate(&login.access_token).await.err(), harness.refresh(&login.refresh_token).await.err()]
    {
        assert_eq!(refusal(&answer.unwrap()), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    }
    assert_eq!(harness.own_sessions(&other).await, [id(&other)]);
    let events = harness.events_of(user.id).await;
    let told = events.last().unwrap().decode::<SessionRevoked>().unwrap().unwrap();
    assert_eq!((told.session_id, told.cause), (id(&login), i32::from(Cause::Asked)));
    // One's own, too.
    harness.revoke(&other, one(&id(&other), &user.id.to_string())).await.unwrap();
    assert_eq!(harness.validate(&other.access_token).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn anothers_session_is_as_if_it_did_not_exist() {
    let harness = Harness::start().await;
    let (ann, ann_login) = harness.somebody().await;
    // In the same partition, so that only the check of the owner keeps them apart.
    let bob = harness.peer.sign_up_as(user_in(ann.id.uuid().as_bytes()[15] % 16), Role::Customer);
    let bob = harness.log_in(&bob).await.unwrap();
    let session = id(&ann_login);
    let with_user = harness.revoke(&bob, one(&session, &ann.id.to_string())).await.unwrap_err();
    let without = harness.revoke(&bob, one(&session, "")).await.unwrap_err();
    assert_eq!(refusal(&without), refused(Code::NotFound, "SESSION_NOT_FOUND"));
    assert_eq!(whole(&without), whole(&with_user));
    let missing = Uuid::now_v7().to_string();
    let missing = harness.revoke(&bob, one(&missing, "")).await.unwrap_err();
    assert_eq!(refusal(&missing), refusal(&without));
    let resource = without.get_details_resource_info().unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.resource_name), ("session", session));
    harness.validate(&ann_login.access_token).await.unwrap();
}

#[tokio::test]
async fn an_admin_revokes_anybodys() {
    let harness = Harness::start().await;
    let (ann, first) = harness.somebody().await;
    let second = harness.log_in(&ann).await.unwrap();
    let (_, admin) = harness.somebody_as(Role::Admin).await;
    harness.revoke(&admin, one(&id(&first), &ann.id.to_string())).await.unwrap();
    assert_eq!(harness.own_sessions(&second).await, [id(&second)]);
    let answer = harness.revoke_all(&admin, all(&ann.id.to_string())).await.unwrap();
    assert_eq!(answer.into_inner().revoked_count, 1);
    assert_eq!(harness.validate(&second.access_token).await.unwrap_err().code(), Code::Unauthenticated);
    harness.validate(&admin.access_token).await.unwrap();
    let (_, bob) = harness.somebody().await;
    let status = harness.revoke_all(&bob, all(&ann.id.to_string())).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
}

#[tokio::test]
async fn a_repeated_revocation_gets_the_first_answer() {
    let harness = Harness::start().await;
    let (user, keeper) = harness.somebody().await;
    let login = harness.log_in(&user).await.unwrap();
    let request = one(&id(&login), "");
    assert!(!is_replay(&harness.revoke(&keeper, request.clone()).await.unwrap()));
    let events = harness.events_of(user.id).await.len();
    assert!(is_replay(&harness.revoke(&keeper, request.clone()).await.unwrap()));
    assert_eq!(harness.events_of(user.id).await.len(), events);
    // Under an id of its own it is another request, and there is no such session.
    let again = RevokeSessionRequest { request_id: request_id(), ..request };
    assert_eq!(harness.revoke(&keeper, again).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_repeated_revocation_of_all_tells_the_first_count_and_ends_nothing_new() {
    let harness = Harness::start().await;
    let (user, _) = harness.somebody().await;
    let login = harness.log_in(&user).await.unwrap();
    let (_, admin) = harness.somebody_as(Role::Admin).await;
    let request = all(&user.id.to_string());
    let answers = join_all((0..6).map(|_| harness.revoke_all(&admin, request.clone()))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
    assert!(answers.iter().all(|answer| answer.get_ref().revoked_count == 2));
    assert_eq!(harness.validate(&login.access_token).await.unwrap_err().code(), Code::Unauthenticated);

    let newer = harness.log_in(&user).await.unwrap();
    let repeat = harness.revoke_all(&admin, request).await.unwrap();
    assert!(is_replay(&repeat) && repeat.into_inner().revoked_count == 2);
    harness.validate(&newer.access_token).await.unwrap();

    let events = harness.events_of(user.id).await;
    let told: Vec<_> = events.iter().filter_map(|event| event.decode::<AllSessionsRevoked>()).collect();
    assert_eq!(told, [Ok(AllSessionsRevoked { user_id: user.id.to_string(), auth_epoch: 0 })]);
    let sent = events.iter().find(|event| event.new.event_type.ends_with("AllSessionsRevoked")).unwrap();
    assert!(sent.new.headers.request_id.is_some() && sent.new.headers.traceparent.is_some());
}

#[tokio::test]
async fn revoking_all_where_there_is_none_is_no_change_and_no_event() {
    let harness = Harness::start().await;
    let (_, admin) = harness.somebody_as(Role::Admin).await;
    let nobody = user_in(3);
    let answer = harness.revoke_all(&admin, all(&nobody.to_string())).await.unwrap();
    assert_eq!(answer.into_inner().revoked_count, 0);
    let of_nobody = |event: &events::Event| event.new.aggregate.id == nobody.to_string();
    assert!(!harness.events_of(nobody).await.iter().any(of_nobody));
}

#[tokio::test]
async fn a_request_id_stands_for_one_content_wherever_the_target_lives() {
    let harness = Harness::start().await;
    let admin = harness.peer.sign_up_as(user_in(1), Role::Admin);
    let admin_id = admin.id.to_string();
    let admin = harness.log_in(&admin).await.unwrap();
    let mut targets = Vec::new();
    for partition in [1, 2, 9] {
        let user = harness.peer.sign_up_as(user_in(partition), Role::Customer);
        harness.log_in(&user).await.unwrap();
        targets.push(user.id.to_string());
    }
    for (at, first) in targets.iter().enumerate() {
        let request = all(first);
        harness.revoke_all(&admin, request.clone()).await.unwrap();
        for other in targets.iter().chain([&admin_id]).filter(|other| *other != first) {
            let reused = RevokeAllSessionsRequest { user_id: other.clone(), ..request.clone() };
            let status = harness.revoke_all(&admin, reused).await.unwrap_err();
            assert_eq!(refusal(&status), refused(Code::InvalidArgument, "REQUEST_ID_REUSED"), "{at} {other}");
            assert_eq!(status.get_details_error_info().unwrap().metadata["fields"], "user_id");
            assert_eq!(violations(&status), ["request_id REQUEST_ID_REUSED"]);
        }
    }
    harness.validate(&admin.access_token).await.unwrap();
}

#[tokio::test]
async fn a_refused_revocation_leaves_its_request_id_free() {
    let harness = Harness::start().await;
    let ann = harness.peer.sign_up_as(user_in(1), Role::Customer);
    let bob = harness.peer.sign_up_as(user_in(2), Role::Customer);
    let first = harness.log_in(&bob).await.unwrap();
    let second = harness.log_in(&bob).await.unwrap();

    let refused_one = one(&id(&first), &ann.id.to_string());
    let status = harness.revoke(&second, refused_one.clone()).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::NotFound, "SESSION_NOT_FOUND"));
    let own = RevokeSessionRequest { user_id: String::new(), ..refused_one };
    assert!(!is_replay(&harness.revoke(&second, own).await.unwrap()));
    assert_eq!(harness.own_sessions(&second).await, [id(&second)]);

    let refused_all = all(&ann.id.to_string());
    let status = harness.revoke_all(&second, refused_all.clone()).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
    let own = RevokeAllSessionsRequest { user_id: String::new(), ..refused_all };
    assert_eq!(harness.revoke_all(&second, own).await.unwrap().into_inner().revoked_count, 1);
}

#[tokio::test]
async fn what_is_not_found_leaves_the_request_id_of_an_admin_free() {
    let harness = Harness::start().await;
    let admin = harness.peer.sign_up_as(user_in(1), Role::Admin);
    let admin = harness.log_in(&admin).await.unwrap();
    let user = harness.peer.sign_up_as(user_in(2), Role::Customer);
    let login = harness.log_in(&user).await.unwrap();
    // In the admin's own partition, and in others.
    for partition in [1, 2, 9] {
        let missing = one(&request_id(), &user_in(partition).to_string());
        for _ in 0..2 {
            let status = harness.revoke(&admin, missing.clone()).await.unwrap_err();
            assert_eq!(refusal(&status), refused(Code::NotFound, "SESSION_NOT_FOUND"));
        }
        let login = harness.log_in(&user).await.unwrap();
        let found =
            RevokeSessionRequest { session_id: id(&login), user_id: user.id.to_string(), ..missing.clone() };
        assert!(!is_replay(&harness.revoke(&admin, found.clone()).await.unwrap()), "{partition}");
        assert!(is_replay(&harness.revoke(&admin, found).await.unwrap()));
        let status = harness.revoke(&admin, missing).await.unwrap_err();
        assert_eq!(refusal(&status), refused(Code::InvalidArgument, "REQUEST_ID_REUSED"), "{partition}");
    }
    harness.validate(&login.access_token).await.unwrap();
}

#[tokio::test]
async fn two_callers_with_one_request_id_do_not_meet() {
    let harness = Harness::start().await;
    let (_, ann) = harness.somebody().await;
    let (_, bob) = harness.somebody().await;
    let request = all("");
    for login in [&ann, &bob] {
        let answer = harness.revoke_all(login, request.clone()).await.unwrap();
        assert!(!is_replay(&answer));
        assert_eq!(answer.into_inner().revoked_count, 1);
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_revocation_is_told_at_once() {
    let harness = Harness::start().await;
    let (_, login) = harness.somebody().await;
    let request = RevokeSessionRequest { user_id: "me".to_owned(), ..Default::default() };
    let status = harness.revoke(&login, request).await.unwrap_err();
    assert_eq!(violations(&status), ["request_id REQUIRED", "session_id REQUIRED", "user_id INVALID_ID"]);
    let request = RevokeAllSessionsRequest { request_id: Uuid::nil().to_string(), ..Default::default() };
    let status = harness.revoke_all(&login, request).await.unwrap_err();
    assert_eq!(violations(&status), ["request_id INVALID_ID"]);
}
