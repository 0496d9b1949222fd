//! `RefundOrder`.

use api::auth::v1::Role;
use api::order::v1::order::State as OrderState;
use api::order::v1::transfer::{Kind, State};
use api::order::v1::{RefundOrderRequest, TransferOrderRequest};
use futures_util::future::join_all;
use prost::Message as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::book::{account, assert_books_balance, trial_balance};
use crate::harness::{eur, is_replay, request_id};
use crate::paying::{Scene, refund, refunding};
use crate::refusal::{assert_refused, is_replayed};
use crate::wallet::{Answer, Wallets};

#[tokio::test]
async fn a_refund_goes_back_to_the_wallet_that_paid_whoever_has_the_order_now() {
    let scene = Scene::paid().await;
    let heir = scene.harness.person(Role::Customer);
    let hand_over = TransferOrderRequest {
        request_id: request_id(),
        order_id: scene.order.id.clone(),
        to_user_id: heir.id.clone(),
        etag: String::new(),
    };
    scene.customer.caller.orders().transfer_order(hand_over).await.unwrap();
    let request = refunding(&scene.order, 200);
    let work = async {
        let id = scene.started(&request.request_id).await;
        assert_eq!(account(&scene.seller).await, (500, 200), "set aside while it runs");
        assert_eq!(scene.seller.order(&scene.order.id).await.unwrap().refunded, Some(eur(0)));
        scene.tell(id, Answer::Reserved).await;
        assert_eq!(trial_balance(&scene.admin).await.unfinished_count, 1);
        scene.tell(id, Answer::Posted).await;
    };
    let (answer, ()) = tokio::join!(refund(&scene.seller, request.clone()), work);
    let answer = answer.unwrap();
    let (transfer, order) =
        (answer.get_ref().transfer.clone().unwrap(), answer.get_ref().order.clone().unwrap());
    assert_eq!((transfer.kind(), transfer.state()), (Kind::Refund, State::Completed));
    assert_eq!((transfer.wallet_user_id.as_str(), transfer.amount), (&*scene.customer.id, Some(eur(200))));
    assert_eq!(
        (order.state(), order.refunded.clone(), order.customer_id),
        (OrderState::Paid, Some(eur(200)), heir.id)
    );
    assert_eq!(account(&scene.seller).await, (300, 0));
    assert_eq!(scene.harness.events("order.v1.OrderRefunded").await, 1);

    // A second refund changes the order's sum; the repeat of the first hears the first answer.
    let second = scene.start_refund(50).await;
    scene.teller.tell(&scene.harness, &[(second, Answer::Reserved), (second, Answer::Posted)]).await;
    let again = refund(&scene.seller, request).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.get_ref().encode_to_vec(), answer.get_ref().encode_to_vec());
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn only_the_seller_and_admins_refund() {
    let scene = Scene::paid().await;
    let other = scene.harness.person(Role::Merchant);
    let status = refund(&other, refunding(&scene.order, 1)).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "ORDER_NOT_FOUND", &[&format!("order {}", scene.order.id)]);
    let status = refund(&scene.customer, refunding(&scene.order, 1)).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    let mut wallets = Wallets::default();
    // The payment was answered by hand; these wallets must not hear of it.
    let request = refunding(&scene.order, 1);
    let work = async {
        let id = scene.started(&request.request_id).await;
        scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
    };
    let (answer, ()) = tokio::join!(refund(&scene.admin, request.clone()), work);
    assert_eq!(answer.unwrap().get_ref().order.as_ref().unwrap().refunded, Some(eur(1)));
    assert_eq!(wallets.balance(&scene.customer.id), 0);
    wallets = Wallets::default();
    assert_eq!(wallets.held(), 0);
}

