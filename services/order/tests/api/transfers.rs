//! Transfers in every order of what may happen to them, and `GetTransfer`, `WatchTransfer`, `ExplainTransfer`,
//! `RetryTransfer`, `CancelTransfer`.

use api::auth::v1::Role;
use api::order::v1::order::State as OrderState;
use api::order::v1::transfer::{Decision, State};
use api::order::v1::*;
use tonic::{Code, Status};
use types::TransferId;
use uuid::Uuid;

use crate::book::{account, assert_books_balance};
use crate::harness::{Person, is_replay, request_id};
use crate::paying::{Scene, pay, paying, refund, refunding};
use crate::refusal::assert_refused;
use crate::wallet::{Answer, Wallets};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Says(Answer),
    TimeRunsOut,
    OperatorCancels,
}

const HAPPENINGS: [Happening; 6] = [
    Happening::Says(Answer::Reserved),
    Happening::Says(Answer::Refused("INSUFFICIENT_CREDIT")),
    Happening::Says(Answer::Posted),
    Happening::Says(Answer::Released),
    Happening::TimeRunsOut,
    Happening::OperatorCancels,
];

fn cancelling(id: TransferId) -> CancelTransferRequest {
    CancelTransferRequest { request_id: request_id(), transfer_id: id.to_string() }
}

fn retrying(id: TransferId) -> RetryTransferRequest {
    RetryTransferRequest { request_id: request_id(), transfer_id: id.to_string() }
}

impl Scene {
    async fn happen(&self, id: TransferId, happening: Happening) {
        match happening {
            Happening::Says(answer) => self.tell(id, answer).await,
            Happening::TimeRunsOut => {
                let query = "UPDATE transfers SET deadline = now() - interval '1 second' WHERE id = $1";
                sqlx::query(query).bind(id.uuid()).execute(&mut *self.sql().await).await.unwrap();
                let request = GetDecisionRequest {
                    transfer_id: id.to_string(),
                    epoch: Uuid::new_v4().to_string(),
                    ..GetDecisionRequest::default()
                };
                let mut transfers = self.harness.peer_service().transfers();
                assert_ne!(
                    transfers.get_decision(request).await.unwrap().get_ref().decision(),
                    Decision::Unspecified
                );
            }
            Happening::OperatorCancels => {
                let undecided = self.transfer(id).await.decision() == Decision::Unspecified;
                match self.admin.caller.transfers().cancel_transfer(cancelling(id)).await {
                    Ok(_) => assert!(undecided),
                    Err(status) => {
                        assert!(!undecided);
                        let subject = format!("transfers/{id}");
                        assert_refused(&status, Code::FailedPrecondition, "ALREADY_DECIDED", &[&subject]);
                    }
                }
            }
        }
    }
}

/// What must have become of a transfer, told again from the protocol and not from the code.
fn expected(story: &[Happening]) -> (State, &'static str) {
    let decides = |happening: &&Happening| !matches!(happening, Happening::Says(Answer::Posted));
    let Some(first) = story.iter().position(|happening| decides(&happening)) else {
        return (State::Reserving, "");
    };
    let after = &story[first + 1..];
    let reason = match story[first] {
        Happening::Says(Answer::Reserved) => {
            let posted = after.contains(&Happening::Says(Answer::Posted));
            return (if posted { State::Completed } else { State::Confirming }, "");
        }
        Happening::Says(Answer::Refused(reason)) => return (State::Cancelled, reason),
        Happening::Says(_) => return (State::Cancelled, "TRANSFER_EXPIRED"),
        Happening::TimeRunsOut => "TRANSFER_EXPIRED",
        Happening::OperatorCancels => "CANCELLED_BY_OPERATOR",
    };
    let ended = after
        .iter()
        .any(|happening| matches!(happening, Happening::Says(Answer::Released | Answer::Refused(_))));
    (if ended { State::Cancelled } else { State::Cancelling }, reason)
}

