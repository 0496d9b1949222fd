//! What a deactivation or a change of role in user service does to sessions.

use api::session::v1::AllSessionsRevoked;
use api::user::v1::{UserCreated, UserDeactivated};
use testkit::wait_until;
use tonic::Code;
use types::Role;

use crate::harness::{Harness, LoggedIn, SOON, refusal, refused};
use crate::peer::User;

/// Waits until a token is dead.
async fn dead(harness: &Harness, login: &LoggedIn) {
    let ended = async || match harness.validate(&login.access_token).await {
        Ok(_) => Err("the session lives"),
        Err(_) => Ok(()),
    };
    wait_until(SOON, "the session to end", ended).await.unwrap();
}

/// What the user's streams say of revocations by an event: the auth epochs.
async fn told(harness: &Harness, user: &User) -> Vec<i64> {
    let events = harness.events_of(user.id).await;
    let told = events.iter().filter(|event| event.new.aggregate.id == user.id.to_string());
    told.filter_map(|event| event.decode::<AllSessionsRevoked>())
        .map(|told| told.unwrap().auth_epoch)
        .collect()
}

#[tokio::test]
async fn a_deactivation_ends_every_session_and_a_change_of_role_ends_those_before_it() {
    let harness = Harness::start().await;
    let (ann, ann_login) = harness.somebody().await;
    let second = harness.log_in(&ann).await.unwrap();
    let (bob, bob_login) = harness.somebody().await;
    harness.peer.append(ann.id, &UserCreated { user_id: ann.id.to_string(), ..Default::default() });
    harness.peer.deactivate(&ann);
    harness.peer.change_role(&bob, Role::Merchant);
    for login in [&ann_login, &second, &bob_login] {
        dead(&harness, login).await;
    }
    assert_eq!(
        refusal(&harness.log_in(&ann).await.unwrap_err()),
        refused(Code::Unauthenticated, "INVALID_CREDENTIALS")
    );
    let newer = harness.log_in(&bob).await.unwrap();
    let valid = harness.validate(&newer.access_token).await.unwrap();
    assert_eq!(valid.role, i32::from(api::auth::v1::Role::Merchant));
    assert_eq!((told(&harness, &ann).await, told(&harness, &bob).await), (vec![1], vec![1]));
}

#[tokio::test]
async fn who_is_deleted_has_no_session_any_more() {
    let harness = Harness::start().await;
    let ((ann, login), (_, other)) = (harness.somebody().await, harness.somebody().await);
    let second = harness.log_in(&ann).await.unwrap();
    harness.peer.delete(&ann);
    for login in [&login, &second] {
        dead(&harness, login).await;
    }
    harness.validate(&other.access_token).await.unwrap();
    assert_eq!(told(&harness, &ann).await, [1]);
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    let harness = Harness::start().await;
    let (ann, login) = harness.somebody().await;
    let (_, other) = harness.somebody().await;
    let second = harness.log_in(&ann).await.unwrap();
    let changed = harness.peer.set_password(&ann, "a morning on the river");
    for login in [&login, &second] {
        dead(&harness, login).await;
    }
    let refused = refused(Code::Unauthenticated, "INVALID_CREDENTIALS");
    assert_eq!(refusal(&harness.log_in(&ann).await.unwrap_err()), refused);
    let newer = harness.log_in(&changed).await.unwrap();
    for login in [&newer, &other] {
        harness.validate(&login.access_token).await.unwrap();
    }
    assert_eq!(told(&harness, &ann).await, [1]);
}

#[tokio::test]
async fn a_login_after_the_change_survives_the_event_that_comes_later() {
    let harness = Harness::start().await;
    let (user, old) = harness.somebody().await;
    let other = harness.somebody().await;
    // The change is made, its event is on its way: whoever logs in now has the new epoch.
    harness.peer.change_role(&user, Role::Merchant);
    let newer = harness.log_in(&user).await.unwrap();
    dead(&harness, &old).await;
    harness.peer.deactivate(&other.0);
    dead(&harness, &other.1).await;
    assert_eq!(harness.own_sessions(&newer).await, [newer.session.clone().unwrap().id]);
}

#[tokio::test]
async fn a_login_on_its_way_does_not_outlive_a_deactivation_that_overtakes_it() {
    let harness = Harness::start().await;
    let (user, witness) = harness.somebody().await;
    harness.peer.hold();
    let checks = harness.peer.checks();
    let late = harness.log_in(&user);
    let overtake = async {
        // User service has said yes; its answer is on its way when the deactivation is made and applied.
        wait_until(
            SOON,
            "the check",
            async || if harness.peer.checks() > checks { Ok(()) } else { Err("none") },
        )
        .await
        .unwrap();
        harness.peer.deactivate(&user);
        dead(&harness, &witness).await;
        harness.peer.let_go();
    };
    let (late, ()) = tokio::join!(late, overtake);
    assert_eq!(refusal(&late.unwrap_err()), refused(Code::Unauthenticated, "INVALID_CREDENTIALS"));
    assert_eq!(harness.redis(&["KEYS", "*:session:*"]).await, "");
}

