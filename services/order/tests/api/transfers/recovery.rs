//! What becomes of transfers that do not move by themselves.

use api::order::v1::RetryTransferRequest;
use api::order::v1::order::State as OrderState;
use api::order::v1::transfer::State;
use testkit::wait_until;
use tonic::Code;
use types::TransferId;

use crate::book::assert_books_balance;
use crate::harness::{WITHIN, request_id};
use crate::paying::{Scene, pay, paying};
use crate::refusal::assert_refused;
use crate::wallet::{Answer, Wallets};

impl Scene {
    /// Its time is over, and the worker may look.
    async fn expire(&self, id: TransferId) {
        let query = "UPDATE transfers SET deadline = now(), next_attempt_at = now() WHERE id = $1";
        sqlx::query(query).bind(id.uuid()).execute(&mut *self.sql().await).await.unwrap();
    }

    async fn becomes(&self, id: TransferId, state: State) {
        wait_until(WITHIN, "the transfer to move", async || match self.transfer(id).await {
            transfer if transfer.state() == state => Ok(()),
            transfer => Err(format!("{transfer:?}")),
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn what_nobody_decides_in_time_is_cancelled() {
    let scene = Scene::with(&["--transfer-deadline=400ms", "--transfer-recovery-poll=20ms"]).await;
    let request = paying(&scene.order);
    let release = async {
        let id = scene.started(&request.request_id).await;
        scene.becomes(id, State::Cancelling).await;
        assert_eq!(scene.order_state().await, OrderState::Placed);
        scene.tell(id, Answer::Released).await;
        id
    };
    let (answer, id) = tokio::join!(pay(&scene.customer, request.clone()), release);
    let subject = format!("transfers/{id}");
    assert_refused(&answer.unwrap_err(), Code::FailedPrecondition, "TRANSFER_EXPIRED", &[&subject]);
    assert_eq!(
        scene.story(id).await,
        ["CreditReserveRequested", "CreditCancelRequested", "TransferCancelled"]
    );
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn what_recovery_does_is_a_trace_of_its_own() {
    let scene = Scene::with(&["--transfer-recovery-poll=20ms"]).await;
    let id = scene.start_payment().await;
    scene.expire(id).await;
    scene.becomes(id, State::Cancelling).await;
    let query = "SELECT split_part(headers->>'traceparent', '-', 2) FROM outbox
                 WHERE type IN ('order.v1.CreditReserveRequested', 'order.v1.CreditCancelRequested') ORDER BY id";
    let traces: Vec<Option<String>> =
        sqlx::query_scalar(query).fetch_all(&mut *scene.sql().await).await.unwrap();
    let [Some(asked), Some(cancelled)] = &traces[..] else { panic!("{traces:?}") };
    assert!(asked.len() == 32 && cancelled.len() == 32 && asked != cancelled, "{traces:?}");
}

#[tokio::test]
async fn the_deadline_of_a_transfer_is_not_that_of_its_call() {
    let scene = Scene::with(&["--transfer-recovery-poll=20ms"]).await;
    let id = scene.start_payment().await;
    // The call is long gone; the transfer waits, and completes when it is answered.
    let mut wallets = Wallets::with(&[(&scene.customer.id, 500)]);
    wallets.serve(&scene.harness, scene.becomes(id, State::Completed)).await;
    assert_eq!(scene.order_state().await, OrderState::Paid);
}

#[tokio::test]
async fn what_is_decided_and_does_not_end_calls_an_operator_and_sends_nothing_again() {
    let flags = [
        "--transfer-look-after=20ms",
        "--transfer-look-cap=40ms",
        "--transfer-attempts=3",
        "--transfer-recovery-poll=10ms",
    ];
    let scene = Scene::with(&flags).await;
    let id = scene.start_payment().await;
    scene.tell(id, Answer::Reserved).await;
    wait_until(WITHIN, "an operator to be called", async || match scene.transfer(id).await {
        transfer if transfer.needs_operator => Ok(()),
        transfer => Err(format!("{transfer:?}")),
    })
    .await
    .unwrap();
    assert_eq!(scene.transfer(id).await.state(), State::Confirming);
    assert_eq!(scene.sent(id, "CreditConfirmRequested").await, 1, "the stream keeps the first one");
    let request = RetryTransferRequest { request_id: request_id(), transfer_id: id.to_string() };
    let retried = scene.admin.caller.transfers().retry_transfer(request).await.unwrap().into_inner();
    assert!(!retried.transfer.unwrap().needs_operator, "a new budget");
    assert_eq!(scene.sent(id, "CreditConfirmRequested").await, 2);
    scene.tell(id, Answer::Posted).await;
    let transfer = scene.transfer(id).await;
    assert_eq!((transfer.state(), transfer.needs_operator), (State::Completed, false));
    assert_books_balance(&scene.harness).await;
}

/// Somebody holds the lock of one order for good; the transfers of all others are recovered meanwhile.
#[tokio::test]
async fn one_transfer_that_cannot_be_recovered_stops_no_other() {
    let scene = Scene::with(&["--transfer-recovery-poll=20ms"]).await;
    let stuck = scene.start_payment().await;
    let mut holder = scene.harness.sql().await;
    sqlx::raw_sql("BEGIN; SELECT 1 FROM orders FOR UPDATE").execute(&mut holder).await.unwrap();
    scene.expire(stuck).await;
    for _ in 0..6 {
        let order = scene.customer.buy(&scene.product, 1).await;
        let request = paying(&order);
        let id = tokio::select! {
            id = scene.started(&request.request_id) => id,
            answer = pay(&scene.customer, request.clone()) => panic!("{answer:?}"),
        };
        scene.expire(id).await;
        scene.becomes(id, State::Cancelling).await;
    }
    assert_eq!(scene.transfer(stuck).await.state(), State::Reserving);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    scene.becomes(stuck, State::Cancelling).await;
    assert_books_balance(&scene.harness).await;
}

/// A worker died with claims in its hands: they are worked on when its lease is over, and not before.
#[tokio::test]
async fn the_claims_of_a_dead_worker_are_taken_over() {
    let scene = Scene::with(&["--transfer-recovery-poll=20ms"]).await;
    let id = scene.start_payment().await;
    let claim =
        "UPDATE transfers SET deadline = now(), next_attempt_at = now(), lease_owner = gen_random_uuid(),
                        fence = fence + 1, lease_until = now() + interval '700 milliseconds'";
    sqlx::query(claim).execute(&mut *scene.sql().await).await.unwrap();
    scene.becomes(id, State::Cancelling).await;
    let query =
        "SELECT (decided_at >= deadline + interval '700 milliseconds')::integer::bigint FROM transfers";
    assert_eq!(scene.harness.count(query).await, 1, "taken before its time");
}
