//! `TransferOrder`.

use api::auth::v1::Role;
use api::order::v1::{Order, OrderTransferred, TransferOrderRequest};
use api::user::v1::user;
use prost::Message as _;
use tonic::{Code, Response, Status};

use crate::harness::{Harness, Person, eur, is_replay, request_id};
use crate::refusal::assert_refused;

fn handing(order: &Order, to: &Person) -> TransferOrderRequest {
    TransferOrderRequest {
        request_id: request_id(),
        order_id: order.id.clone(),
        to_user_id: to.id.clone(),
        etag: String::new(),
    }
}

async fn hand_over(person: &Person, request: TransferOrderRequest) -> Result<Response<Order>, Status> {
    let response = person.caller.orders().transfer_order(request).await?;
    Ok(response.map(|answer| answer.order.unwrap()))
}

#[tokio::test]
async fn a_hand_over_gives_the_order_to_somebody_else_and_its_repeat_says_the_same() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let (bob, cid) = (harness.person(Role::Customer), harness.person(Role::Customer));
    let order = ann.buy(&seller.sell(eur(250), 7).await, 2).await;
    let request = handing(&order, &bob);
    let first = hand_over(&ann, request.clone()).await.unwrap();
    assert!(!is_replay(&first));
    assert_eq!((first.get_ref().customer_id.as_str(), first.get_ref().etag.as_str()), (&*bob.id, "2"));
    assert_refused(
        &ann.order(&order.id).await.unwrap_err(),
        Code::NotFound,
        "ORDER_NOT_FOUND",
        &[&format!("order {}", order.id)],
    );
    hand_over(&bob, handing(&order, &cid)).await.unwrap();
    // The order is neither Ann's nor Bob's now; her call still has its answer.
    let again = hand_over(&ann, request).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner().encode_to_vec(), first.into_inner().encode_to_vec());
    let query =
        "SELECT payload FROM outbox WHERE type = 'order.v1.OrderTransferred' ORDER BY aggregate_version";
    let told: Vec<Vec<u8>> = sqlx::query_scalar(query).fetch_all(&mut harness.sql().await).await.unwrap();
    let told: Vec<_> = told.iter().map(|bytes| OrderTransferred::decode(bytes.as_slice()).unwrap()).collect();
    let hands: Vec<_> = told.iter().map(|event| (&*event.from_user_id, &*event.to_user_id)).collect();
    assert_eq!(hands, [(&*ann.id, &*bob.id), (&*bob.id, &*cid.id)]);
}

#[tokio::test]
async fn a_paid_order_is_handed_over_and_one_that_is_cancelled_or_being_paid_is_not() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let bob = harness.person(Role::Customer);
    let order = ann.buy(&seller.sell(eur(250), 7).await, 2).await;
    let subject = format!("orders/{}", order.id);
    let mut sql = harness.sql().await;
    sqlx::query("UPDATE orders SET state = 'payment_pending'").execute(&mut sql).await.unwrap();
    let status = hand_over(&ann, handing(&order, &bob)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "PAYMENT_PENDING", &[&subject]);
    sqlx::query("UPDATE orders SET state = 'cancelled'").execute(&mut sql).await.unwrap();
    let status = hand_over(&ann, handing(&order, &bob)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&subject]);
    let paid =
        "UPDATE orders SET state = 'paid', paid_minor_units = total_minor_units, payer_id = customer_id";
    sqlx::query(paid).execute(&mut sql).await.unwrap();
    assert_eq!(hand_over(&ann, handing(&order, &bob)).await.unwrap().get_ref().customer_id, bob.id);
    // Refunds go to the wallet that paid.
    let query = "SELECT count(*) FROM orders WHERE payer_id <> customer_id";
    assert_eq!(harness.count(query).await, 1);
}

#[tokio::test]
async fn the_receiver_must_be_another_active_user() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let order = ann.buy(&seller.sell(eur(250), 7).await, 2).await;
    let status = hand_over(&ann, handing(&order, &ann)).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &["to_user_id SAME_USER"]);
    let gone = harness.person(Role::Customer);
    harness.peers.change(&gone.id, |user| user.set_state(user::State::Deactivated));
    let status = hand_over(&ann, handing(&order, &gone)).await.unwrap_err();
    assert_refused(
        &status,
        Code::FailedPrecondition,
        "CUSTOMER_DEACTIVATED",
        &[&format!("users/{}", gone.id)],
    );
    let unknown = harness.person(Role::Customer);
    harness.peers.forget(&unknown.id);
    let status = hand_over(&ann, handing(&order, &unknown)).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", unknown.id)]);
    assert_eq!(ann.order(&order.id).await.unwrap(), order);
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_the_order_or_the_receiver() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let unknown = harness.person(Role::Customer);
    harness.peers.forget(&unknown.id);
    let order = ann.buy(&seller.sell(eur(250), 7).await, 2).await;
    let asked = harness.peers.asked();
    for stranger in [harness.person(Role::Customer), harness.person(Role::Admin), seller] {
        let status = hand_over(&stranger, handing(&order, &unknown)).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "ORDER_NOT_FOUND", &[&format!("order {}", order.id)]);
    }
    assert_eq!(harness.peers.asked(), asked);
}

#[tokio::test]
async fn a_hand_over_of_what_was_read_fails_when_it_has_changed() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let bob = harness.person(Role::Customer);
    let order = ann.buy(&seller.sell(eur(250), 7).await, 2).await;
    let request = TransferOrderRequest { etag: "9".to_owned(), ..handing(&order, &bob) };
    let status = hand_over(&ann, request).await.unwrap_err();
    assert_refused(&status, Code::Aborted, "VERSION_MISMATCH", &[&format!("order {}", order.id)]);
    let request = TransferOrderRequest { etag: order.etag.clone(), ..handing(&order, &bob) };
    assert_eq!(hand_over(&ann, request).await.unwrap().get_ref().customer_id, bob.id);
}
