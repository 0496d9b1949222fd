//! Wallets over gRPC: granting, sending, reading, and the proofs that no credit is made or lost.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use api::common::v1::Money;
use api::user::v1::wallet_entry::Kind;
use api::user::v1::{
    CreditGranted, CreditSent, GetHoldRequest, GetTrialBalanceRequest, GetWalletRequest, GrantCreditRequest,
    GrantCreditResponse, ListWalletEntriesRequest, ListWalletEntriesResponse, SendCreditRequest,
    SendCreditResponse, TrialBalanceLine, Wallet, WalletEntry,
};
use bson::{Document, doc};
use futures_util::future::{join, join_all};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use testkit::client::request_id;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use types::BALANCE_MAX;
use user_service::ChainBroken;
use user_service::storage::{Shared, Store};
use uuid::Uuid;

use crate::harness::{Harness, Person, is_replay, refusal, refused};

fn eur(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), minor_units })
}

fn grant_of(to: &Person, minor_units: i64) -> GrantCreditRequest {
    GrantCreditRequest { request_id: request_id(), user_id: to.id.clone(), amount: eur(minor_units) }
}

fn send_of(to: &Person, minor_units: i64) -> SendCreditRequest {
    SendCreditRequest { request_id: request_id(), to_user_id: to.id.clone(), amount: eur(minor_units) }
}

async fn grant(admin: &Person, request: &GrantCreditRequest) -> Result<Response<GrantCreditResponse>, Status> {
    admin.caller.wallets().grant_credit(request.clone()).await
}

async fn send(from: &Person, request: &SendCreditRequest) -> Result<Response<SendCreditResponse>, Status> {
    from.caller.wallets().send_credit(request.clone()).await
}

/// As a client does it that was told to try again: the same id, until there is an outcome.
async fn send_until_done(from: &Person, request: &SendCreditRequest) -> Result<WalletEntry, Status> {
    loop {
        match send(from, request).await {
            Ok(response) => return Ok(response.into_inner().entry.unwrap()),
            Err(status) if status.code() == Code::Aborted => {}
            Err(status) => return Err(status),
        }
    }
}

async fn wallet_as(viewer: &Person, owner: &str) -> Result<Wallet, Status> {
    let request = GetWalletRequest { user_id: owner.to_owned(), currency_code: "EUR".to_owned() };
    Ok(viewer.caller.wallets().get_wallet(request).await?.into_inner().wallet.unwrap())
}

async fn balance(person: &Person) -> i64 {
    wallet_as(person, "").await.unwrap().balance.unwrap().minor_units
}

async fn entries_as(viewer: &Person, owner: &str, size: i32, token: &str) -> Result<ListWalletEntriesResponse, Status> {
    let request = ListWalletEntriesRequest {
        user_id: owner.to_owned(),
        currency_code: "EUR".to_owned(),
        page_size: size,
        page_token: token.to_owned(),
    };
    Ok(viewer.caller.wallets().list_wallet_entries(request).await?.into_inner())
}

async fn trial_balance(admin: &Person) -> Vec<TrialBalanceLine> {
    admin.caller.wallets().get_trial_balance(GetTrialBalanceRequest {}).await.unwrap().into_inner().lines
}

/// Debits and credits are equal, and the wallets show what their entries sum to.
fn assert_balanced(lines: &[TrialBalanceLine]) {
    let currencies: HashSet<_> = lines.iter().map(|line| &line.currency_code).collect();
    for currency in currencies {
        let of = || lines.iter().filter(|line| line.currency_code == *currency);
        let debits: i64 = of().map(|line| line.debit_minor_units).sum();
        let credits: i64 = of().map(|line| line.credit_minor_units).sum();
        assert_eq!(debits, credits, "{lines:?}");
        let wallets = of().find(|line| line.account == "wallets").unwrap();
        assert_eq!(wallets.credit_minor_units - wallets.debit_minor_units, wallets.balance_minor_units, "{lines:?}");
    }
}

async fn rich(harness: &Harness, admin: &Person, minor_units: i64) -> Person {
    let person = harness.customer().await;
    grant(admin, &grant_of(&person, minor_units)).await.unwrap();
    person
}

async fn deactivate(harness: &Harness, person: &Person) {
    let id = doc! { "_id": bson::Uuid::parse_str(&person.id).unwrap() };
    let update = doc! { "$set": { "state": "deactivated" } };
    harness.database.collection::<Document>("user").update_one(id, update).await.unwrap();
}

async fn store(harness: &Harness) -> Store {
    Store::connect(&harness.mongo_config(), Shared::default()).await.unwrap()
}