async fn assert_story(scene: &Scene, id: TransferId, story: &[Happening]) {
    for happening in story {
        scene.happen(id, *happening).await;
    }
    let transfer = scene.transfer(id).await;
    let (state, reason) = expected(story);
    assert_eq!((transfer.state(), transfer.reason.as_str()), (state, reason), "{story:?}");
    // Whatever happens again afterwards, the decision stands and no command is sent twice.
    for again in HAPPENINGS {
        if transfer.decision() != Decision::Unspecified {
            scene.happen(id, again).await;
        }
    }
    let later = scene.transfer(id).await;
    assert_eq!(later.decision(), transfer.decision(), "{story:?}");
    for event_type in
        ["CreditConfirmRequested", "CreditCancelRequested", "TransferCompleted", "TransferCancelled"]
    {
        assert!(scene.sent(id, event_type).await <= 1, "{event_type} after {story:?}");
    }
}

/// Every story of three happenings: 216 of them, answers in every order and number, expiry and cancel anywhere.
#[tokio::test]
async fn a_payment_ends_as_the_protocol_says_in_every_order_of_happenings() {
    let scene = Scene::new().await;
    for story in stories() {
        let order = scene.customer.buy(&scene.product, 1).await;
        let request = paying(&order);
        let id = tokio::select! {
            id = scene.started(&request.request_id) => id,
            answer = pay(&scene.customer, request.clone()) => panic!("{answer:?}"),
        };
        assert_story(&scene, id, &story).await;
        let paid = scene.customer.order(&order.id).await.unwrap().state();
        let decision = scene.transfer(id).await.decision();
        let state = match decision {
            Decision::Confirm => OrderState::Paid,
            Decision::Cancel => OrderState::Placed,
            Decision::Unspecified => OrderState::PaymentPending,
        };
        assert_eq!(paid, state, "{story:?}");
    }
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn a_refund_ends_as_the_protocol_says_in_every_order_of_happenings() {
    let scene = Scene::paid().await;
    for story in stories().into_iter().filter(|story| story[0] != story[1]) {
        let request = refunding(&scene.order, 1);
        let id = tokio::select! {
            id = scene.started(&request.request_id) => id,
            answer = refund(&scene.seller, request.clone()) => panic!("{answer:?}"),
        };
        assert_story(&scene, id, &story).await;
    }
    assert_books_balance(&scene.harness).await;
    let (balance, held) = account(&scene.seller).await;
    let refunded = scene.customer.order(&scene.order.id).await.unwrap().refunded.unwrap().minor_units;
    assert!(balance == 500 - refunded && held <= 36, "{balance} {held} {refunded}");
}

fn stories() -> Vec<Vec<Happening>> {
    let mut stories = vec![Vec::new()];
    for _ in 0..3 {
        stories = stories
            .into_iter()
            .flat_map(|story: Vec<Happening>| HAPPENINGS.map(|next| [story.as_slice(), &[next]].concat()))
            .collect();
    }
    stories
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

#[tokio::test]
async fn an_answer_that_cannot_be_read_halts_the_stream_and_others_events_do_not() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    let mut broken = crate::wallet::event(id, Answer::Reserved);
    broken.new.payload = vec![0xff; 9].into();
    let error = scene.teller.try_tell(&scene.harness, &[broken.clone()]).await.unwrap_err();
    assert!(matches!(error, events::EffectError::Halt(_)), "{error:?}");
    let mut other = broken;
    other.new.event_type = "user.v1.PostCreated".to_owned();
    scene.teller.try_tell(&scene.harness, &[other]).await.unwrap();
    // A transfer that this database never had, as after a restore: no effect, no failure.
    scene.tell(Uuid::now_v7().into(), Answer::Reserved).await;
    assert_eq!(scene.transfer(id).await.state(), State::Reserving);
}

async fn get(person: &Person, id: TransferId) -> Result<Transfer, Status> {
    let request = GetTransferRequest { transfer_id: id.to_string() };
    Ok(person.caller.transfers().get_transfer(request).await?.into_inner().transfer.unwrap())
}

#[tokio::test]
async fn those_whom_a_transfer_concerns_read_it_and_for_others_it_does_not_exist() {
    let scene = Scene::paid().await;
    let id = scene.start_refund(7).await;
    for person in [&scene.customer, &scene.seller, &scene.admin] {
        assert_eq!(get(person, id).await.unwrap(), scene.transfer(id).await);
    }
    let stranger = scene.harness.person(Role::Merchant);
    let subject = format!("transfer {id}");
    assert_refused(&get(&stranger, id).await.unwrap_err(), Code::NotFound, "TRANSFER_NOT_FOUND", &[&subject]);
    let watch = WatchTransferRequest { transfer_id: id.to_string() };
    let status = stranger.caller.transfers().watch_transfer(watch).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "TRANSFER_NOT_FOUND", &[&subject]);
    let missing = TransferId::from_uuid(Uuid::now_v7());
    let subject = format!("transfer {missing}");
    assert_refused(
        &get(&scene.admin, missing).await.unwrap_err(),
        Code::NotFound,
        "TRANSFER_NOT_FOUND",
        &[&subject],
    );
}

