//! Transfers in every order of what may happen to them, and `GetTransfer`, `WatchTransfer`.

mod decision;
mod operator;
mod pay;
mod recovery;
mod refund;

use api::auth::v1::Role;
use api::order::v1::order::State as OrderState;
use api::order::v1::transfer::{Decision, State};
use api::order::v1::*;
use tonic::{Code, Status};
use types::TransferId;
use uuid::Uuid;

use crate::book::{account, assert_books_balance};
use crate::harness::{Person, request_id};
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

pub(crate) fn cancelling(id: TransferId) -> CancelTransferRequest {
    CancelTransferRequest { request_id: request_id(), transfer_id: id.to_string() }
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
