//! What is set aside and what orders show, made wrong past the service: the audit names each, with what it is off by,
//! and finds it no more when it is mended.

use api::order::v1::audit::Verdict;
use api::order::v1::{Audit, AuditFinding};
use sqlx::PgConnection;
use types::TransferId;
use uuid::Uuid;

use crate::audit::{BY_HAND, run};
use crate::harness::Person;
use crate::paying::Scene;
use crate::wallet::Answer;

/// Makes something wrong, and right again.
struct Drift {
    wrong: String,
    right: String,
    subject: String,
    /// In cents, where the books are off by an amount.
    difference: Option<i64>,
    /// Whether only a full audit sees it.
    only_full: bool,
}

/// Changes what the database itself protects.
async fn change(sql: &mut PgConnection, statement: &str) {
    let tables = ["holds", "transfers"];
    let switch =
        |word: &str| tables.map(|table| format!("ALTER TABLE {table} {word} TRIGGER USER;")).concat();
    let statement = format!("{} {statement}; {}", switch("DISABLE"), switch("ENABLE"));
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(sql).await.unwrap();
}

fn named<'a>(audit: &'a Audit, subject: &str) -> Option<&'a AuditFinding> {
    audit.findings.iter().find(|finding| finding.source == "order-service" && finding.subject == subject)
}

async fn is_found(admin: &Person, sql: &mut PgConnection, drift: &Drift) {
    assert_eq!(run(admin, false).await.verdict(), Verdict::Conserved, "before {}", drift.wrong);
    change(sql, &drift.wrong).await;
    if drift.only_full {
        assert_eq!(run(admin, false).await.verdict(), Verdict::Conserved, "{}", drift.wrong);
    } else {
        let audit = run(admin, false).await;
        assert!(named(&audit, &drift.subject).is_some(), "{}: {audit:?}", drift.wrong);
        assert!(!audit.full);
    }
    let audit = run(admin, true).await;
    assert_eq!(audit.verdict(), Verdict::Drift, "{}", drift.wrong);
    let found = named(&audit, &drift.subject);
    let found =
        found.unwrap_or_else(|| panic!("{}: nothing names {}: {audit:?}", drift.wrong, drift.subject));
    let difference = found.difference.as_ref().map(|money| money.minor_units);
    assert_eq!((difference, found.only_full), (drift.difference, drift.only_full), "{}", drift.wrong);
    change(sql, &drift.right).await;
    assert_eq!(run(admin, false).await.verdict(), Verdict::Conserved, "after {}", drift.right);
}

/// A paid order with a refund that is over, one that was cancelled, and one that is on its way.
async fn scene() -> (Scene, [TransferId; 3]) {
    // The one on its way stays there for longer than a slow test.
    let scene = Box::pin(Scene::with(&[BY_HAND, "--transfer-deadline=10m"])).await;
    let paid = Box::pin(scene.start_payment()).await;
    scene.teller.tell(&scene.harness, &[(paid, Answer::Reserved), (paid, Answer::Posted)]).await;
    let over = scene.start_refund(100).await;
    scene.teller.tell(&scene.harness, &[(over, Answer::Reserved), (over, Answer::Posted)]).await;
    let refused = scene.start_refund(50).await;
    scene.tell(refused, Answer::Refused("BALANCE_LIMIT")).await;
    let running = scene.start_refund(30).await;
    (scene, [over, refused, running])
}