#[tokio::test]
async fn a_watcher_sees_every_state_until_the_end() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    let watch = WatchTransferRequest { transfer_id: id.to_string() };
    let mut changes = scene.customer.caller.transfers().watch_transfer(watch).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(change) = changes.message().await.unwrap() {
        let state = change.transfer.unwrap().state();
        seen.push(state);
        match state {
            State::Reserving => scene.tell(id, Answer::Reserved).await,
            // As another replica does it: this process hears nothing and must look.
            State::Confirming => {
                let query = "UPDATE transfers SET needs_operator = true, version = version + 1";
                sqlx::query(query).execute(&mut *scene.sql().await).await.unwrap();
                let again = changes.message().await.unwrap().unwrap().transfer.unwrap();
                assert!(again.needs_operator);
                scene.tell(id, Answer::Posted).await;
            }
            _ => {}
        }
    }
    assert_eq!(seen, [State::Reserving, State::Confirming, State::Completed]);
}

async fn explain(scene: &Scene, id: TransferId) -> ExplainTransferResponse {
    let request = ExplainTransferRequest { transfer_id: id.to_string() };
    scene.admin.caller.transfers().explain_transfer(request).await.unwrap().into_inner()
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
        format!("{} asked to refund 70 EUR for order {}", scene.seller.id, scene.order.id),
        "order.v1.CreditReserveRequested".to_owned(),
        "the account set 70 EUR aside".to_owned(),
        format!(
            "operator {} called order.v1.TransferService/RetryTransfer: reserving to reserving",
            scene.admin.id
        ),
        "decided confirm".to_owned(),
        "the hold of the account became posted".to_owned(),
        "posted: debit merchant, credit transit, 70 EUR".to_owned(),
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
    scene.harness.peers.know_holds([api::user::v1::Hold {
        transfer_id: id.to_string(),
        state: api::user::v1::hold::State::Cancelled.into(),
        reason: "BALANCE_LIMIT".to_owned(),
        create_time: at(1),
        update_time: at(4_000_000_000),
        ..api::user::v1::Hold::default()
    }]);
    let told = explain(&scene, id).await;
    assert!(told.unreachable_sources.is_empty());
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

/// Real wallets and accounts, everything at once; afterwards every cent is where the transfers say.
#[tokio::test]
async fn money_is_conserved_while_everything_happens_at_once() {
    let scene = Scene::new().await;
    let customers: Vec<_> = (0..6).map(|_| scene.harness.person(Role::Customer)).collect();
    let funds: Vec<_> = customers.iter().map(|customer| (customer.id.as_str(), 1_600)).collect();
    let mut wallets = Wallets::with(&funds);
    let busy = futures_util::future::join_all(customers.iter().map(|customer| async {
        for turn in 0..6 {
            let order = customer.buy(&scene.product, 1 + turn % 2).await;
            let Ok(_) = pay(customer, paying(&order)).await else { continue };
            let refunds = (0..3).map(|_| refund(&scene.seller, refunding(&order, 100)));
            futures_util::future::join_all(refunds).await;
        }
    }));
    wallets.serve(&scene.harness, busy).await;
    let total: i64 = customers.iter().map(|customer| wallets.balance(&customer.id)).sum();
    let (balance, held) = account(&scene.seller).await;
    assert_eq!((total + balance, held, wallets.held()), (6 * 1_600, 0, 0));
    assert_eq!(
        scene.harness.count("SELECT count(*) FROM transfers WHERE next_attempt_at IS NOT NULL").await,
        0
    );
    assert_books_balance(&scene.harness).await;
}
