//! Suites that hold every database to the same behaviour. A service's tests run them against its real store.
//!
//! A test implements the suite's harness on a fresh database and names it once:
//!
//! ```text
//! events::outbox_suite!(Harness::start);        // async fn start() -> Harness
//! ```
//!
//! That makes one `#[tokio::test]` of each scenario, each with a harness (and so a database) of its own.

pub mod consumer;
pub mod markless;
pub mod outbox;
pub mod participant;
pub mod unfenced;

use std::time::Duration;

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use crate::envelope::{Aggregate, Headers, NewEvent};

/// Makes a test of each scenario of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($suite:ident, $start:expr, $($scenario:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $scenario() {
            let harness = ($start)().await;
            $crate::conformance::$suite::$scenario(harness).await;
        }
    )+};
}

/// An aggregate with an id that every store takes. The same name gives the same id.
pub(crate) fn aggregate(name: &str) -> Aggregate {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
    Aggregate::new("thing", uuid::Builder::from_random_bytes(id).into_uuid())
}

/// An event for a test: its payload says which aggregate and version it is.
pub(crate) fn new_event(aggregate: &Aggregate, version: i64) -> NewEvent {
    let payload = api::event::v1::ResolveRequest { event_id: format!("{}/{version}", aggregate.id) };
    NewEvent {
        id: EventId::from_uuid(Uuid::now_v7()),
        aggregate: aggregate.clone(),
        aggregate_version: version,
        event_type: "test.v1.Happened".to_owned(),
        schema_version: 1,
        payload: payload.encode_to_vec().into(),
        headers: Headers {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            tracestate: Some("vendor=1".to_owned()),
            request_id: Some(Uuid::now_v7()),
        },
        // In whole seconds, because some databases keep only milliseconds.
        created_at: OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a time in the calendar"),
    }
}

/// Waits until `check` gives a value. The suites wait for a database's clock only in this way.
pub(crate) async fn until<T>(what: &str, check: impl AsyncFn() -> Option<T>) -> T {
    let give_up = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < give_up, "waited 10 s and still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