#[tokio::test]
async fn a_login_on_its_way_over_a_change_of_role_gets_the_new_role() {
    let harness = Harness::start().await;
    let (user, witness) = harness.somebody().await;
    harness.peer.hold();
    let checks = harness.peer.checks();
    let late = harness.log_in(&user);
    let overtake = async {
        wait_until(
            SOON,
            "the check",
            async || if harness.peer.checks() > checks { Ok(()) } else { Err("none") },
        )
        .await
        .unwrap();
        harness.peer.change_role(&user, Role::Admin);
        dead(&harness, &witness).await;
        harness.peer.let_go();
    };
    let (late, ()) = tokio::join!(late, overtake);
    let valid = harness.validate(&late.unwrap().access_token).await.unwrap();
    assert_eq!(valid.role, i32::from(api::auth::v1::Role::Admin));
    assert_eq!(harness.peer.checks(), checks + 2);
}

#[tokio::test]
async fn a_session_that_a_late_login_made_is_ended_by_the_event_behind_it() {
    let harness = Harness::start().await;
    let (user, _) = harness.somebody().await;
    harness.peer.hold();
    let checks = harness.peer.checks();
    let late = harness.log_in(&user);
    let release = async {
        wait_until(
            SOON,
            "the check",
            async || if harness.peer.checks() > checks { Ok(()) } else { Err("none") },
        )
        .await
        .unwrap();
        harness.peer.let_go();
    };
    let (late, ()) = tokio::join!(late, release);
    let late = late.unwrap();
    harness.peer.deactivate(&user);
    dead(&harness, &late).await;
}

#[tokio::test]
async fn events_that_come_again_after_a_flush_end_no_newer_session() {
    let harness = Harness::start().await;
    let (user, old) = harness.somebody().await;
    harness.peer.change_role(&user, Role::Merchant);
    dead(&harness, &old).await;
    harness.redis(&["FLUSHDB"]).await;
    let newer = harness.log_in(&user).await.unwrap();
    let (other, other_login) = harness.somebody().await;
    // Without a mark the consumer begins at the oldest event; the last one shows that it came that far.
    harness.peer.deactivate(&other);
    dead(&harness, &other_login).await;
    harness.validate(&newer.access_token).await.unwrap();
    assert_eq!(told(&harness, &user).await, [1]);
}

#[tokio::test]
async fn an_event_that_makes_no_sense_is_parked_and_the_others_go_on() {
    let harness = Harness::start().await;
    let (user, login) = harness.somebody().await;
    let (bad, bad_login) = harness.somebody().await;
    harness.peer.append(bad.id, &UserDeactivated { user_id: "nobody".to_owned(), auth_epoch: 1 });
    // Behind the poison of its own aggregate this one has to wait.
    harness.peer.deactivate(&bad);
    harness.peer.deactivate(&user);
    dead(&harness, &login).await;
    harness.validate(&bad_login.access_token).await.unwrap();
    let admin = harness.somebody_as(Role::Admin).await.1;
    let mut client =
        api::event::v1::event_admin_service_client::EventAdminServiceClient::new(harness.channel.clone());
    let request = || api::event::v1::ListParkedRequest {
        consumer: "session.revocations".to_owned(),
        ..Default::default()
    };
    let parked = client
        .list_parked(crate::harness::bearer(request(), &admin.access_token))
        .await
        .unwrap()
        .into_inner();
    let attempts: Vec<_> = parked.events.iter().map(|parked| parked.attempts > 0).collect();
    assert_eq!(attempts, [true, false]);

    let skip = api::event::v1::SkipParkedRequest {
        request_id: crate::harness::request_id(),
        consumer: "session.revocations".to_owned(),
        event_id: parked.events[0].event.clone().unwrap().id,
        justification: "it names nobody".to_owned(),
    };
    client.skip_parked(crate::harness::bearer(skip.clone(), &admin.access_token)).await.unwrap();
    let recorded = harness.redis(&["LINDEX", "{consumer:session.revocations}:skips", "0"]).await;
    let lines: Vec<&str> = recorded.splitn(6, '\n').collect();
    assert_eq!([lines[1], lines[3], lines[5]], [&*skip.event_id, &*skip.request_id, &*skip.justification]);
    assert!(!lines[4].is_empty(), "who it was: {recorded}");
    let retry = api::event::v1::RetryParkedRequest {
        request_id: crate::harness::request_id(),
        consumer: "session.revocations".to_owned(),
        aggregate_type: "user".to_owned(),
        aggregate_id: bad.id.to_string(),
    };
    let answer =
        client.retry_parked(crate::harness::bearer(retry, &admin.access_token)).await.unwrap().into_inner();
    assert_eq!((answer.applied_count, answer.remaining_count), (1, 0));
    assert_eq!(harness.validate(&bad_login.access_token).await.unwrap_err().code(), Code::Unauthenticated);
    let parked = client.list_parked(crate::harness::bearer(request(), &admin.access_token)).await.unwrap();
    assert!(parked.into_inner().events.is_empty());
}