async fn verify(store: &Store, person: &Person) -> Result<(), ChainBroken> {
    store.wallet_verify(person.id.parse().unwrap(), "EUR".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_wallet_that_nothing_ever_touched_reads_as_zero() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let wallet = wallet_as(&ann, "").await.unwrap();
    let zero = eur(0);
    let expected =
        Wallet { user_id: ann.id.clone(), balance: zero.clone(), held: zero.clone(), available: zero, update_time: None };
    assert_eq!(wallet, expected);
    assert_eq!(entries_as(&ann, "", 0, "").await.unwrap(), ListWalletEntriesResponse::default());
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
    assert_eq!(entries_as(&ann, "", 0, "").await.unwrap().entries, [entry.clone()]);

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
                Err(status) if status.code() == Code::Aborted => {}
                outcome => return outcome.unwrap(),
            }
        }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
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

#[tokio::test]
async fn a_grant_needs_an_active_user_with_room() {
    let harness = Harness::start().await;
    let (admin, ann, gone) = (harness.admin().await, harness.customer().await, harness.customer().await);
    let nobody = Person { id: Uuid::now_v7().to_string(), ..ann.clone() };
    assert_eq!(
        refusal(grant(&admin, &grant_of(&nobody, 1)).await),
        refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", nobody.id)])
    );
    deactivate(&harness, &gone).await;
    assert_eq!(
        refusal(grant(&admin, &grant_of(&gone, 1)).await),
        refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&format!("users/{}", gone.id)])
    );
    nearly_full(&harness, &ann, 5).await;
    let limit = refused(Code::FailedPrecondition, "BALANCE_LIMIT", &[&format!("users/{}", ann.id)]);
    assert_eq!(refusal(grant(&admin, &grant_of(&ann, 6)).await), limit);
    grant(&admin, &grant_of(&ann, 5)).await.unwrap();
    assert_eq!(refusal(grant(&admin, &grant_of(&ann, 1)).await), limit);
    assert_eq!(balance(&ann).await, 5);
    assert_balanced(&trial_balance(&admin).await);
}

/// A wallet with refunds on their way that leave room for so much.
async fn nearly_full(harness: &Harness, person: &Person, room: i64) {
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
    assert_eq!(refusal_of(send(&ann, &request).await), expected);
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
            .map(|outcome| outcome.map_or_else(|status| format!("{:?}", status.code()), |entry| entry.posting_id))
            .collect();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let expected = if outcomes.contains("FailedPrecondition") { (50, 0) } else { (0, 50) };
        assert_eq!((balance(&ann).await, balance(&bob).await), expected);
    }
    assert_balanced(&trial_balance(&admin).await);
}

#[tokio::test]
async fn sendings_in_both_directions_conserve_money_and_overdraw_nobody() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, rich(&harness, &admin, 100).await);
    let one_way = |from: Person, to: Person| async move {
        let (mut sent, mut refused) = (0, 0);
        for number in 0..12 {
            match send_until_done(&from, &send_of(&to, 40 + number)).await {
                Ok(entry) => {
                    assert!(entry.balance_after.unwrap().minor_units >= 0);
                    sent += 1;
                }
                Err(status) => {
                    assert_eq!(refusal(Err::<(), _>(status)).1, "INSUFFICIENT_CREDIT");
                    refused += 1;
                }
            }
        }
        assert_eq!(sent + refused, 12);
        sent
    };
    let runs = (0..2).flat_map(|_| [one_way(ann.clone(), bob.clone()), one_way(bob.clone(), ann.clone())]);
    let sent: Vec<i32> = join_all(runs).await;
    assert!(sent.iter().sum::<i32>() > 0);
    assert_eq!(balance(&ann).await + balance(&bob).await, 200);
    let store = store(&harness).await;
    assert_eq!((verify(&store, &ann).await, verify(&store, &bob).await), (Ok(()), Ok(())));
    assert_balanced(&trial_balance(&admin).await);
}

#[tokio::test]
async fn sixteen_senders_to_one_wallet_all_get_through() {
    let harness = Harness::start().await;
    let (admin, shop) = (harness.admin().await, harness.customer().await);
    let senders = join_all((0..16).map(|_| rich(&harness, &admin, 10))).await;
    join_all(senders.iter().map(|sender| async {
        for _ in 0..3 {
            send_until_done(sender, &send_of(&shop, 1)).await.unwrap();
        }
    }))
    .await;
    assert_eq!(balance(&shop).await, 48);
    let book = entries_as(&shop, "", 100, "").await.unwrap().entries;
    assert_eq!(book.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), (1..=48).rev().collect::<Vec<_>>());
    assert_eq!(verify(&store(&harness).await, &shop).await, Ok(()));
}

