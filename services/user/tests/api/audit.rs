//! The audit of this book by itself, on more wallets and longer chains than a page of it holds. What it says of
//! transfers needs the other book: tests/e2e/audit.

use std::time::Duration;

use api::common::v1::Money;
use api::user::v1::{AuditBookRequest, AuditFinding, AuditLine, GetPostingsRequest, GrantCreditRequest};
use bson::{Document, doc};
use futures_util::future::join_all;
use testkit::client::{eur, request_id};
use tonic::Code;
use uuid::Uuid;

use crate::harness::{Harness, Person, refusal, refused};
use crate::ledger::{assert_balanced, trial_balance};

/// More than one page of wallets, more than one run of entries.
const WALLETS: i64 = 203;
const ENTRIES: i64 = 505;

#[derive(Debug, Default)]
struct Audit {
    wallets: i64,
    entries: i64,
    findings: Vec<AuditFinding>,
    lines: Vec<AuditLine>,
}

/// As order service lets it be done.
async fn audit(harness: &Harness, full: bool) -> Audit {
    let patient = harness.order_service().within(Duration::from_secs(60));
    let mut pages = patient.wallet_audits().audit_book(AuditBookRequest { full }).await.unwrap().into_inner();
    let mut audit = Audit::default();
    while let Some(page) = pages.message().await.unwrap() {
        audit.wallets += page.wallets_count;
        audit.entries += page.entries_count;
        audit.findings.extend(page.findings);
        audit.lines.extend(page.lines);
    }
    audit
}

async fn grant(admin: &Person, to: &str, cents: i64) {
    let request =
        GrantCreditRequest { request_id: request_id(), user_id: to.to_owned(), amount: Some(eur(cents)) };
    admin.caller.within(Duration::from_secs(30)).wallets().grant_credit(request).await.unwrap();
}

#[tokio::test]
async fn an_audit_follows_every_chain_and_goes_on_where_it_left_off() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let (mut rich, mut made) = (String::new(), 0);
    while made < WALLETS {
        let crowd = join_all((0..20.min(WALLETS - made)).map(|_| harness.customer())).await;
        join_all(crowd.iter().map(|person| grant(&admin, &person.id, 3))).await;
        made += 20;
        rich.clone_from(&crowd[0].id);
    }
    for _ in 1..ENTRIES {
        grant(&admin, &rich, 2).await;
    }
    let (all, sum) = (WALLETS - 1 + ENTRIES, WALLETS * 3 + (ENTRIES - 1) * 2);

    // The trial balance is the same whether it reads every entry, none, or those that are new.
    let before = trial_balance(&admin).await;
    assert_balanced(&before);
    let first = audit(&harness, false).await;
    assert_eq!((first.wallets, first.entries, first.findings), (WALLETS, all, vec![]));
    let line = |account: &str, debit, credit| AuditLine {
        account: account.to_owned(),
        currency_code: "EUR".to_owned(),
        debit_minor_units: debit,
        credit_minor_units: credit,
    };
    assert_eq!(first.lines, [line("mint", sum, 0), line("wallets", 0, sum)]);
    assert_eq!(trial_balance(&admin).await, before);
    let second = audit(&harness, false).await;
    assert_eq!((second.wallets, second.entries, second.findings), (0, 0, vec![]));
    grant(&admin, &rich, 4).await;
    let after = trial_balance(&admin).await;
    assert_balanced(&after);
    let credits = |lines: &[api::user::v1::TrialBalanceLine]| {
        lines.iter().find(|line| line.account == "wallets").unwrap().credit_minor_units
    };
    assert_eq!(credits(&after), credits(&before) + 4);
    let third = audit(&harness, false).await;
    assert_eq!((third.wallets, third.entries, third.findings), (1, 1, vec![]));
    assert_eq!(audit(&harness, true).await.findings, vec![]);

    // In the second run of the long chain: what was audited is read again by a full audit only.
    let owner = bson::Uuid::parse_str(&rich).unwrap();
    let entries = harness.database.collection::<Document>("entry");
    let entry = doc! { "owner": owner, "currency": "EUR", "sequence": ENTRIES - 2 };
    let posting = entries.find_one(entry.clone()).await.unwrap().unwrap();
    let posting = posting.get_document("_id").unwrap().get("posting").cloned().unwrap();
    let posting: bson::Uuid = bson::deserialize_from_bson(posting).unwrap();
    entries.update_one(entry, doc! { "$inc": { "amount": 1_i64 } }).await.unwrap();
    assert_eq!(audit(&harness, false).await.findings, vec![]);
    let found = audit(&harness, true).await.findings;
    let difference = |cents| Some(Money { currency_code: "EUR".to_owned(), minor_units: cents });
    let told = |subject: String| found.iter().find(|finding| finding.subject == subject).unwrap();
    let posting = told(format!("posting {posting}"));
    assert_eq!(posting.difference, difference(1));
    assert_eq!(posting.description, "its sides do not cancel out: 3 EUR and -2 EUR");
    let wallet = told(format!("wallet {rich} EUR"));
    assert_eq!(wallet.difference, difference(-1));
    assert!(wallet.description.ends_with("its balance is not the sum"), "{}", wallet.description);
}

