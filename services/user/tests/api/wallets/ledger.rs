//! The proofs that no credit is made or lost: sums taken while it moves, and the chain that shows whoever changed
//! the book in the database.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use api::user::v1::{GetTrialBalanceRequest, TrialBalanceLine, WalletEntry};
use bson::{Document, doc};
use futures_util::future::{join, join_all};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::audit::audit;
use crate::harness::{Harness, Person, refusal};
use crate::wallets::{balance, entries_as, rich, send, send_of, send_until_done};

const NOTHING: [&str; 0] = [];

pub(crate) async fn trial_balance(admin: &Person) -> Vec<TrialBalanceLine> {
    admin.caller.wallets().get_trial_balance(GetTrialBalanceRequest {}).await.unwrap().into_inner().lines
}

/// Debits and credits are equal, and the wallets show what their entries sum to.
pub(crate) fn assert_balanced(lines: &[TrialBalanceLine]) {
    let currencies: HashSet<_> = lines.iter().map(|line| &line.currency_code).collect();
    for currency in currencies {
        let of = || lines.iter().filter(|line| line.currency_code == *currency);
        let debits: i64 = of().map(|line| line.debit_minor_units).sum();
        let credits: i64 = of().map(|line| line.credit_minor_units).sum();
        assert_eq!(debits, credits, "{lines:?}");
        let wallets = of().find(|line| line.account == "wallets").unwrap();
        assert_eq!(
            wallets.credit_minor_units - wallets.debit_minor_units,
            wallets.balance_minor_units,
            "{lines:?}"
        );
    }
}

/// What a full audit finds of a wallet.
async fn findings(harness: &Harness, person: &Person) -> Vec<String> {
    let subject = format!("wallet {} EUR", person.id);
    let findings = audit(harness, true).await.findings.into_iter();
    findings.filter(|finding| finding.subject == subject).map(|finding| finding.description).collect()
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
    assert_eq!((findings(&harness, &ann).await, findings(&harness, &bob).await), (vec![], vec![]));
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
    assert_eq!(
        book.iter().map(|entry| entry.sequence).collect::<Vec<_>>(),
        (1..=48).rev().collect::<Vec<_>>()
    );
    assert_eq!(findings(&harness, &shop).await, NOTHING);
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
    assert_eq!(findings(&harness, &ann).await, NOTHING);
    let entries = harness.database.collection::<Document>("entry");
    let wallets = harness.database.collection::<Document>("wallet");
    let owner = bson::Uuid::parse_str(&ann.id).unwrap();
    let at = |sequence: i64| doc! { "owner": owner, "currency": "EUR", "sequence": sequence };
    let original = entries.find_one(at(2)).await.unwrap().unwrap();
    for change in [
        doc! { "$set": { "amount": 9_i64 } },
        doc! { "$set": { "amount": 9_i64, "balance_after": 91_i64 } },
        doc! { "$set": { "kind": "RECEIVE" } },
        doc! { "$set": { "counterparty": bson::Uuid::from(Uuid::now_v7()) } },
        doc! { "$set": { "created_at": bson::DateTime::now() } },
        doc! { "$set": { "sequence": 9_i64 } },
    ] {
        entries.update_one(at(2), change.clone()).await.unwrap();
        assert_ne!(findings(&harness, &ann).await, NOTHING, "{change}");
        entries.replace_one(doc! { "_id": original.get("_id") }, original.clone()).await.unwrap();
        assert_eq!(findings(&harness, &ann).await, NOTHING);
    }
    let last = entries.find_one_and_delete(at(4)).await.unwrap().unwrap();
    let cut = ["behind entry 3: the wallet counts another number of entries"];
    assert_eq!(findings(&harness, &ann).await, cut);
    entries.insert_one(last).await.unwrap();
    let id = doc! { "_id.owner": owner };
    let richer = doc! { "$inc": { "balance": 1_i64, "available": 1_i64, "reach": 1_i64 } };
    wallets.update_one(id, richer).await.unwrap();
    assert_eq!(findings(&harness, &ann).await, ["behind entry 4: the wallet has another balance"]);
    // The sums show it as well, to whoever has not got the wallet's key.
    let lines = trial_balance(&admin).await;
    let wallets = lines.iter().find(|line| line.account == "wallets").unwrap();
    assert_ne!(wallets.credit_minor_units - wallets.debit_minor_units, wallets.balance_minor_units);
}
