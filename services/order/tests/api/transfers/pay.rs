//! `PayOrder`.

use std::time::Duration;

use api::auth::v1::Role;
use api::order::v1::order::State as OrderState;
use api::order::v1::transfer::{Decision, Kind, State};
use api::order::v1::{CancelOrderRequest, PayOrderRequest, TransferOrderRequest};
use futures_util::future::join_all;
use prost::Message as _;
use testkit::wait_until;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::book::{account, assert_books_balance, trial_balance};
use crate::harness::{WITHIN, eur, is_replay, request_id};
use crate::paying::{Scene, pay, paying};
use crate::refusal::{assert_refused, is_replayed};
use crate::wallet::{Answer, Wallets};

#[tokio::test]
async fn a_payment_is_answered_when_the_money_has_arrived() {
    let scene = Scene::new().await;
    let mut wallets = Wallets::with(&[(&scene.customer.id, 600)]);
    let request = scene.paying();
    let answer = wallets.serve(&scene.harness, pay(&scene.customer, request.clone())).await.unwrap();
    assert!(!is_replay(&answer));
    let (transfer, order) =
        (answer.get_ref().transfer.clone().unwrap(), answer.get_ref().order.clone().unwrap());
    assert_eq!(
        (transfer.kind(), transfer.state(), transfer.decision()),
        (Kind::Pay, State::Completed, Decision::Confirm)
    );
    assert_eq!(
        (transfer.wallet_user_id.as_str(), transfer.account_owner_id.as_str()),
        (&*scene.customer.id, &*scene.seller.id)
    );
    assert_eq!(
        (transfer.amount, transfer.reason.as_str(), transfer.needs_operator),
        (Some(eur(500)), "", false)
    );
    assert_eq!((order.state(), order.refunded.clone()), (OrderState::Paid, Some(eur(0))));
    assert_eq!(order, scene.customer.order(&order.id).await.unwrap());
    assert_eq!((wallets.balance(&scene.customer.id), account(&scene.seller).await), (100, (500, 0)));
    let id = transfer.id.parse().unwrap();
    assert_eq!(
        scene.story(id).await,
        ["CreditReserveRequested", "CreditConfirmRequested", "TransferCompleted"]
    );
    assert_eq!(scene.harness.events("order.v1.OrderPaid").await, 1);
    assert_eq!(trial_balance(&scene.admin).await.unfinished_count, 0);

    // The order moves on, and the repeat still hears what the first call heard.
    let heir = scene.harness.person(Role::Customer);
    let hand_over = TransferOrderRequest {
        request_id: request_id(),
        order_id: order.id.clone(),
        to_user_id: heir.id.clone(),
        etag: String::new(),
    };
    scene.customer.caller.orders().transfer_order(hand_over).await.unwrap();
    let again = pay(&scene.customer, request).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.get_ref().encode_to_vec(), answer.get_ref().encode_to_vec());
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn a_refused_payment_stays_refused_and_the_order_can_be_paid_again() {
    let scene = Scene::new().await;
    let mut wallets = Wallets::with(&[(&scene.customer.id, 499)]);
    let request = scene.paying();
    let first = wallets.serve(&scene.harness, pay(&scene.customer, request.clone())).await.unwrap_err();
    let id = first.get_error_details().error_info().unwrap().metadata["transfer_id"].clone();
    let subject = format!("transfers/{id}");
    assert_refused(&first, Code::FailedPrecondition, "INSUFFICIENT_CREDIT", &[&subject]);
    assert!(!is_replayed(&first));
    assert_eq!(scene.order_state().await, OrderState::Placed);
    assert_eq!(scene.story(id.parse().unwrap()).await, ["CreditReserveRequested", "TransferCancelled"]);
    assert_eq!((wallets.balance(&scene.customer.id), account(&scene.seller).await), (499, (0, 0)));

    // Enough now, but the request has its outcome.
    let mut wallets = Wallets::with(&[(&scene.customer.id, 1000)]);
    let again = pay(&scene.customer, request).await.unwrap_err();
    assert_refused(&again, Code::FailedPrecondition, "INSUFFICIENT_CREDIT", &[&subject]);
    assert!(is_replayed(&again));
    // Commands of the first payment come again with these wallets: a refusal too late changes nothing.
    let answer = wallets.serve(&scene.harness, pay(&scene.customer, scene.paying())).await.unwrap();
    assert_eq!(answer.get_ref().order.as_ref().unwrap().state(), OrderState::Paid);
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn what_the_wallets_owner_says_is_what_the_caller_hears() {
    for (reason, code, subject) in [
        ("USER_DEACTIVATED", Code::FailedPrecondition, "transfers"),
        ("BALANCE_LIMIT", Code::FailedPrecondition, "transfers"),
        ("WALLET_FROZEN", Code::FailedPrecondition, "transfers"),
        ("WALLET_LIMIT", Code::FailedPrecondition, "transfers"),
        ("USER_NOT_FOUND", Code::NotFound, "user"),
    ] {
        let scene = Scene::new().await;
        let request = scene.paying();
        let refuse = async {
            let id = scene.started(&request.request_id).await;
            scene.tell(id, Answer::Refused(reason)).await;
            id
        };
        let (answer, id) = tokio::join!(pay(&scene.customer, request.clone()), refuse);
        let subject = match subject {
            "user" => format!("user {}", scene.customer.id),
            _ => format!("transfers/{id}"),
        };
        assert_refused(&answer.unwrap_err(), code, reason, &[&subject]);
    }
}

#[tokio::test]
async fn fifty_calls_with_one_request_id_are_one_payment_and_fifty_equal_answers() {
    let scene = Scene::new().await;
    let mut wallets = Wallets::with(&[(&scene.customer.id, 10_000)]);
    let request = scene.paying();
    let calls = join_all((0..50).map(|_| pay(&scene.customer, request.clone())));
    let answers: Vec<_> =
        wallets.serve(&scene.harness, calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
    let first = answers[0].get_ref().encode_to_vec();
    assert!(answers.iter().all(|answer| answer.get_ref().encode_to_vec() == first));
    assert_eq!(scene.harness.count("SELECT count(*) FROM transfers").await, 1);
    assert_eq!((wallets.balance(&scene.customer.id), account(&scene.seller).await), (9_500, (500, 0)));
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn calls_that_wait_hold_no_connection_to_the_database() {
    let scene = Scene::with(&["--postgres-connections=3"]).await;
    let request = scene.paying();
    let calls = join_all((0..20).map(|_| pay(&scene.customer, request.clone())));
    let others = async {
        let id = scene.started(&request.request_id).await;
        // With two connections and twenty waiting calls, these go through only if nobody sits on one.
        for _ in 0..20 {
            scene.customer.order(&scene.order.id).await.unwrap();
        }
        scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
    };
    let (answers, ()) = tokio::join!(calls, others);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn of_two_payments_with_two_ids_one_pays_and_the_other_is_refused() {
    for _ in 0..10 {
        let scene = Scene::new().await;
        let mut wallets = Wallets::with(&[(&scene.customer.id, 10_000)]);
        let calls = join_all((0..4).map(|_| pay(&scene.customer, scene.paying())));
        let answers = wallets.serve(&scene.harness, calls).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        for status in answers.into_iter().filter_map(Result::err) {
            let reason = status.get_error_details().error_info().unwrap().reason.clone();
            assert!(["PAYMENT_PENDING", "INVALID_STATE"].contains(&reason.as_str()), "{status:?}");
            assert_refused(
                &status,
                Code::FailedPrecondition,
                &reason,
                &[&format!("orders/{}", scene.order.id)],
            );
        }
        assert_eq!((wallets.balance(&scene.customer.id), account(&scene.seller).await), (9_500, (500, 0)));
        assert_books_balance(&scene.harness).await;
    }
}

#[tokio::test]
async fn a_refusal_for_the_orders_state_is_an_outcome_too() {
    let scene = Scene::new().await;
    let running = scene.start_payment().await;
    let (second, subject) = (scene.paying(), format!("orders/{}", scene.order.id));
    let status = pay(&scene.customer, second.clone()).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "PAYMENT_PENDING", &[&subject]);
    // The first payment fails, so the order could be paid now; a late copy of the second request must not do it.
    scene.tell(running, Answer::Refused("INSUFFICIENT_CREDIT")).await;
    let status = pay(&scene.customer, second).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "PAYMENT_PENDING", &[&subject]);
    assert!(is_replayed(&status));
    assert_eq!(scene.order_state().await, OrderState::Placed);
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn a_request_id_that_meant_something_else_is_refused_and_nothing_changes() {
    let scene = Scene::paid().await;
    let other = scene.customer.buy(&scene.product, 1).await;
    let request = scene.paying();
    let mut wallets = Wallets::default();
    let status = wallets.serve(&scene.harness, pay(&scene.customer, request.clone())).await.unwrap_err();
    assert_refused(
        &status,
        Code::FailedPrecondition,
        "INVALID_STATE",
        &[&format!("orders/{}", scene.order.id)],
    );
    let reused = PayOrderRequest { order_id: other.id.clone(), ..request };
    let status = pay(&scene.customer, reused).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["fields"], "order_id");
    assert_eq!(scene.customer.order(&other.id).await.unwrap(), other);
}

#[tokio::test]
async fn one_id_for_two_orders_at_once_pays_one_of_them() {
    let scene = Scene::new().await;
    let mut wallets = Wallets::with(&[(&scene.customer.id, 100_000)]);
    for _ in 0..20 {
        let (one, two) =
            (scene.customer.buy(&scene.product, 1).await, scene.customer.buy(&scene.product, 1).await);
        let request = paying(&one);
        let other = PayOrderRequest { order_id: two.id.clone(), ..request.clone() };
        let both = async { tokio::join!(pay(&scene.customer, request), pay(&scene.customer, other)) };
        match wallets.serve(&scene.harness, both).await {
            (Ok(_), Err(status)) | (Err(status), Ok(_)) => {
                assert_refused(
                    &status,
                    Code::InvalidArgument,
                    "REQUEST_ID_REUSED",
                    &["request_id REQUEST_ID_REUSED"],
                );
            }
            both => panic!("{both:?}"),
        }
    }
    assert_eq!(account(&scene.seller).await, (20 * 250, 0));
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn another_persons_order_does_not_exist_not_even_for_its_seller() {
    let scene = Scene::new().await;
    let stranger = scene.harness.person(Role::Customer);
    let subject = format!("order {}", scene.order.id);
    for person in [&stranger, &scene.seller, &scene.admin] {
        let status = pay(person, scene.paying()).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "ORDER_NOT_FOUND", &[&subject]);
    }
    let missing = PayOrderRequest { order_id: request_id(), ..scene.paying() };
    let subject = format!("order {}", missing.order_id);
    let status = pay(&scene.customer, missing).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "ORDER_NOT_FOUND", &[&subject]);
    assert_eq!(scene.harness.count("SELECT count(*) FROM transfers").await, 0);
}

#[tokio::test]
async fn every_broken_rule_of_a_payment_is_named() {
    let scene = Scene::new().await;
    let request = PayOrderRequest { request_id: "x".to_owned(), order_id: String::new() };
    let status = pay(&scene.customer, request).await.unwrap_err();
    assert_refused(
        &status,
        Code::InvalidArgument,
        "INVALID_REQUEST",
        &["request_id INVALID_ID", "order_id REQUIRED"],
    );
}

#[tokio::test]
async fn near_the_deadline_the_transfer_is_named_and_a_repeat_joins_it() {
    let scene = Scene::new().await;
    let request = scene.paying();
    let hasty = scene.customer.caller.within(Duration::from_millis(700));
    let status = hasty.transfers().pay_order(request.clone()).await.unwrap_err();
    let details = status.get_error_details();
    assert_refused_in_progress(&status);
    let id: types::TransferId = details.error_info().unwrap().metadata["transfer_id"].parse().unwrap();
    assert_eq!(scene.transfer(id).await.state(), State::Reserving);
    let run = [(id, Answer::Reserved), (id, Answer::Posted)];
    let finish = scene.teller.tell(&scene.harness, &run);
    let (answer, ()) = tokio::join!(pay(&scene.customer, request), finish);
    let answer = answer.unwrap();
    assert!(is_replay(&answer));
    assert_eq!(answer.get_ref().transfer.as_ref().unwrap().id, id.to_string());
    assert_eq!(scene.harness.count("SELECT count(*) FROM transfers").await, 1);
}

fn assert_refused_in_progress(status: &tonic::Status) {
    assert_refused(status, Code::Unavailable, "REQUEST_IN_PROGRESS", &[]);
    assert!(status.get_error_details().retry_info().is_some());
}

#[tokio::test]
async fn a_transfer_that_another_replica_ends_wakes_the_call_all_the_same() {
    let scene = Scene::new().await;
    let request = scene.paying();
    let elsewhere = async {
        let id = scene.started(&request.request_id).await;
        let mut sql = scene.harness.sql().await;
        // As if another process had decided: nothing in this one is told.
        let now = "state = 'cancelled', decision = 'cancel', reason = 'TRANSFER_EXPIRED', decided_at = now(),
                   next_attempt_at = NULL, version = version + 1";
        sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE transfers SET {now}")))
            .execute(&mut sql)
            .await
            .unwrap();
        id
    };
    let (answer, id) = tokio::join!(pay(&scene.customer, request.clone()), elsewhere);
    let subject = format!("transfers/{id}");
    assert_refused(&answer.unwrap_err(), Code::FailedPrecondition, "TRANSFER_EXPIRED", &[&subject]);
}

#[tokio::test]
async fn while_a_payment_runs_the_order_is_neither_cancelled_nor_handed_over() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    let mut orders = scene.customer.caller.orders();
    let (order_id, subject) = (scene.order.id.clone(), format!("orders/{}", scene.order.id));
    let cancel =
        CancelOrderRequest { request_id: request_id(), order_id: order_id.clone(), etag: String::new() };
    let status = orders.cancel_order(cancel.clone()).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "PAYMENT_PENDING", &[&subject]);
    let to_user_id = scene.harness.person(Role::Customer).id;
    let hand_over =
        TransferOrderRequest { request_id: request_id(), order_id, to_user_id, etag: String::new() };
    let status = orders.transfer_order(hand_over).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "PAYMENT_PENDING", &[&subject]);
    scene.tell(id, Answer::Refused("INSUFFICIENT_CREDIT")).await;
    let cancelled =
        orders.cancel_order(CancelOrderRequest { request_id: request_id(), ..cancel }).await.unwrap();
    assert_eq!(cancelled.into_inner().order.unwrap().state(), OrderState::Cancelled);
}