#[tokio::test]
async fn holds_that_are_not_as_decided_are_found() {
    let (scene, [over, refused, running]) = Box::pin(scene()).await;
    let mut sql = scene.harness.sql().await;
    let state = |id: TransferId, from: &str, to: &str, only_full| Drift {
        wrong: format!("UPDATE holds SET state = '{to}' WHERE transfer_id = '{id}'"),
        right: format!("UPDATE holds SET state = '{from}' WHERE transfer_id = '{id}'"),
        subject: format!("transfer {id}"),
        difference: None,
        only_full,
    };
    let amount = |id: TransferId| Drift {
        wrong: format!("UPDATE holds SET amount = amount + 1 WHERE transfer_id = '{id}'"),
        right: format!("UPDATE holds SET amount = amount - 1 WHERE transfer_id = '{id}'"),
        ..state(id, "", "", true)
    };
    let (nobody, set) = (Uuid::max(), "UPDATE holds SET transfer_id");
    let gone = |id: TransferId| Drift {
        wrong: format!("{set} = '{nobody}' WHERE transfer_id = '{id}'"),
        right: format!("{set} = '{id}' WHERE transfer_id = '{nobody}'"),
        ..state(id, "", "", true)
    };
    let drifts = [
        state(over, "posted", "cancelled", true),
        state(over, "posted", "held", false),
        state(refused, "cancelled", "posted", true),
        state(refused, "cancelled", "held", false),
        amount(over),
        gone(over),
    ];
    for drift in &drifts {
        is_found(&scene.admin, &mut sql, drift).await;
    }
    // One that is HELD counts in its account, so that every audit sees that it is not.
    let account = format!("account {} EUR", scene.seller.id);
    for to in ["posted", "cancelled"] {
        let drift = state(running, "held", to, false);
        is_found(&scene.admin, &mut sql, &Drift { subject: account.clone(), difference: Some(30), ..drift })
            .await;
    }
}

#[tokio::test]
async fn accounts_that_set_aside_what_no_hold_is_of_are_found() {
    let (scene, _) = Box::pin(scene()).await;
    let mut sql = scene.harness.sql().await;
    for (column, cents) in [("held", 1), ("held", -1), ("held", -30), ("incoming", 1)] {
        let drift = Drift {
            wrong: format!("UPDATE accounts SET {column} = {column} + {cents}"),
            right: format!("UPDATE accounts SET {column} = {column} - {cents}"),
            subject: format!("account {} EUR", scene.seller.id),
            difference: Some(cents),
            only_full: false,
        };
        is_found(&scene.admin, &mut sql, &drift).await;
    }
}

#[tokio::test]
async fn orders_whose_sums_are_not_those_of_their_transfers_are_found() {
    let (scene, _) = Box::pin(scene()).await;
    let mut sql = scene.harness.sql().await;
    let of_order = |set: &str, back: &str, difference| Drift {
        wrong: format!("UPDATE orders SET {set} WHERE id = '{}'", scene.order.id),
        right: format!("UPDATE orders SET {back} WHERE id = '{}'", scene.order.id),
        subject: format!("order {}", scene.order.id),
        difference,
        only_full: true,
    };
    let mut drifts = Vec::new();
    for column in ["refunded_minor_units", "refund_pending_minor_units"] {
        for cents in [1, -1] {
            let add = |cents: i64| format!("{column} = {column} + {cents}");
            drifts.push(of_order(&add(cents), &add(-cents), Some(cents)));
        }
    }
    let sums = "(paid_minor_units, refunded_minor_units, refund_pending_minor_units)";
    let none = format!("state = 'placed', {sums} = (0, 0, 0)");
    let all = format!("state = 'paid', {sums} = (500, 100, 30)");
    drifts.push(of_order(&none, &all, Some(-500)));
    for drift in &drifts {
        is_found(&scene.admin, &mut sql, drift).await;
    }
    // Of an order that nobody pays: as if a payment were running.
    let other = scene.customer.buy(&scene.product, 1).await;
    let drift = Drift {
        wrong: format!("UPDATE orders SET state = 'payment_pending' WHERE id = '{}'", other.id),
        right: format!("UPDATE orders SET state = 'placed' WHERE id = '{}'", other.id),
        subject: format!("order {}", other.id),
        difference: None,
        only_full: true,
    };
    is_found(&scene.admin, &mut sql, &drift).await;
}
