//! The read model of users: kept up to date by events, mended by an operator.

mod deactivated;

use api::auth::v1::Role;
use api::event::v1::{ListParkedRequest, ResyncRequest, SkipParkedRequest};
use api::order::v1::TransferOrderRequest;
use api::user::v1::{UserCreated, UserDeactivated, UserDeleted, UserReactivated, UserRoleChanged, user};
use testkit::{ServiceName, wait_until};
use tonic::Code;
use uuid::Uuid;

use crate::harness::{Harness, WITHIN, eur, item, placing, request_id};
use crate::refusal::assert_refused;

/// State, role and version of a user, as the read model has them.
type Row = (String, String, i64);

async fn known(harness: &Harness, user_id: &str) -> Option<Row> {
    sqlx::query_as("SELECT state, role, version FROM customers WHERE user_id = $1")
        .bind(Uuid::parse_str(user_id).unwrap())
        .fetch_optional(&mut harness.sql().await)
        .await
        .unwrap()
}

pub(crate) async fn wait_for(harness: &Harness, user_id: &str, state: &str, role: &str, version: i64) {
    let expected = Some((state.to_owned(), role.to_owned(), version));
    wait_until(WITHIN, "the read model", async || {
        let found = known(harness, user_id).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
}

pub(crate) fn created(user_id: &str) -> UserCreated {
    let mut event = UserCreated { user_id: user_id.to_owned(), display_name: "Ann".to_owned(), role: 0 };
    event.set_role(Role::Customer);
    event
}

fn has_role(user_id: &str, role: Role) -> UserRoleChanged {
    UserRoleChanged { user_id: user_id.to_owned(), role: role.into(), auth_epoch: 2 }
}

pub(crate) fn deactivated(user_id: &str) -> UserDeactivated {
    UserDeactivated { user_id: user_id.to_owned(), auth_epoch: 2 }
}

#[tokio::test]
async fn users_who_come_change_and_go_are_known_without_asking() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let stream = harness.peers.stream();
    stream.tell(&ann.id, &created(&ann.id));
    wait_for(&harness, &ann.id, "active", "customer", 1).await;
    ann.buy(&tea, 1).await;
    assert_eq!(harness.peers.asked(), 0);
    stream.tell(&ann.id, &has_role(&ann.id, Role::Merchant));
    wait_for(&harness, &ann.id, "active", "merchant", 2).await;
    stream.tell(&ann.id, &deactivated(&ann.id));
    wait_for(&harness, &ann.id, "deactivated", "merchant", 3).await;
    let status = ann.place(placing(vec![item(&tea, 1)])).await.unwrap_err();
    assert_refused(
        &status,
        Code::FailedPrecondition,
        "CUSTOMER_DEACTIVATED",
        &[&format!("users/{}", ann.id)],
    );
    stream.tell(&ann.id, &UserReactivated { user_id: ann.id.clone() });
    wait_for(&harness, &ann.id, "active", "merchant", 4).await;
    ann.buy(&tea, 1).await;
    assert_eq!(harness.peers.asked(), 0);
    wait_until(WITHIN, "the acknowledgement", async || match stream.acknowledged("order.customers") {
        4 => Ok(()),
        position => Err(position),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn who_is_deleted_orders_nothing_gets_nothing_and_was_never_there() {
    let harness = Harness::start().await;
    let (seller, ann, bob) =
        (harness.person(Role::Merchant), harness.person(Role::Customer), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let stream = harness.peers.stream();
    for person in [&ann, &bob] {
        stream.tell(&person.id, &created(&person.id));
        wait_for(&harness, &person.id, "active", "customer", 1).await;
    }
    // The offers are known from here on, so that the next order is put together without a look.
    let order = bob.buy(&tea, 1).await;
    stream.tell(&ann.id, &UserDeleted { user_id: ann.id.clone(), auth_epoch: 2 });
    wait_for(&harness, &ann.id, "deleted", "customer", 2).await;
    let subject = format!("user {}", ann.id);
    let status = ann.place(placing(vec![item(&tea, 1)])).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "USER_NOT_FOUND", &[&subject]);
    let request = TransferOrderRequest {
        request_id: request_id(),
        order_id: order.id.clone(),
        to_user_id: ann.id.clone(),
        etag: String::new(),
    };
    let status = bob.caller.orders().transfer_order(request).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "USER_NOT_FOUND", &[&subject]);
    assert_eq!(harness.peers.asked(), 0);
    harness.assert_stock_adds_up(&tea).await;

    // Somebody of whom user service tells that before its event does.
    let cid = harness.person(Role::Customer);
    harness.peers.change(&cid.id, |user| {
        user.set_state(user::State::Deleted);
        user.version = 3;
    });
    let status = cid.place(placing(vec![item(&tea, 1)])).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", cid.id)]);
    stream.tell(&cid.id, &created(&cid.id));
    stream.tell(&bob.id, &has_role(&bob.id, Role::Merchant));
    wait_for(&harness, &bob.id, "active", "merchant", 2).await;
    assert_eq!(known(&harness, &cid.id).await, Some(("deleted".to_owned(), "customer".to_owned(), 3)));
}

#[tokio::test]
async fn an_event_that_is_older_than_an_answer_changes_nothing() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    // User service knows already what its events have not told yet.
    harness.peers.change(&ann.id, |user| {
        user.set_state(user::State::Deactivated);
        user.version = 2;
    });
    ann.place(placing(vec![item(&tea, 1)])).await.unwrap_err();
    let stream = harness.peers.stream();
    stream.tell(&ann.id, &created(&ann.id));
    let last = harness.person(Role::Customer);
    stream.tell(&last.id, &created(&last.id));
    wait_for(&harness, &last.id, "active", "customer", 1).await;
    assert_eq!(known(&harness, &ann.id).await, Some(("deactivated".to_owned(), "customer".to_owned(), 2)));
    stream.tell(&ann.id, &deactivated(&ann.id));
    stream.tell(&ann.id, &has_role(&ann.id, Role::Admin));
    wait_for(&harness, &ann.id, "deactivated", "admin", 3).await;
}

#[tokio::test]
async fn a_change_of_nobody_is_parked_others_flow_and_an_operator_skips_it() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.person(Role::Customer), harness.person(Role::Customer));
    let admin = harness.person(Role::Admin);
    let stream = harness.peers.stream();
    stream.skip_versions(&ann.id, 1);
    let poison = stream.tell(&ann.id, &deactivated(&ann.id));
    stream.tell(&bob.id, &created(&bob.id));
    wait_for(&harness, &bob.id, "active", "customer", 1).await;
    assert_eq!(known(&harness, &ann.id).await, None);
    let mut operator = admin.caller.event_admin(ServiceName::Order);
    let list = ListParkedRequest { consumer: "order.customers".to_owned(), ..ListParkedRequest::default() };
    let parked = operator.list_parked(list.clone()).await.unwrap().into_inner().events;
    let ids: Vec<_> = parked.iter().map(|parked| parked.event.as_ref().unwrap().id.clone()).collect();
    assert_eq!(ids, [poison.to_string()]);
    assert!(parked[0].error.contains("never created"), "{}", parked[0].error);
    let skip = SkipParkedRequest {
        request_id: request_id(),
        consumer: "order.customers".to_owned(),
        event_id: poison.to_string(),
        justification: "nobody".to_owned(),
    };
    operator.skip_parked(skip).await.unwrap();
    assert!(operator.list_parked(list.clone()).await.unwrap().into_inner().events.is_empty());
    let status = ann.caller.event_admin(ServiceName::Order).list_parked(list).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
}