#[tokio::test]
async fn every_trial_balance_taken_during_sendings_is_balanced() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 1000).await, rich(&harness, &admin, 1000).await);
    let done = AtomicBool::new(false);
    let sendings = async {
        for number in 0..20 {
            let (from, to) = if number % 2 == 0 { (&ann, &bob) } else { (&bob, &ann) };
            send_until_done(from, &send_of(to, 1 + number)).await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    let looks = async {
        let mut seen = HashSet::new();
        while !done.load(Ordering::Relaxed) {
            let lines = trial_balance(&admin).await;
            assert_balanced(&lines);
            let wallets = lines.iter().find(|line| line.account == "wallets").unwrap();
            assert_eq!(wallets.balance_minor_units, 2000);
            seen.insert(wallets.debit_minor_units);
        }
        seen.len()
    };
    let (looked, ()) = join(looks, sendings).await;
    assert!(looked > 1, "it was looked at while it changed");
    let lines = trial_balance(&admin).await;
    let accounts: Vec<_> = lines.iter().map(|line| line.account.as_str()).collect();
    assert_eq!(accounts, ["mint", "wallets"]);
    assert_eq!((lines[0].debit_minor_units, lines[0].balance_minor_units), (2000, 0));
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

/// What the documentation of `hash` says, written once more: a client can check its own book.
fn hash_of(previous: &[u8], owner: &str, entry: &WalletEntry) -> Vec<u8> {
    let uuid = |text: &str| if text.is_empty() { Uuid::nil() } else { text.parse().unwrap() };
    let time = entry.create_time.unwrap();
    let mut hash = Sha256::new();
    hash.update(b"tristore.user.wallet_entry.v1");
    hash.update(previous);
    hash.update(uuid(owner));
    hash.update(b"EUR");
    hash.update(entry.sequence.to_be_bytes());
    hash.update([u8::try_from(entry.kind).unwrap()]);
    hash.update(entry.amount.as_ref().unwrap().minor_units.to_be_bytes());
    hash.update(entry.balance_after.as_ref().unwrap().minor_units.to_be_bytes());
    hash.update(uuid(&entry.posting_id));
    hash.update(uuid(&entry.counterparty_id));
    hash.update((time.seconds * 1000 + i64::from(time.nanos / 1_000_000)).to_be_bytes());
    hash.finalize().to_vec()
}

#[tokio::test]
async fn a_client_can_check_the_chain_of_its_own_book() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, harness.customer().await);
    send(&ann, &send_of(&bob, 30)).await.unwrap();
    send(&bob, &send_of(&ann, 10)).await.unwrap();
    let mut book = entries_as(&ann, "", 0, "").await.unwrap().entries;
    book.reverse();
    assert_eq!(book.len(), 3);
    let mut previous = vec![0; 32];
    for entry in &book {
        assert_eq!(hash_of(&previous, &ann.id, entry), entry.hash);
        previous = entry.hash.to_vec();
    }
}

#[tokio::test]
async fn whoever_changes_the_book_in_the_database_is_found_out() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (ann, bob) = (rich(&harness, &admin, 100).await, harness.customer().await);
    for _ in 0..3 {
        send(&ann, &send_of(&bob, 10)).await.unwrap();
    }
    let store = store(&harness).await;
    assert_eq!(verify(&store, &ann).await, Ok(()));
    let entries = harness.database.collection::<Document>("entry");
    let wallets = harness.database.collection::<Document>("wallet");
    let owner = bson::Uuid::parse_str(&ann.id).unwrap();
    let at = |sequence: i64| doc! { "owner": owner, "currency": "EUR", "sequence": sequence };
    let original = entries.find_one(at(2)).await.unwrap().unwrap();
    for change in [
        doc! { "$set": { "amount": 9_i64 } },
        doc! { "$set": { "amount": 9_i64, "balance_after": 91_i64 } },
        doc! { "$set": { "kind": "PAYMENT" } },
        doc! { "$set": { "counterparty": bson::Uuid::from(Uuid::now_v7()) } },
        doc! { "$set": { "created_at": bson::DateTime::now() } },
        doc! { "$set": { "sequence": 9_i64 } },
    ] {
        entries.update_one(at(2), change.clone()).await.unwrap();
        assert!(verify(&store, &ann).await.is_err(), "{change}");
        entries.replace_one(doc! { "_id": original.get("_id") }, original.clone()).await.unwrap();
        assert_eq!(verify(&store, &ann).await, Ok(()));
    }
    let last = entries.find_one_and_delete(at(4)).await.unwrap().unwrap();
    let cut = verify(&store, &ann).await.unwrap_err();
    assert_eq!((cut.sequence, cut.what), (3, "the wallet counts another number of entries"));
    entries.insert_one(last).await.unwrap();
    let id = doc! { "_id.owner": owner };
    let richer = doc! { "$inc": { "balance": 1_i64, "available": 1_i64, "reach": 1_i64 } };
    wallets.update_one(id, richer).await.unwrap();
    assert_eq!(verify(&store, &ann).await.unwrap_err().what, "the wallet has another balance");
    // The sums show it as well, to whoever has not got the wallet's key.
    let lines = trial_balance(&admin).await;
    let wallets = lines.iter().find(|line| line.account == "wallets").unwrap();
    assert_ne!(wallets.credit_minor_units - wallets.debit_minor_units, wallets.balance_minor_units);
}
