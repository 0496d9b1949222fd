//! Shows over the model that the suites can fail: scenarios with the mistakes that they guard against.

use events::conformance::markless::Markless;
use events::conformance::unfenced::Unfenced;
use events::conformance::{consumer, outbox};
use fault::{Flaw, failure_of};

use crate::memory::{MemoryOutbox, MemoryStore};
use crate::suites::{Producer, Reader};

#[tokio::test]
async fn a_mark_that_moves_apart_from_the_effects_is_caught() {
    let again = consumer::a_run_that_comes_again_has_no_effect(Reader(MemoryStore::default()));
    let said = Flaw::MarkApart.caught_by(again).await;
    assert!(said.contains("each has its effect once"), "{said}");
}

#[tokio::test]
async fn a_mark_that_compares_nothing_is_caught() {
    let again = consumer::a_run_that_comes_again_has_no_effect(Markless(Reader(MemoryStore::default())));
    let said = failure_of(again).await.unwrap();
    assert!(said.contains("left: Applied") && said.contains("right: Moved"), "{said}");
}

#[tokio::test]
async fn a_fence_that_nobody_checks_is_caught() {
    let stale = outbox::a_stale_owner_writes_nothing(Unfenced::new(Producer(MemoryOutbox::new("model"))));
    let said = failure_of(stale).await.unwrap();
    assert!(said.contains("left: Stamped") && said.contains("right: LeaseLost"), "{said}");
}
