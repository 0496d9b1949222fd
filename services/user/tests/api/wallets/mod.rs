//! Wallets over gRPC: granting, sending, reading.

mod currencies;
mod grants;
mod holds;
mod leaving;
pub(crate) mod ledger;
mod limits;
mod statement;

use std::collections::HashSet;

use api::common::v1::Money;
use api::user::v1::wallet_entry::Kind;
use api::user::v1::{
    CreditGranted, CreditSent, GetWalletRequest, GrantCreditRequest, GrantCreditResponse,
    ListWalletEntriesRequest, ListWalletEntriesResponse, SendCreditRequest, SendCreditResponse, Wallet,
    WalletEntry,
};
use bson::{Document, doc};
use futures_util::future::{join, join_all};
use prost::Message as _;
use testkit::client::request_id;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use types::BALANCE_MAX;
use uuid::Uuid;

use self::ledger::{assert_balanced, trial_balance};
use crate::harness::{Harness, Person, is_replay, refusal, refused};

pub(crate) fn eur(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), minor_units })
}

pub(crate) fn grant_of(to: &Person, minor_units: i64) -> GrantCreditRequest {
    GrantCreditRequest { request_id: request_id(), user_id: to.id.clone(), amount: eur(minor_units) }
}

pub(crate) fn send_of(to: &Person, minor_units: i64) -> SendCreditRequest {
    SendCreditRequest { request_id: request_id(), to_user_id: to.id.clone(), amount: eur(minor_units) }
}

pub(crate) async fn grant(
    admin: &Person,
    request: &GrantCreditRequest,
) -> Result<Response<GrantCreditResponse>, Status> {
    admin.caller.wallets().grant_credit(request.clone()).await
}

pub(crate) async fn send(
    from: &Person,
    request: &SendCreditRequest,
) -> Result<Response<SendCreditResponse>, Status> {
    from.caller.wallets().send_credit(request.clone()).await
}

/// Nothing happened, or nobody knows: the same call again, under the same id.
pub(crate) fn is_to_be_repeated(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::Unavailable | Code::DeadlineExceeded)
}

/// As a client does it that was told to try again: the same id, until there is an outcome.
pub(crate) async fn send_until_done(
    from: &Person,
    request: &SendCreditRequest,
) -> Result<WalletEntry, Status> {
    loop {
        match send(from, request).await {
            Ok(response) => return Ok(response.into_inner().entry.unwrap()),
            Err(status) if is_to_be_repeated(&status) => {}
            Err(status) => return Err(status),
        }
    }
}

pub(crate) async fn wallet_as(viewer: &Person, owner: &str) -> Result<Wallet, Status> {
    let request = GetWalletRequest { user_id: owner.to_owned(), currency_code: "EUR".to_owned() };
    Ok(viewer.caller.wallets().get_wallet(request).await?.into_inner().wallet.unwrap())
}

pub(crate) async fn balance(person: &Person) -> i64 {
    wallet_as(person, "").await.unwrap().balance.unwrap().minor_units
}

pub(crate) async fn entries_as(
    viewer: &Person,
    owner: &str,
    size: i32,
    token: &str,
) -> Result<ListWalletEntriesResponse, Status> {
    let request = ListWalletEntriesRequest {
        user_id: owner.to_owned(),
        currency_code: "EUR".to_owned(),
        page_size: size,
        page_token: token.to_owned(),
        ..ListWalletEntriesRequest::default()
    };
    Ok(viewer.caller.wallets().list_wallet_entries(request).await?.into_inner())
}

pub(crate) async fn rich(harness: &Harness, admin: &Person, minor_units: i64) -> Person {
    let person = harness.customer().await;
    grant(admin, &grant_of(&person, minor_units)).await.unwrap();
    person
}

pub(crate) async fn deactivate(harness: &Harness, person: &Person) {
    let id = doc! { "_id": bson::Uuid::parse_str(&person.id).unwrap() };
    let update = doc! { "$set": { "state": "deactivated" } };
    harness.database.collection::<Document>("user").update_one(id, update).await.unwrap();
}

