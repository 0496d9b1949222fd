//! `AccountService`, and what the database itself refuses to do to the book.

use api::auth::v1::Role;
use api::order::v1::account_entry::Kind;
use api::order::v1::{GetAccountRequest, GetTrialBalanceRequest, ListAccountEntriesRequest};
use tonic::Code;

use crate::book::{account, assert_books_balance, listing, trial_balance};
use crate::harness::{Harness, eur};
use crate::paying::Scene;
use crate::refusal::assert_refused;
use crate::wallet::Answer;

#[tokio::test]
async fn an_account_without_entries_is_empty_and_anothers_does_not_exist() {
    let harness = Harness::start().await;
    let (one, two) = (harness.person(Role::Merchant), harness.person(Role::Merchant));
    assert_eq!(account(&one).await, (0, 0));
    let request = GetAccountRequest { owner_id: one.id.clone(), currency_code: "EUR".to_owned() };
    let status = two.caller.accounts().get_account(request.clone()).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "ACCOUNT_NOT_FOUND", &[&format!("account {}", one.id)]);
    let theirs = ListAccountEntriesRequest { owner_id: one.id.clone(), ..listing(0, "") };
    let status = two.caller.accounts().list_account_entries(theirs).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "ACCOUNT_NOT_FOUND", &[&format!("account {}", one.id)]);
    let admin = harness.person(Role::Admin);
    let seen = admin.caller.accounts().get_account(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!((seen.owner_id, seen.balance, seen.update_time), (one.id.clone(), Some(eur(0)), None));
    let broken = GetAccountRequest { owner_id: "x".to_owned(), currency_code: String::new() };
    let status = one.caller.accounts().get_account(broken).await.unwrap_err();
    let rules = ["owner_id INVALID_ID", "currency_code REQUIRED"];
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &rules);
    assert!(trial_balance(&admin).await.lines.is_empty());
}

#[tokio::test]
async fn entries_are_listed_newest_first_page_by_page() {
    let scene = Scene::paid().await;
    for cents in [10, 20, 30, 40] {
        let id = scene.start_refund(cents).await;
        scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = scene
            .seller
            .caller
            .accounts()
            .list_account_entries(listing(2, &token))
            .await
            .unwrap()
            .into_inner();
        assert!(page.entries.len() == 2 || page.next_page_token.is_empty());
        seen.extend(page.entries);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let found: Vec<_> = seen
        .iter()
        .map(|entry| {
            let of = |money: &Option<api::common::v1::Money>| money.as_ref().unwrap().minor_units;
            (entry.sequence, entry.kind(), of(&entry.amount), of(&entry.balance_after))
        })
        .collect();
    assert_eq!(
        found,
        [
            (5, Kind::Refund, -40, 400),
            (4, Kind::Refund, -30, 440),
            (3, Kind::Refund, -20, 470),
            (2, Kind::Refund, -10, 490),
            (1, Kind::Payment, 500, 500),
        ]
    );
    assert!(seen.iter().all(|entry| entry.hash.len() == 32 && entry.order_id == scene.order.id));
    let status = scene.customer.caller.accounts().list_account_entries(listing(2, "00ff")).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &["page_token INVALID_PAGE_TOKEN"]);
    let status = scene.customer.caller.accounts().list_account_entries(listing(-1, "")).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &["page_size NEGATIVE"]);
}

#[tokio::test]
async fn the_trial_balance_shows_what_is_unfinished_and_what_is_held() {
    let scene = Scene::paid().await;
    let running = scene.start_refund(120).await;
    let balance = trial_balance(&scene.admin).await;
    let line = |account: &str| balance.lines.iter().find(|line| line.account == account).unwrap().clone();
    assert_eq!((balance.unfinished_count, line("accounts").held_minor_units), (0, 120));
    assert_eq!((line("accounts").balance_minor_units, line("transit").balance_minor_units), (500, 0));
    scene.tell(running, Answer::Reserved).await;
    let balance = trial_balance(&scene.admin).await;
    assert_eq!(balance.unfinished_count, 1);
    scene.tell(running, Answer::Posted).await;
    let balance = trial_balance(&scene.admin).await;
    assert_eq!((balance.unfinished_count, balance.lines.len()), (0, 2));
    let request = GetTrialBalanceRequest {};
    assert!(scene.harness.peer_service().accounts().get_trial_balance(request).await.is_ok());
    let status = scene.seller.caller.accounts().get_trial_balance(request).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
}

/// Whatever a defect in the service, or a hand at a console, tries.
#[tokio::test]
async fn the_database_refuses_to_bend_the_book() {
    let scene = Scene::paid().await;
    let running = scene.start_refund(100).await;
    scene.tell(running, Answer::Reserved).await;
    let mut sql = scene.harness.sql().await;
    for (statement, code) in [
        ("UPDATE entries SET credit = credit + 1 WHERE credit > 0", "23001"),
        ("DELETE FROM entries", "23001"),
        ("TRUNCATE entries CASCADE", "23001"),
        ("UPDATE postings SET kind = 'pay'", "23001"),
        ("DELETE FROM postings WHERE false", "23001"),
        (
            "INSERT INTO postings SELECT gen_random_uuid(), order_id, kind, created_at FROM postings LIMIT 1",
            "",
        ),
        (
            "INSERT INTO entries (transfer_id, account, currency, debit, credit)
             SELECT transfer_id, 'transit', 'EUR', 5, 0 FROM postings p
             WHERE NOT EXISTS (SELECT FROM entries e WHERE e.transfer_id = p.transfer_id)",
            "23514",
        ),
        ("UPDATE accounts SET balance = -1, held = 0", "23514"),
        ("UPDATE accounts SET held = balance + 1", "23514"),
        ("UPDATE accounts SET incoming = 1000000000000000", "23514"),
        (
            "UPDATE transfers SET decision = 'cancel', state = 'cancelling', reason = 'X' WHERE decision = 'confirm'",
            "23001",
        ),
        ("UPDATE transfers SET decision = NULL, decided_at = NULL, state = 'reserving'", "23001"),
        ("UPDATE transfers SET state = 'cancelled' WHERE state = 'completed'", "23514"),
        ("UPDATE holds SET state = 'held'", "23001"),
        ("DELETE FROM transfer_audit", "23001"),
    ] {
        let result = sqlx::query(statement).execute(&mut sql).await;
        let found =
            result.err().and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
        assert_eq!(found.unwrap_or_default(), code, "{statement}");
    }
    // The one posting that went in has no lines; nothing else changed.
    assert_eq!(scene.harness.count("SELECT count(*) FROM entries").await, 4);
}

#[tokio::test]
async fn a_payment_and_refunds_leave_books_that_balance() {
    let scene = Scene::paid().await;
    assert_eq!(account(&scene.seller).await, (500, 0));
    let id = scene.start_refund(1).await;
    assert_books_balance(&scene.harness).await;
    scene.tell(id, Answer::Reserved).await;
    assert_books_balance(&scene.harness).await;
}
