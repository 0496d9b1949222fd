//! Somebody is deactivated while credit moves: what has begun ends as it would have, and no money stays on the way.

use api::order::v1::order;
use api::order::v1::transfer::State;
use tonic::Code;

use crate::book::assert_books_balance;
use crate::customers::{created, deactivated, wait_for};
use crate::harness::{Person, item, placing};
use crate::paying::Scene;
use crate::refusal::assert_refused;
use crate::wallet::Answer;

impl Scene {
    /// Order service has heard that this user is deactivated.
    async fn deactivate(&self, person: &Person) {
        let stream = self.harness.peers.stream();
        stream.tell(&person.id, &created(&person.id));
        stream.tell(&person.id, &deactivated(&person.id));
        wait_for(&self.harness, &person.id, "deactivated", "customer", 2).await;
    }
}

#[tokio::test]
async fn a_payment_that_runs_reaches_the_merchant_though_its_payer_is_deactivated() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    scene.deactivate(&scene.customer).await;
    scene.tell(id, Answer::Reserved).await;
    assert_eq!(scene.order_state().await, order::State::Paid);
    scene.deactivate(&scene.seller).await;
    scene.tell(id, Answer::Posted).await;
    assert_eq!(scene.transfer(id).await.state(), State::Completed);
    assert_eq!(scene.harness.count("SELECT sum(balance)::bigint FROM accounts").await, 500);
    assert_books_balance(&scene.harness).await;
    // Nothing new begins.
    let status = scene.customer.place(placing(vec![item(&scene.product, 1)])).await.unwrap_err();
    let subject = format!("users/{}", scene.customer.id);
    assert_refused(&status, Code::FailedPrecondition, "CUSTOMER_DEACTIVATED", &[&subject]);
}

#[tokio::test]
async fn a_refund_that_runs_reaches_a_payer_who_is_deactivated() {
    let scene = Scene::paid().await;
    let id = scene.start_refund(200).await;
    scene.deactivate(&scene.customer).await;
    scene.tell(id, Answer::Reserved).await;
    scene.deactivate(&scene.seller).await;
    scene.tell(id, Answer::Posted).await;
    assert_eq!(scene.transfer(id).await.state(), State::Completed);
    assert_eq!(scene.harness.count("SELECT sum(balance)::bigint FROM accounts").await, 300);
    assert_eq!(scene.harness.count("SELECT sum(held)::bigint FROM accounts").await, 0);
    assert_books_balance(&scene.harness).await;
}

/// The wallets' owner refuses a payer who was deactivated before the reserve arrived: the order can be paid no more,
/// and stands where it stood.
#[tokio::test]
async fn a_payment_that_was_not_reserved_yet_leaves_the_order_as_it_was() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    scene.deactivate(&scene.customer).await;
    scene.tell(id, Answer::Refused("USER_DEACTIVATED")).await;
    let transfer = scene.transfer(id).await;
    assert_eq!((transfer.state(), transfer.reason.as_str()), (State::Cancelled, "USER_DEACTIVATED"));
    assert_eq!(scene.order_state().await, order::State::Placed);
    assert_books_balance(&scene.harness).await;
}
