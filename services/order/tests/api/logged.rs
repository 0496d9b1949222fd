//! What a fault leaves in the log.

use api::auth::v1::Role;
use testkit::CapturedLog;
use tonic::Code;

use crate::harness::{Harness, eur};
use crate::refusal::assert_refused;

/// Claim: a fault is one line of the log, with its cause, and the client reads nothing of the cause.
#[tokio::test]
async fn a_fault_is_logged_once() {
    let log = CapturedLog::start(|format| format);
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let order = customer.buy(&seller.sell(eur(250), 7).await, 1).await;
    // A value that no statement of ours writes.
    let damage = "ALTER TABLE orders DROP CONSTRAINT orders_state_check; UPDATE orders SET state = 'lost'";
    sqlx::raw_sql(damage).execute(&mut harness.sql().await).await.unwrap();

    let status = customer.order(&order.id).await.unwrap_err();
    assert_refused(&status, Code::Internal, "INTERNAL", &[]);
    assert!(!format!("{status:?}").contains("lost"), "{status:?}");
    let told = log.lines_with("lost");
    assert!(matches!(&*told, [line] if line.contains("ERROR")), "{told:#?}");
}