#[tokio::test]
async fn a_wallet_that_nothing_ever_touched_reads_as_zero() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let wallet = wallet_as(&ann, "").await.unwrap();
    let zero = eur(0);
    let expected = Wallet {
        user_id: ann.id.clone(),
        balance: zero.clone(),
        held: zero.clone(),
        available: zero,
        ..Wallet::default()
    };
    assert_eq!(wallet, expected);
    let nothing = ListWalletEntriesResponse {
        opening_balance: eur(0),
        closing_balance: eur(0),
        ..ListWalletEntriesResponse::default()
    };
    assert_eq!(entries_as(&ann, "", 0, "").await.unwrap(), nothing);
}

#[tokio::test]
async fn a_grant_is_an_entry_and_an_event() {
    let harness = Harness::start().await;
    let (admin, ann) = (harness.admin().await, harness.customer().await);
    let entry = grant(&admin, &grant_of(&ann, 100)).await.unwrap().into_inner().entry.unwrap();
    assert_eq!((entry.sequence, entry.kind(), entry.amount.clone()), (1, Kind::Grant, eur(100)));
    assert_eq!((entry.balance_after.clone(), entry.counterparty_id.as_str()), (eur(100), ""));
    let wallet = wallet_as(&ann, "").await.unwrap();
    assert_eq!((wallet.balance, wallet.available, wallet.held), (eur(100), eur(100), eur(0)));
    assert_eq!(wallet.update_time, entry.create_time);
    assert_eq!(entries_as(&ann, "", 0, "").await.unwrap().entries, std::slice::from_ref(&entry));

    let outbox = harness.database.collection::<Document>("outbox");
    let event = outbox.find_one(doc! { "type": "user.v1.CreditGranted" }).await.unwrap().unwrap();
    let aggregate = event.get_document("aggregate").unwrap();
    assert_eq!(aggregate.get_str("id").unwrap(), format!("{}:EUR", ann.id));
    assert_eq!((aggregate.get_str("type").unwrap(), aggregate.get_i64("version").unwrap()), ("wallet", 1));
    let told = CreditGranted::decode(event.get_binary_generic("payload").unwrap().as_slice()).unwrap();
    assert_eq!(told, CreditGranted { posting_id: entry.posting_id, user_id: ann.id, amount: eur(100) });
    assert_balanced(&trial_balance(&admin).await);
}

#[tokio::test]
async fn fifty_callers_with_one_request_id_make_one_grant_and_hear_one_answer() {
    let harness = Harness::start().await;
    let (admin, ann) = (harness.admin().await, harness.customer().await);
    let request = grant_of(&ann, 100);
    let answers = join_all((0..50).map(|_| async {
        loop {
            match grant(&admin, &request).await {
                Err(status) if is_to_be_repeated(&status) => {}
                outcome => return outcome.unwrap(),
            }
        }
    }))
    .await;
    // None at all if the first one's answer was lost.
    assert!(answers.iter().filter(|answer| !is_replay(answer)).count() <= 1);
    let answers: Vec<_> = answers.into_iter().map(Response::into_inner).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the first answer is everybody's");
    assert_eq!(balance(&ann).await, 100);
    assert_eq!(harness.count("posting", doc! {}).await, 1);
    assert_eq!(harness.events("user.v1.CreditGranted").await, 1);
}

#[tokio::test]
async fn fifty_callers_with_one_request_id_make_one_sending_and_hear_one_answer() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, harness.customer().await);
    let request = send_of(&bob, 70);
    let answers = join_all((0..50).map(|_| send_until_done(&ann, &request))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the first answer is everybody's");
    assert_eq!((balance(&ann).await, balance(&bob).await), (30, 70));
    assert_eq!(harness.events("user.v1.CreditSent").await, 1);
    assert!(is_replay(&send(&ann, &request).await.unwrap()));
    assert_balanced(&trial_balance(&admin).await);
}

#[tokio::test]
async fn a_request_id_with_another_content_changes_nothing() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, harness.customer().await);
    let first = grant_of(&bob, 5);
    grant(&admin, &first).await.unwrap();
    let other = GrantCreditRequest { amount: eur(6), user_id: ann.id.clone(), ..first };
    let reused = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    let outcome = grant(&admin, &other).await;
    let metadata = outcome.as_ref().unwrap_err().get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["fields"], "user_id,amount");
    assert_eq!(refusal(outcome), reused);

    let sent = send_of(&bob, 1);
    send(&ann, &sent).await.unwrap();
    assert_eq!(refusal(send(&ann, &SendCreditRequest { amount: eur(2), ..sent }).await), reused);
    let too_much = send_of(&bob, 1000);
    send(&ann, &too_much).await.unwrap_err();
    assert_eq!(refusal(send(&ann, &SendCreditRequest { amount: eur(1), ..too_much }).await), reused);
    assert_eq!((balance(&ann).await, balance(&bob).await), (99, 6));
}