#[tokio::test]
async fn a_cancel_that_races_a_payment_has_one_winner() {
    for _ in 0..15 {
        let scene = Scene::new().await;
        let mut wallets = Wallets::with(&[(&scene.customer.id, 500)]);
        let cancel = CancelOrderRequest {
            request_id: request_id(),
            order_id: scene.order.id.clone(),
            etag: String::new(),
        };
        let race = async {
            let mut orders = scene.customer.caller.orders();
            tokio::join!(pay(&scene.customer, scene.paying()), orders.cancel_order(cancel))
        };
        let (paid, cancelled) = wallets.serve(&scene.harness, race).await;
        assert_ne!(paid.is_ok(), cancelled.is_ok(), "{paid:?} {cancelled:?}");
        let (state, balance) =
            if paid.is_ok() { (OrderState::Paid, 0) } else { (OrderState::Cancelled, 500) };
        assert_eq!((scene.order_state().await, wallets.balance(&scene.customer.id)), (state, balance));
        assert_eq!(account(&scene.seller).await, (500 - balance, 0));
        scene.harness.assert_stock_adds_up(&scene.product).await;
        assert_books_balance(&scene.harness).await;
    }
}

#[tokio::test]
async fn a_seller_without_room_is_refused_before_and_at_the_decision() {
    let scene = Scene::paid().await;
    let limit = 1_000_000_000_000_000_i64;
    let fill = |room: i64| {
        let scene = &scene;
        async move {
            let query = "UPDATE accounts SET incoming = $1 - balance";
            sqlx::query(query).bind(limit - room).execute(&mut *scene.sql().await).await.unwrap();
        }
    };
    let (one, two) =
        (scene.customer.buy(&scene.product, 2).await, scene.customer.buy(&scene.product, 2).await);

    fill(499).await;
    let request = paying(&one);
    let status = pay(&scene.customer, request.clone()).await.unwrap_err();
    let id = scene.started(&request.request_id).await;
    assert_refused(&status, Code::FailedPrecondition, "BALANCE_LIMIT", &[&format!("transfers/{id}")]);
    assert!(scene.story(id).await.is_empty(), "nobody was asked for anything");

    // Room when it starts, none when it is decided.
    fill(500).await;
    let request = paying(&two);
    let decide = async {
        let id = scene.started(&request.request_id).await;
        fill(499).await;
        scene.tell(id, Answer::Reserved).await;
        assert_eq!(scene.transfer(id).await.state(), State::Cancelling);
        scene.tell(id, Answer::Released).await;
        id
    };
    let (answer, id) = tokio::join!(pay(&scene.customer, request.clone()), decide);
    assert_refused(
        &answer.unwrap_err(),
        Code::FailedPrecondition,
        "BALANCE_LIMIT",
        &[&format!("transfers/{id}")],
    );
    assert_eq!(
        scene.story(id).await,
        ["CreditReserveRequested", "CreditCancelRequested", "TransferCancelled"]
    );
    assert_eq!(scene.customer.order(&two.id).await.unwrap().state(), OrderState::Placed);
    let (balance, _) = account(&scene.seller).await;
    assert_eq!(balance, 500);
}