#[tokio::test]
async fn without_a_mark_the_consumer_begins_at_the_oldest_event_that_is_left() {
    let harness = Harness::start().await;
    let (ann, ann_login) = harness.somebody().await;
    for _ in 0..3 {
        harness.peer.append(ann.id, &UserCreated { user_id: ann.id.to_string(), ..Default::default() });
    }
    harness.peer.change_role(&ann, Role::Merchant);
    dead(&harness, &ann_login).await;
    harness.peer.prune(3);
    harness.redis(&["FLUSHDB"]).await;
    let (bob, bob_login) = harness.somebody().await;
    harness.peer.deactivate(&bob);
    dead(&harness, &bob_login).await;
    // The one that was left is applied again.
    assert_eq!(told(&harness, &ann).await, [1]);
}

#[tokio::test]
async fn after_user_service_was_restored_a_resync_lets_everybody_in_again() {
    let harness = Harness::start().await;
    let (ann, old) = harness.somebody().await;
    let admin = harness.peer.sign_up(Role::Admin);
    let before = harness.peer.head_position();
    harness.peer.change_role(&ann, Role::Merchant);
    dead(&harness, &old).await;
    let lost = harness.log_in(&ann).await.unwrap();
    // The change of role is lost, and the auth epoch went back with it: Redis knows a higher one.
    harness.peer.restore(before, &ann);
    assert_eq!(refusal(&harness.log_in(&ann).await.unwrap_err()), refused(Code::Aborted, "CONTENTION"));

    let halted =
        async || match harness.redis(&["HGET", "{consumer:session.revocations}:mark", "halted"]).await {
            reason if reason == "stream_rewound" => Ok(()),
            reason => Err(format!("halted: {reason:?}")),
        };
    wait_until(SOON, "the consumer to notice", halted).await.unwrap();

    let admin = harness.log_in(&admin).await.unwrap();
    let mut client =
        api::event::v1::event_admin_service_client::EventAdminServiceClient::new(harness.channel.clone());
    let resync = api::event::v1::ResyncRequest {
        request_id: crate::harness::request_id(),
        consumer: "session.revocations".to_owned(),
    };
    let answer =
        client.resync(crate::harness::bearer(resync, &admin.access_token)).await.unwrap().into_inner();
    // It goes on before the oldest event that there is: a login that was on its way may have missed one.
    assert_eq!((answer.aggregate_count, answer.position), (2, 0));
    for ended in [&lost, &admin] {
        assert_eq!(harness.validate(&ended.access_token).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let again = harness.log_in(&ann).await.unwrap();
    harness.peer.deactivate(&ann);
    dead(&harness, &again).await;
}

/// A resync forgets all auth epochs, those of deactivations too that the consumer has applied already. A login whose
/// password was checked before such a one, and which is on its way, must not live on.
#[tokio::test]
async fn a_login_on_its_way_during_a_resync_does_not_outlive_a_deactivation() {
    let harness = Harness::start().await;
    let (_, admin) = harness.somebody_as(Role::Admin).await;
    let (user, witness) = harness.somebody().await;
    harness.peer.hold();
    let checks = harness.peer.checks();
    let late = harness.log_in(&user);
    let overtake = async {
        let checked = async || if harness.peer.checks() > checks { Ok(()) } else { Err("none") };
        wait_until(SOON, "the check", checked).await.unwrap();
        harness.peer.deactivate(&user);
        dead(&harness, &witness).await;
        let channel = harness.channel.clone();
        let mut client = api::event::v1::event_admin_service_client::EventAdminServiceClient::new(channel);
        let resync = api::event::v1::ResyncRequest {
            request_id: crate::harness::request_id(),
            consumer: "session.revocations".to_owned(),
        };
        client.resync(crate::harness::bearer(resync, &admin.access_token)).await.unwrap();
        harness.peer.let_go();
    };
    let (login, ()) = tokio::join!(late, overtake);
    match login {
        Ok(login) => dead(&harness, &login).await,
        Err(status) => assert_eq!(refusal(&status), refused(Code::Unauthenticated, "INVALID_CREDENTIALS")),
    }
}
