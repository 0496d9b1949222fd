//! What a fault leaves in the log.

use std::io;
use std::sync::{Arc, Mutex};

use api::auth::v1::Role;
use tonic::Code;

use crate::harness::{Harness, eur};
use crate::refusal::assert_refused;

/// What this thread logs, the service of its test included.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Claim: a fault is one line of the log, with its cause, and the client reads nothing of the cause.
#[tokio::test]
async fn a_fault_is_logged_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let order = customer.buy(&seller.sell(eur(250), 7).await, 1).await;
    sqlx::raw_sql("ALTER TABLE order_items RENAME TO lost").execute(&mut harness.sql().await).await.unwrap();

    let status = customer.order(&order.id).await.unwrap_err();
    assert_refused(&status, Code::Internal, "INTERNAL", &[]);
    assert!(!format!("{status:?}").contains("order_items"), "{status:?}");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("order_items")).collect();
    assert!(matches!(&*told, [line] if line.contains("\"level\":\"ERROR\"")), "{told:#?}");
}
