//! The audit of this book by itself, on more wallets and longer chains than a step of it follows. What it says of
//! transfers needs the other book: tests/e2e/audit.

use std::time::Duration;

use api::common::v1::Money;
use api::user::v1::{AuditBookRequest, AuditFinding, AuditLine, GetPostingsRequest, GrantCreditRequest};
use bson::{Document, doc};
use futures_util::future::join_all;
use testkit::client::{eur, request_id};
use tokio::time::Instant;
use tonic::Code;
use uuid::Uuid;

use crate::harness::{Harness, Person, refusal, refused};
use crate::wallets::ledger::{assert_balanced, trial_balance};

/// More than one page of wallets, more than one step of entries.
const WALLETS: i64 = 203;
const ENTRIES: i64 = 505;
/// What a step looks at, at the most.
const STEP_WALLETS: i64 = 20;
const STEP_ENTRIES: i64 = 500;
/// How long the service tries a transaction that others are in the way of.
const TRIED_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) struct Audit {
    wallets: i64,
    entries: i64,
    pub(crate) findings: Vec<AuditFinding>,
    lines: Vec<AuditLine>,
}

/// As order service lets it be done.
pub(crate) async fn audit(harness: &Harness, full: bool) -> Audit {
    let patient = harness.order_service().within(Duration::from_secs(60));
    let mut pages = patient
        .wallet_audits()
        .audit_book(AuditBookRequest { full, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let mut audit = Audit::default();
    while let Some(page) = pages.message().await.unwrap() {
        // Order service takes silence for failure. A full audit reads both sides of postings in larger pages.
        assert!(page.wallets_count <= STEP_WALLETS, "{page:?}");
        assert!(page.entries_count <= STEP_ENTRIES || page.wallets_count == 0, "{page:?}");
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
    let kept = harness.count("audit_wallet", doc! { "sequence": ENTRIES }).await;
    assert_eq!(kept, 1, "the long chain was kept to its end");
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
    assert_eq!(posting.description, "its sides do not cancel out: 0.03 EUR and -0.02 EUR");
    let wallet = told(format!("wallet {rich} EUR"));
    assert_eq!(wallet.difference, difference(-1));
    assert!(found.iter().all(|finding| finding.only_full), "{found:?}");
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
    assert!(!overdue[0].only_full);
    let found = audit(&harness, true).await.findings;
    let subjects: Vec<&str> = found.iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(subjects, [&*subject(0), &*format!("posting {lone}"), &*subject(1)]);
    assert_eq!(found[1].difference.as_ref().unwrap().minor_units, -7);
    assert_eq!(found.iter().map(|finding| finding.only_full).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(found[2].description, "its hold is POSTED and it has no posting");
}

/// Claim: where another audit has moved a wallet since it was read, no repeat helps, and none is made.
#[tokio::test]
async fn an_audit_that_another_one_has_overtaken_ends_at_once() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let crowd = join_all((0..2 * STEP_WALLETS + 1).map(|_| harness.customer())).await;
    join_all(crowd.iter().map(|person| grant(&admin, &person.id, 3))).await;
    let last = crowd.iter().map(|person| &person.id).max().unwrap();
    let patient = harness.order_service().within(Duration::from_secs(60));
    let request = AuditBookRequest::default();
    let mut pages = patient.wallet_audits().audit_book(request).await.unwrap().into_inner();
    // Holds that are overdue, then the page of wallets; the last one's turn is two steps away.
    for _ in 0..2 {
        pages.message().await.unwrap().unwrap();
    }
    let checkpoint = doc! {
        "_id": { "owner": bson::Uuid::parse_str(last).unwrap(), "currency": "EUR" },
        "sequence": 1_i64,
        "balance": 3_i64,
        "head": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0; 32] },
    };
    harness.database.collection::<Document>("audit_wallet").insert_one(checkpoint).await.unwrap();
    let (mut followed, mut heard) = (0, Instant::now());
    let refused = loop {
        match pages.message().await {
            Ok(page) => followed += page.unwrap().wallets_count,
            Err(refused) => break refused,
        }
        heard = Instant::now();
    };
    assert_eq!(followed, 2 * STEP_WALLETS);
    assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    assert!(heard.elapsed() < TRIED_WITHIN * 2 / 3, "{:?}", heard.elapsed());
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