#[tokio::test]
async fn a_request_id_is_the_callers_own() {
    let harness = Harness::start().await;
    let (one, two, ann) = (harness.admin().await, harness.admin().await, harness.customer().await);
    let request = grant_of(&ann, 5);
    for admin in [&one, &two] {
        assert!(!is_replay(&grant(admin, &request).await.unwrap()));
    }
    // And the method's own: an admin's sending under the id of a grant.
    let bob = harness.customer().await;
    grant(&one, &grant_of(&one, 5)).await.unwrap();
    let sending = SendCreditRequest { request_id: request.request_id, ..send_of(&bob, 5) };
    assert!(!is_replay(&send(&one, &sending).await.unwrap()));
    assert_eq!((balance(&ann).await, balance(&bob).await), (10, 5));
}

/// A wallet with refunds on their way that leave room for so much.
pub(crate) async fn nearly_full(harness: &Harness, person: &Person, room: i64) {
    let on_its_way = BALANCE_MAX - room;
    let row = doc! {
        "_id": { "owner": bson::Uuid::parse_str(&person.id).unwrap(), "currency": "EUR" },
        "balance": 0_i64, "held": 0_i64, "incoming": on_its_way, "available": 0_i64, "reach": on_its_way,
        "sequence": 0_i64, "event_version": 0_i64, "locks": 0_i64,
    };
    harness.database.collection::<Document>("wallet").insert_one(row).await.unwrap();
}

#[tokio::test]
async fn a_sending_is_two_entries_and_one_event_of_the_sender() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, harness.customer().await);
    let entry = send(&ann, &send_of(&bob, 30)).await.unwrap().into_inner().entry.unwrap();
    assert_eq!((entry.sequence, entry.kind(), entry.amount.clone()), (2, Kind::Send, eur(-30)));
    assert_eq!((entry.balance_after.clone(), &entry.counterparty_id), (eur(70), &bob.id));
    let received = entries_as(&bob, "", 0, "").await.unwrap().entries.remove(0);
    assert_eq!((received.sequence, received.kind(), received.amount), (1, Kind::Receive, eur(30)));
    assert_eq!((received.balance_after, &received.counterparty_id), (eur(30), &ann.id));
    assert_eq!(received.posting_id, entry.posting_id);

    let outbox = harness.database.collection::<Document>("outbox");
    let event = outbox.find_one(doc! { "type": "user.v1.CreditSent" }).await.unwrap().unwrap();
    let aggregate = event.get_document("aggregate").unwrap();
    assert_eq!(aggregate.get_str("id").unwrap(), format!("{}:EUR", ann.id));
    assert_eq!(aggregate.get_i64("version").unwrap(), 2, "the grant was the first event of this wallet");
    let told = CreditSent::decode(event.get_binary_generic("payload").unwrap().as_slice()).unwrap();
    assert_eq!((told.from_user_id, told.to_user_id, told.amount), (ann.id, bob.id, eur(30)));
}

#[tokio::test]
async fn a_refused_sending_stays_refused_under_its_id_for_ever() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, harness.customer().await);
    let request = send_of(&bob, 101);
    let refusal_of = |outcome: Result<Response<SendCreditResponse>, Status>| {
        let metadata = outcome.as_ref().unwrap_err().get_details_error_info().unwrap().metadata;
        assert_eq!(metadata["available_minor_units"], "100", "the owner may know what there was");
        refusal(outcome)
    };
    let expected =
        refused(Code::FailedPrecondition, "INSUFFICIENT_CREDIT", &[&format!("users/{}/wallets/EUR", ann.id)]);
    assert_eq!(refusal_of(send(&ann, &request).await), expected);
    grant(&admin, &grant_of(&ann, 900)).await.unwrap();
    let again = send(&ann, &request).await;
    assert_eq!(again.as_ref().unwrap_err().metadata().get("idempotent-replay").unwrap(), "true");
    assert_eq!(refusal_of(again), expected);
    let row = doc! { "_id.request_id": bson::Uuid::parse_str(&request.request_id).unwrap() };
    let kept = harness.database.collection::<Document>("request").find_one(row).await.unwrap().unwrap();
    assert!(!kept.contains_key("expire_time"), "nothing deletes it");
    // Under a new id it is a new wish.
    send(&ann, &send_of(&bob, 101)).await.unwrap();
    assert_eq!((balance(&ann).await, balance(&bob).await), (899, 101));
}