#[tokio::test]
async fn what_no_chain_leads_to_is_found_by_a_full_audit() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    grant(&admin, &admin.id, 5).await;
    let now = bson::DateTime::now();
    let lone = bson::Uuid::from(Uuid::now_v7());
    let entry = doc! {
        "_id": { "posting": lone, "side": "DEBIT" },
        "account": "mint",
        "currency": "EUR",
        "amount": 7_i64,
        "created_at": now,
    };
    harness.database.collection::<Document>("entry").insert_one(entry).await.unwrap();
    let owner = bson::Uuid::parse_str(&admin.id).unwrap();
    let hold = |state: &str, expires: bson::DateTime| {
        doc! {
            "_id": bson::Uuid::from(Uuid::now_v7()),
            "spec": {
                "owner": owner,
                "direction": "DEBIT",
                "currency": "EUR",
                "amount": 5_i64,
                "expires_at": expires,
                "expires_nanos": 0_i64,
                "order_id": owner,
            },
            "state": state,
            "version": 1_i64,
            "event_version": 0_i64,
            "created_at": now,
            "updated_at": now,
        }
    };
    let holds = [hold("HELD", bson::DateTime::from_millis(0)), hold("POSTED", now), hold("HELD", now)];
    harness.database.collection::<Document>("hold").insert_many(&holds).await.unwrap();

    let id = |at: usize| holds[at].get("_id").cloned().unwrap();
    let subject = |at| format!("transfer {}", bson::deserialize_from_bson::<bson::Uuid>(id(at)).unwrap());
    let overdue = audit(&harness, false).await.findings;
    assert_eq!(overdue.iter().map(|finding| &finding.subject).collect::<Vec<_>>(), [&subject(0)]);
    let found = audit(&harness, true).await.findings;
    let subjects: Vec<&str> = found.iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(subjects, [&*subject(0), &*format!("posting {lone}"), &*subject(1)]);
    assert_eq!(found[1].difference.as_ref().unwrap().minor_units, -7);
    assert_eq!(found[2].description, "its hold is POSTED and it has no posting");
}

#[tokio::test]
async fn more_than_five_hundred_transfers_are_not_told_of_at_once() {
    let harness = Harness::start().await;
    let ask = async |count: usize| {
        let transfer_ids = (0..count).map(|_| Uuid::now_v7().to_string()).collect();
        let request = GetPostingsRequest { transfer_ids };
        harness.order_service().wallet_audits().get_postings(request).await
    };
    assert_eq!(ask(500).await.unwrap().into_inner().postings, vec![]);
    let too_many = refused(Code::InvalidArgument, "INVALID_REQUEST", &["transfer_ids TOO_MANY"]);
    assert_eq!(refusal(ask(501).await), too_many);
}
