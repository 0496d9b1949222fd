//! The backbone's suites can fail, shown on PostgreSQL: a scenario of each with the mistake that it guards against.

use events::conformance::markless::Markless;
use events::conformance::unfenced::Unfenced;
use events::conformance::{consumer, outbox};
use fault::{Flaw, failure_of};

use crate::conformance::Harness as Backbone;

#[tokio::test]
async fn a_mark_that_moves_apart_from_the_effects_is_caught() {
    let again = consumer::a_run_that_comes_again_has_no_effect(Backbone::start().await);
    let said = Flaw::MarkApart.caught_by(Box::pin(again)).await;
    assert!(said.contains("each has its effect once"), "{said}");
    let replicas = consumer::two_replicas_apply_a_run_once(Backbone::start().await);
    let said = Flaw::MarkApart.caught_by(Box::pin(replicas)).await;
    assert!(said.contains("each has its effect once"), "{said}");
}

#[tokio::test]
async fn a_mark_that_compares_nothing_is_caught() {
    let again = consumer::a_run_that_comes_again_has_no_effect(Markless(Backbone::start().await));
    let said = failure_of(Box::pin(again)).await.unwrap();
    assert!(said.contains("left: Applied") && said.contains("right: Moved"), "{said}");
}

#[tokio::test]
async fn a_fence_that_nobody_checks_is_caught() {
    let stale = outbox::a_stale_owner_writes_nothing(Unfenced::new(Backbone::start().await));
    let said = failure_of(Box::pin(stale)).await.unwrap();
    assert!(said.contains("left: Stamped") && said.contains("right: LeaseLost"), "{said}");
}