#[tokio::test]
async fn a_sending_needs_two_active_users_and_room() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, gone, full) =
        (rich(&harness, &admin, 100).await, harness.customer().await, harness.customer().await);
    let nobody = Person { id: Uuid::now_v7().to_string(), ..ann.clone() };
    assert_eq!(
        refusal(send(&ann, &send_of(&nobody, 1)).await),
        refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", nobody.id)])
    );
    deactivate(&harness, &gone).await;
    let deactivated =
        |who: &Person| refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&format!("users/{}", who.id)]);
    assert_eq!(refusal(send(&ann, &send_of(&gone, 1)).await), deactivated(&gone));
    nearly_full(&harness, &full, 5).await;
    assert_eq!(
        refusal(send(&ann, &send_of(&full, 6)).await),
        refused(Code::FailedPrecondition, "BALANCE_LIMIT", &[&format!("users/{}", full.id)])
    );
    assert_eq!(balance(&ann).await, 100, "nothing was debited");
    send(&ann, &send_of(&full, 5)).await.unwrap();
    deactivate(&harness, &ann).await;
    assert_eq!(refusal(send(&ann, &send_of(&full, 1)).await), deactivated(&ann));
    assert_eq!(
        refusal(send(&ann, &send_of(&ann, 1)).await),
        refused(Code::InvalidArgument, "INVALID_REQUEST", &["to_user_id SAME_ACCOUNT"])
    );
    assert_balanced(&trial_balance(&admin).await);
}

/// The two outcomes are rows of two collections; nothing but the sender's wallet makes such calls meet.
#[tokio::test]
async fn one_request_id_has_one_outcome_even_while_the_credit_arrives() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    for _ in 0..5 {
        let (ann, bob) = (harness.customer().await, harness.customer().await);
        let request = send_of(&bob, 50);
        let (sent, granted) = join(
            join_all((0..10).map(|_| send_until_done(&ann, &request))),
            grant(&admin, &grant_of(&ann, 50)),
        )
        .await;
        granted.unwrap();
        let outcomes: HashSet<String> = sent
            .into_iter()
            .map(|outcome| {
                outcome.map_or_else(|status| format!("{:?}", status.code()), |entry| entry.posting_id)
            })
            .collect();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let expected = if outcomes.contains("FailedPrecondition") { (50, 0) } else { (0, 50) };
        assert_eq!((balance(&ann).await, balance(&bob).await), expected);
    }
    assert_balanced(&trial_balance(&admin).await);
}

#[tokio::test]
async fn a_book_is_read_in_pages_newest_first() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let ann = harness.customer().await;
    for minor_units in 1..=5 {
        grant(&admin, &grant_of(&ann, minor_units)).await.unwrap();
    }
    let (mut token, mut amounts) = (String::new(), Vec::new());
    loop {
        let page = entries_as(&ann, "", 2, &token).await.unwrap();
        assert!(page.entries.len() <= 2);
        amounts.extend(page.entries.into_iter().map(|entry| entry.amount.unwrap().minor_units));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(amounts, [5, 4, 3, 2, 1]);
    let ours = entries_as(&ann, "", 2, "").await.unwrap().next_page_token;
    assert_eq!(
        refusal(entries_as(&admin, &ann.id, 2, &ours).await),
        refused(Code::InvalidArgument, "INVALID_REQUEST", &["page_token INVALID_PAGE_TOKEN"])
    );
}

#[tokio::test]
async fn anothers_wallet_looks_like_that_of_nobody() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, harness.customer().await);
    let nobody = Uuid::now_v7().to_string();
    for viewed in [&ann.id, &nobody] {
        let hidden = refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {viewed}")]);
        assert_eq!(refusal(wallet_as(&bob, viewed).await), hidden);
        assert_eq!(refusal(entries_as(&bob, viewed, 0, "").await), hidden);
    }
    assert_eq!(wallet_as(&admin, &ann.id).await.unwrap().balance, eur(100));
    assert_eq!(entries_as(&admin, &ann.id, 0, "").await.unwrap().entries.len(), 1);
    assert_eq!(refusal(wallet_as(&admin, &nobody).await).1, "USER_NOT_FOUND");
}