#[tokio::test]
async fn the_trace_of_the_call_goes_on_in_the_events_that_follow() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    scene.tell(id, Answer::Reserved).await;
    let query = "SELECT headers->>'traceparent' FROM outbox WHERE type = 'order.v1.CreditConfirmRequested'";
    let traceparent: String = sqlx::query_scalar(query).fetch_one(&mut *scene.sql().await).await.unwrap();
    assert!(traceparent.contains("0af7651916cd43dd8448eb211c80319c"), "{traceparent}");
    let query =
        "SELECT headers->>'request_id' IS NOT NULL AND headers->>'traceparent' IS NOT NULL FROM outbox
                 WHERE type = 'order.v1.CreditReserveRequested'";
    let complete: bool = sqlx::query_scalar(query).fetch_one(&mut *scene.sql().await).await.unwrap();
    assert!(complete);
}

#[tokio::test]
async fn many_payments_to_one_merchant_are_decided_in_one_run() {
    let scene = Scene::new().await;
    let mut orders = vec![scene.order.clone()];
    for _ in 0..29 {
        orders.push(scene.customer.buy(&scene.product, 2).await);
    }
    let requests: Vec<_> = orders.iter().map(paying).collect();
    let calls = join_all(requests.iter().map(|request| pay(&scene.customer, request.clone())));
    let run = async {
        let mut ids = Vec::new();
        for request in &requests {
            ids.push(scene.started(&request.request_id).await);
        }
        // Answers of both steps in one run, and duplicates in it.
        let run: Vec<_> = ids
            .iter()
            .flat_map(|id| [(*id, Answer::Reserved), (*id, Answer::Reserved), (*id, Answer::Posted)])
            .collect();
        scene.teller.tell(&scene.harness, &run).await;
    };
    let (answers, ()) = tokio::join!(calls, run);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(account(&scene.seller).await, (30 * 500, 0));
    wait_until(WITHIN, "no transfer to be unfinished", async || {
        match trial_balance(&scene.admin).await.unfinished_count {
            0 => Ok(()),
            count => Err(count),
        }
    })
    .await
    .unwrap();
    assert_books_balance(&scene.harness).await;
}
