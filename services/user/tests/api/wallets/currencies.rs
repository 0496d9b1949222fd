//! What goes on, and what does not, when a currency is withdrawn.

use std::sync::Arc;

use api::common::v1::Money;
use api::user::v1::{
    GetWalletRequest, GrantCreditRequest, ListWalletEntriesRequest, SendCreditRequest, Wallet,
};
use bson::doc;
use time::Duration;
use time::macros::datetime;
use tonic::{Code, Status};
use types::ManualClock;

use super::{grant, grant_of, send, send_of};
use crate::harness::{Harness, Person, is_replay, refusal, refused};
use crate::wallets::ledger::{assert_balanced, trial_balance};

fn hrk(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "HRK".to_owned(), minor_units })
}

fn granting(to: &Person, minor_units: i64) -> GrantCreditRequest {
    GrantCreditRequest { amount: hrk(minor_units), ..grant_of(to, 0) }
}

async fn wallet(owner: &Person) -> Result<Wallet, Status> {
    let request = GetWalletRequest { user_id: String::new(), currency_code: "HRK".to_owned() };
    Ok(owner.caller.wallets().get_wallet(request).await?.into_inner().wallet.unwrap())
}

/// Claim: credit in a withdrawn currency is read and sent, and no new one is made.
#[tokio::test]
async fn credit_in_a_withdrawn_currency_is_read_and_sent_and_no_longer_granted() {
    let clock = Arc::new(ManualClock::at(datetime!(2022-12-31 23:00 UTC)));
    let harness = Harness::start_by(Arc::clone(&clock) as _).await;
    let (admin, ann, ben) = (harness.admin().await, harness.customer().await, harness.customer().await);
    let first = granting(&ann, 700);
    let entry = grant(&admin, &first).await.unwrap().into_inner().entry;
    assert_eq!(wallet(&ben).await.unwrap().balance, hrk(0), "what can be used is shown empty");

    clock.advance(Duration::hours(2));

    // What the grant of the day before did stays its answer.
    let again = grant(&admin, &first).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner().entry, entry);
    let withdrawn = |field: &str| {
        refused(Code::InvalidArgument, "INVALID_REQUEST", &[&format!("{field} CURRENCY_WITHDRAWN")])
    };
    let late = granting(&ann, 1);
    assert_eq!(refusal(grant(&admin, &late).await), withdrawn("amount.currency_code"));
    assert_eq!(harness.count("request", doc! { "_id.method": { "$regex": "GrantCredit" } }).await, 0);
    // The currency comes first: it is wrong whoever the user is.
    let nobody = Person { id: uuid::Uuid::now_v7().to_string(), ..ann.clone() };
    assert_eq!(refusal(grant(&admin, &granting(&nobody, 1)).await), withdrawn("amount.currency_code"));
    // A wallet that nobody can use any more does not come to be by being looked at.
    assert_eq!(refusal(wallet(&ben).await), withdrawn("currency_code"));
    let sending = SendCreditRequest { amount: hrk(200), ..send_of(&ben, 0) };
    send(&ann, &sending).await.unwrap();
    assert_eq!(wallet(&ann).await.unwrap().available, hrk(500));
    assert_eq!(wallet(&ben).await.unwrap().balance, hrk(200));
    let page = ListWalletEntriesRequest { currency_code: "HRK".to_owned(), ..Default::default() };
    let entries = ann.caller.wallets().list_wallet_entries(page).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 2);
    assert_balanced(&trial_balance(&admin).await);
}
