//! `SnapshotOrderStatistics`: sums at one position of the stream, for user service to rebuild its own from.

use std::time::Duration;

use api::auth::v1::Role;
use api::order::v1::{
    CancelOrderRequest, CustomerStatistics, Order, SnapshotOrderStatisticsRequest, TransferOrderRequest,
};
use testkit::wait_until;
use tonic::Code;

use crate::harness::{Harness, Person, eur, request_id};
use crate::paying::Scene;
use crate::refusal::assert_refused;

const SOON: Duration = Duration::from_secs(20);

/// The position, and each user's sums: placed, paid, cancelled, owned.
async fn snapshot(harness: &Harness) -> (i64, Vec<(String, [i64; 4])>) {
    let mut orders = harness.peer_service().orders();
    let answer = orders.snapshot_order_statistics(SnapshotOrderStatisticsRequest {}).await.unwrap();
    let mut pages = answer.into_inner();
    let first = pages.message().await.unwrap().unwrap();
    assert!(first.customers.is_empty());
    let mut all = Vec::new();
    while let Some(page) = pages.message().await.unwrap() {
        all.extend(page.customers.into_iter().map(|of: CustomerStatistics| {
            (of.user_id, [of.placed_count, of.paid_count, of.cancelled_count, of.owned_count])
        }));
    }
    assert!(all.is_sorted());
    (first.position, all)
}

async fn until_stamped(harness: &Harness) {
    let stamped = wait_until(SOON, "all events to be stamped", async || {
        let pending = harness.count("SELECT count(*) FROM outbox WHERE position IS NULL").await;
        if pending == 0 { Ok(()) } else { Err(pending) }
    });
    stamped.await.unwrap();
}

async fn hand_over(order: &Order, from: &Person, to: &Person) {
    let request = TransferOrderRequest {
        request_id: request_id(),
        order_id: order.id.clone(),
        to_user_id: to.id.clone(),
        etag: String::new(),
    };
    from.caller.orders().transfer_order(request).await.unwrap();
}

async fn cancel(order: &Order, by: &Person) {
    let request =
        CancelOrderRequest { request_id: request_id(), order_id: order.id.clone(), ..Default::default() };
    by.caller.orders().cancel_order(request).await.unwrap();
}

fn sums(of: &[(&Person, [i64; 4])]) -> Vec<(String, [i64; 4])> {
    let mut sums: Vec<_> = of.iter().map(|(person, sums)| (person.id.clone(), *sums)).collect();
    sums.sort();
    sums
}

/// Whoever goes on after the position hears of what has none yet, and must not find it in the sums already.
#[tokio::test]
async fn sums_are_of_one_position_whatever_is_committed_beyond_it() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let (bob, cid) = (harness.person(Role::Customer), harness.person(Role::Customer));
    let product = seller.sell(eur(250), 100).await;
    let (kept, handed) = (ann.buy(&product, 1).await, ann.buy(&product, 1).await);
    cancel(&ann.buy(&product, 1).await, &ann).await;
    hand_over(&handed, &ann, &bob).await;
    until_stamped(&harness).await;
    let head = "SELECT next_position - 1 FROM outbox_lease";
    let before = (harness.count(head).await, sums(&[(&ann, [3, 0, 1, 1]), (&bob, [0, 0, 0, 1])]));
    assert_eq!(snapshot(&harness).await, before);

    // Nothing is stamped while the lease is locked.
    let mut holder = harness.sql().await;
    sqlx::query("BEGIN").execute(&mut holder).await.unwrap();
    sqlx::query("SELECT 1 FROM outbox_lease FOR UPDATE").execute(&mut holder).await.unwrap();
    hand_over(&handed, &bob, &cid).await;
    cancel(&kept, &ann).await;
    cid.buy(&product, 1).await;
    let after = sums(&[(&ann, [3, 0, 2, 0]), (&bob, [0; 4]), (&cid, [1, 0, 0, 2])]);
    let mut zeros = before.1.clone();
    zeros.extend(sums(&[(&cid, [0; 4])]));
    zeros.sort();
    assert_eq!(snapshot(&harness).await, (before.0, zeros));
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    until_stamped(&harness).await;
    let (position, now) = snapshot(&harness).await;
    assert_eq!(position, before.0 + 3);
    // Somebody without orders need not be told of.
    let told = |all: Vec<(String, [i64; 4])>| {
        all.into_iter().filter(|(_, sums)| *sums != [0; 4]).collect::<Vec<_>>()
    };
    assert_eq!(told(now), told(after));
}

#[tokio::test]
async fn a_paid_order_counts_for_whoever_had_it_then_and_only_user_service_asks() {
    let scene = Scene::paid().await;
    until_stamped(&scene.harness).await;
    let (_, all) = snapshot(&scene.harness).await;
    assert_eq!(all, [(scene.customer.id.clone(), [1, 1, 0, 1])]);
    let refused =
        scene.admin.caller.orders().snapshot_order_statistics(SnapshotOrderStatisticsRequest {}).await;
    assert_refused(&refused.unwrap_err(), Code::PermissionDenied, "PERMISSION_DENIED", &[]);
}
