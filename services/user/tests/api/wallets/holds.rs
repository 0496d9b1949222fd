//! `GetHold`: what another service is told of a wallet's side of a transfer.

use api::user::v1::GetHoldRequest;
use api::user::v1::hold::State;
use events::{Direction, Effects as _, Event};
use tonic::Code;
use user_service::storage::{Shared, Store};
use uuid::Uuid;

use crate::book::spec;
use crate::harness::{Harness, refusal, refused};
use crate::transfers::{confirm, effects, reserve};
use crate::wallets::{eur, rich};

#[tokio::test]
async fn a_hold_is_told_with_its_events_and_with_what_it_entered_into_the_book() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let ann = rich(&harness, &admin, 100).await;
    let pay = spec(ann.id.parse().unwrap(), Direction::Debit, 60);
    let store = Store::connect(&harness.mongo_config(), Shared::default()).await.unwrap();
    let after = async |command: Event| {
        let mut tx = store.begin("test").await.unwrap();
        effects().apply(&mut tx, &[command]).await.unwrap();
        tx.commit_now().await.unwrap();
        let request = GetHoldRequest { transfer_id: pay.transfer_id.to_string() };
        harness.order_service().wallets().get_hold(request).await.unwrap().into_inner()
    };
    let held = after(reserve(&pay)).await;
    assert_eq!((held.hold.unwrap().state(), held.posting), (State::Held, None));
    assert_eq!(held.events.len(), 1);

    let posted = after(confirm(pay.transfer_id)).await;
    assert_eq!(posted.hold.unwrap().state(), State::Posted);
    let types: Vec<_> = posted.events.iter().map(|event| event.r#type.as_str()).collect();
    assert_eq!(types, ["user.v1.CreditReserved", "user.v1.CreditPosted"]);
    assert_eq!(posted.events[0].id, held.events[0].id);
    for event in &posted.events {
        assert!(event.create_time.is_some() && event.position >= 0, "{event:?}");
        assert!(event.traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{event:?}");
    }
    let posting = posted.posting.unwrap();
    let accounts = (posting.debit_account.as_str(), posting.credit_account.as_str());
    assert_eq!((accounts, posting.amount), (("wallets", "transit"), eur(60)));
    assert!(posting.create_time.is_some());
}

#[tokio::test]
async fn a_hold_that_never_was_is_not_found() {
    let harness = Harness::start().await;
    let transfer_id = Uuid::now_v7().to_string();
    let request = GetHoldRequest { transfer_id: transfer_id.clone() };
    assert_eq!(
        refusal(harness.order_service().wallets().get_hold(request).await),
        refused(Code::NotFound, "HOLD_NOT_FOUND", &[&format!("hold {transfer_id}")])
    );
}