#[tokio::test]
async fn refunds_side_by_side_never_exceed_what_was_paid() {
    let scene = Scene::paid().await;
    let mut ids = Vec::new();
    let requests: Vec<_> = (0..20).map(|_| refunding(&scene.order, 60)).collect();
    let calls = join_all(requests.iter().map(|request| refund(&scene.seller, request.clone())));
    let work = async {
        for request in &requests {
            ids.push(scene.started(&request.request_id).await);
        }
        let mut run = Vec::new();
        for id in &ids {
            if scene.transfer(*id).await.state() == State::Reserving {
                run.extend([(*id, Answer::Reserved), (*id, Answer::Posted)]);
            }
        }
        assert_eq!(run.len(), 16, "eight times 60 fit into 500");
        scene.teller.tell(&scene.harness, &run).await;
    };
    let (answers, ()) = tokio::join!(calls, work);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 8);
    for status in answers.into_iter().filter_map(Result::err) {
        let subject = format!("orders/{}", scene.order.id);
        assert_refused(&status, Code::FailedPrecondition, "REFUND_EXCEEDS_PAYMENT", &[&subject]);
    }
    assert_eq!(account(&scene.seller).await, (20, 0));
    // To the last cent, and not one more.
    let last = scene.start_refund(20).await;
    scene.teller.tell(&scene.harness, &[(last, Answer::Reserved), (last, Answer::Posted)]).await;
    let status = refund(&scene.seller, refunding(&scene.order, 1)).await.unwrap_err();
    let subject = format!("orders/{}", scene.order.id);
    assert_refused(&status, Code::FailedPrecondition, "REFUND_EXCEEDS_PAYMENT", &[&subject]);
    assert_eq!(account(&scene.seller).await, (0, 0));
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn a_seller_who_has_spent_the_money_cannot_refund_and_the_refusal_is_kept() {
    let scene = Scene::paid().await;
    // Something else has the merchant's money set aside.
    let mut sql = scene.harness.sql().await;
    sqlx::query("UPDATE accounts SET held = 450").execute(&mut sql).await.unwrap();
    let request = refunding(&scene.order, 51);
    let status = refund(&scene.seller, request.clone()).await.unwrap_err();
    let id = scene.started(&request.request_id).await;
    assert_refused(&status, Code::FailedPrecondition, "INSUFFICIENT_CREDIT", &[&format!("transfers/{id}")]);
    sqlx::query("UPDATE accounts SET held = 0").execute(&mut sql).await.unwrap();
    let again = refund(&scene.seller, request).await.unwrap_err();
    assert_refused(&again, Code::FailedPrecondition, "INSUFFICIENT_CREDIT", &[&format!("transfers/{id}")]);
    assert!(is_replayed(&again));
    assert!(scene.story(id).await.is_empty(), "nobody was asked for anything");
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn a_refund_that_the_wallet_refuses_gives_back_what_was_set_aside() {
    let scene = Scene::paid().await;
    let request = refunding(&scene.order, 500);
    let work = async {
        let id = scene.started(&request.request_id).await;
        scene.tell(id, Answer::Refused("BALANCE_LIMIT")).await;
        id
    };
    let (answer, id) = tokio::join!(refund(&scene.seller, request.clone()), work);
    assert_refused(
        &answer.unwrap_err(),
        Code::FailedPrecondition,
        "BALANCE_LIMIT",
        &[&format!("transfers/{id}")],
    );
    assert_eq!((account(&scene.seller).await, scene.order_state().await), ((500, 0), OrderState::Paid));
    assert_books_balance(&scene.harness).await;
    // All of it can be refunded afterwards.
    let id = scene.start_refund(500).await;
    scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
    assert_eq!(account(&scene.seller).await, (0, 0));
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn what_was_not_paid_or_in_another_currency_is_not_refunded() {
    let scene = Scene::new().await;
    let subject = format!("orders/{}", scene.order.id);
    let status = refund(&scene.seller, refunding(&scene.order, 1)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&subject]);
    let scene = Scene::paid().await;
    let subject = format!("orders/{}", scene.order.id);
    let yen = api::common::v1::Money { currency_code: "JPY".to_owned(), minor_units: 1 };
    let request = RefundOrderRequest { amount: Some(yen), ..refunding(&scene.order, 1) };
    let status = refund(&scene.seller, request).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "CURRENCY_MISMATCH", &[&subject]);
    let empty = RefundOrderRequest { amount: Some(eur(0)), ..RefundOrderRequest::default() };
    let status = refund(&scene.seller, empty).await.unwrap_err();
    let broken = ["request_id REQUIRED", "order_id REQUIRED", "amount.minor_units AMOUNT_NOT_POSITIVE"];
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &broken);
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn another_amount_under_the_same_id_is_named() {
    let scene = Scene::paid().await;
    let request = refunding(&scene.order, 501);
    refund(&scene.seller, request.clone()).await.unwrap_err();
    let other = RefundOrderRequest { amount: Some(eur(1)), ..request };
    let status = refund(&scene.seller, other).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["fields"], "amount");
}