#[tokio::test]
async fn a_rewound_stream_stops_both_consumers_and_only_customers_are_rebuilt() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.person(Role::Customer), harness.person(Role::Customer));
    let admin = harness.person(Role::Admin);
    let stream = harness.peers.stream();
    stream.tell(&ann.id, &created(&ann.id));
    wait_until(WITHIN, "both consumers to have the event", async || {
        let marks = harness.count("SELECT count(*) FROM consumer_mark WHERE position = 1").await;
        if marks == 2 { Ok(()) } else { Err(marks) }
    })
    .await
    .unwrap();
    stream.rewind();
    stream.tell(&bob.id, &created(&bob.id));
    wait_until(WITHIN, "both consumers to halt", async || {
        let halted = harness.count("SELECT count(*) FROM consumer_mark WHERE halted IS NOT NULL").await;
        if halted == 2 { Ok(()) } else { Err(halted) }
    })
    .await
    .unwrap();
    assert_eq!(known(&harness, &bob.id).await, None);
    let mut operator = admin.caller.event_admin(ServiceName::Order);
    let resync = |consumer: &str| ResyncRequest { request_id: request_id(), consumer: consumer.to_owned() };
    let status = operator.resync(resync("order.transfers")).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "RESYNC_UNSUPPORTED", &["order.transfers"]);
    let answer = operator.resync(resync("order.customers")).await.unwrap().into_inner();
    assert_eq!((answer.aggregate_count, answer.position), (3, 1));
    wait_for(&harness, &bob.id, "active", "customer", 1).await;
    wait_for(&harness, &admin.id, "active", "admin", 1).await;
    stream.tell(&bob.id, &deactivated(&bob.id));
    wait_for(&harness, &bob.id, "deactivated", "customer", 2).await;
}
