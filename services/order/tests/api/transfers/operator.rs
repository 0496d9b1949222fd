//! Transfers that an operator looks at: `ExplainTransfer`, `RetryTransfer`, `CancelTransfer`.

use api::order::v1::order::State as OrderState;
use api::order::v1::transfer::State;
use api::order::v1::*;
use tonic::Code;
use types::TransferId;
use uuid::Uuid;

use crate::book::assert_books_balance;
use crate::harness::{eur, is_replay, request_id};
use crate::paying::Scene;
use crate::refusal::assert_refused;
use crate::transfers::cancelling;
use crate::wallet::Answer;

fn retrying(id: TransferId) -> RetryTransferRequest {
    RetryTransferRequest { request_id: request_id(), transfer_id: id.to_string() }
}

async fn explain(scene: &Scene, id: TransferId) -> ExplainTransferResponse {
    let request = ExplainTransferRequest { transfer_id: id.to_string() };
    scene.admin.caller.transfers().explain_transfer(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn an_answer_that_contradicts_the_protocol_changes_nothing_and_calls_an_operator() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    scene.tell(id, Answer::Posted).await;
    let transfer = scene.transfer(id).await;
    assert_eq!((transfer.state(), transfer.needs_operator), (State::Reserving, true));
    scene.tell(id, Answer::Reserved).await;
    scene.tell(id, Answer::Impossible).await;
    let transfer = scene.transfer(id).await;
    assert_eq!((transfer.state(), transfer.needs_operator), (State::Confirming, true));
    let told = explain(&scene, id).await;
    assert_eq!(told.last_error, "the wallet's owner calls it impossible: confirm of a hold that is none");
    scene.tell(id, Answer::Posted).await;
    let transfer = scene.transfer(id).await;
    assert_eq!((transfer.state(), transfer.needs_operator), (State::Completed, false));
    assert_books_balance(&scene.harness).await;
}

/// A contradiction that comes after the end: no state changes any more, so only an operator can take the flag away.
#[tokio::test]
async fn an_operator_takes_the_flag_from_a_transfer_that_has_ended_once_and_on_the_record() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
    let mut transfers = scene.admin.caller.transfers();
    let status = transfers.retry_transfer(retrying(id)).await.unwrap_err();
    let subject = format!("transfers/{id}");
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&subject]);
    let story = scene.story(id).await;

    scene.tell(id, Answer::Impossible).await;
    assert!(scene.transfer(id).await.needs_operator);
    let request = retrying(id);
    let first = transfers.retry_transfer(request.clone()).await.unwrap().into_inner();
    let transfer = first.transfer.clone().unwrap();
    assert_eq!((transfer.state(), transfer.needs_operator), (State::Completed, false));
    assert_eq!(scene.transfer(id).await, transfer);
    let again = transfers.retry_transfer(request).await.unwrap();
    assert!(is_replay(&again) && again.into_inner() == first);
    assert_eq!(scene.story(id).await, story, "nothing is sent");
    let told = explain(&scene, id).await;
    assert!(told.last_error.ends_with("confirm of a hold that is none"), "what was wrong stays to be read");
    let said = format!(
        "operator {} called order.v1.TransferService/RetryTransfer: completed to completed",
        scene.admin.id
    );
    assert_eq!(told.steps.iter().filter(|step| step.description == said).count(), 1, "{:#?}", told.steps);
    let status = transfers.retry_transfer(retrying(id)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&subject]);
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn an_operator_is_told_all_that_is_known_and_who_did_not_answer() {
    let scene = Scene::paid().await;
    let id = scene.start_refund(70).await;
    scene.admin.caller.transfers().retry_transfer(retrying(id)).await.unwrap();
    scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
    let told = explain(&scene, id).await;
    assert_eq!(told.transfer, Some(scene.transfer(id).await));
    assert!(told.steps.is_sorted_by_key(|step| step.time.map(|time| (time.seconds, time.nanos))));
    let expected = [
        format!("{} asked to refund 0.70 EUR for order {}", scene.seller.id, scene.order.id),
        "order.v1.CreditReserveRequested".to_owned(),
        "the account set 0.70 EUR aside".to_owned(),
        format!(
            "operator {} called order.v1.TransferService/RetryTransfer: reserving to reserving",
            scene.admin.id
        ),
        "decided confirm".to_owned(),
        "the hold of the account became posted".to_owned(),
        "posted: debit merchant, credit transit, 0.70 EUR".to_owned(),
        "order.v1.CreditConfirmRequested".to_owned(),
        "order.v1.TransferCompleted".to_owned(),
    ];
    for what in expected {
        let step = told.steps.iter().find(|step| step.description.starts_with(&what));
        let step = step.unwrap_or_else(|| panic!("{what:?} is missing in {:#?}", told.steps));
        assert_eq!(step.source, "order-service");
        assert_eq!(what.starts_with("order.v1"), !step.event_id.is_empty(), "{step:?}");
        assert!(step.event_id.is_empty() || step.trace_id.len() == 32, "{step:?}");
    }
    // The wallets do not answer yet.
    assert_eq!(told.unreachable_sources, ["user-service"]);
    assert!(told.steps.iter().all(|step| step.source == "order-service"));

    let at = |seconds| {
        Some(api::violations::timestamp(time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)))
    };
    let hold = api::user::v1::Hold {
        transfer_id: id.to_string(),
        state: api::user::v1::hold::State::Cancelled.into(),
        reason: "BALANCE_LIMIT".to_owned(),
        create_time: at(1),
        update_time: at(4_000_000_000),
        ..api::user::v1::Hold::default()
    };
    let event = |id: &str, position| api::user::v1::HoldEvent {
        id: id.to_owned(),
        r#type: "user.v1.CreditReserved".to_owned(),
        create_time: at(2),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        position,
    };
    let ids = [Uuid::now_v7().to_string(), Uuid::now_v7().to_string()];
    let posting = api::user::v1::HoldPosting {
        debit_account: "transit".to_owned(),
        credit_account: "wallets".to_owned(),
        amount: Some(eur(70)),
        create_time: at(3),
    };
    scene.harness.peers.know_holds([api::user::v1::GetHoldResponse {
        hold: Some(hold),
        events: vec![event(&ids[0], 17), event(&ids[1], 0)],
        posting: Some(posting),
    }]);
    let told = explain(&scene, id).await;
    assert!(told.unreachable_sources.is_empty());
    let there: Vec<_> = told
        .steps
        .iter()
        .filter(|step| step.source == "user-service")
        .map(|step| (step.description.as_str(), step.event_id.as_str(), step.trace_id.as_str()))
        .collect();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(
        there[1..4],
        [
            ("user.v1.CreditReserved at position 17", ids[0].as_str(), trace),
            ("user.v1.CreditReserved, not stamped yet", ids[1].as_str(), trace),
            ("posted: debit transit, credit wallets, 0.70 EUR", "", ""),
        ]
    );
    let (first, last) = (told.steps.first().unwrap(), told.steps.last().unwrap());
    assert_eq!(
        (first.source.as_str(), first.description.as_str()),
        ("user-service", "the wallet's hold was made")
    );
    assert_eq!(last.description, "the wallet's hold is cancelled: BALANCE_LIMIT");
    // That user service never heard of it is an answer, too.
    scene.harness.peers.know_holds([]);
    let told = explain(&scene, id).await;
    assert!(
        told.unreachable_sources.is_empty() && told.steps.iter().all(|step| step.source == "order-service")
    );

    let request = ExplainTransferRequest { transfer_id: id.to_string() };
    let status = scene.seller.caller.transfers().explain_transfer(request).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
}

#[tokio::test]
async fn an_operator_cancels_what_is_undecided_once_and_on_the_record() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    let mut transfers = scene.admin.caller.transfers();
    let request = cancelling(id);
    let first = transfers.cancel_transfer(request.clone()).await.unwrap();
    let transfer = first.get_ref().transfer.clone().unwrap();
    assert_eq!((transfer.state(), transfer.reason.as_str()), (State::Cancelling, "CANCELLED_BY_OPERATOR"));
    assert_eq!(scene.order_state().await, OrderState::Placed);
    scene.tell(id, Answer::Released).await;
    assert_eq!(scene.transfer(id).await.state(), State::Cancelled);
    let again = transfers.cancel_transfer(request.clone()).await.unwrap();
    assert!(is_replay(&again) && !is_replay(&first));
    assert_eq!(again.into_inner(), first.into_inner());
    let other = CancelTransferRequest { transfer_id: self::request_id(), ..request };
    let status = transfers.cancel_transfer(other).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    let query =
        "SELECT principal || ' ' || method || ' ' || state_before || ' ' || state_after FROM transfer_audit";
    let audit: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut *scene.sql().await).await.unwrap();
    let expected = format!("{} order.v1.TransferService/CancelTransfer reserving cancelling", scene.admin.id);
    assert_eq!(audit, [expected]);
    let missing = CancelTransferRequest { request_id: request_id(), transfer_id: request_id() };
    let subject = format!("transfer {}", missing.transfer_id);
    let status = transfers.cancel_transfer(missing).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "TRANSFER_NOT_FOUND", &[&subject]);
}

#[tokio::test]
async fn a_retry_sends_the_present_steps_command_once_more() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    let mut transfers = scene.admin.caller.transfers();
    let request = retrying(id);
    let first = transfers.retry_transfer(request.clone()).await.unwrap().into_inner();
    let again = transfers.retry_transfer(request).await.unwrap();
    assert!(is_replay(&again) && again.into_inner() == first);
    assert_eq!(scene.sent(id, "CreditReserveRequested").await, 2);
    scene.tell(id, Answer::Reserved).await;
    scene.tell(id, Answer::Reserved).await;
    transfers.retry_transfer(retrying(id)).await.unwrap();
    assert_eq!(
        (scene.sent(id, "CreditConfirmRequested").await, scene.transfer(id).await.state()),
        (2, State::Confirming)
    );
    scene.tell(id, Answer::Posted).await;
    let status = transfers.retry_transfer(retrying(id)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&format!("transfers/{id}")]);
    assert_eq!(scene.harness.count("SELECT count(*) FROM transfer_audit").await, 2);
    assert_books_balance(&scene.harness).await;
}
