//! The suites can fail, shown on MongoDB: a scenario of each with the mistake that it guards against.

use events::conformance::markless::Markless;
use events::conformance::unfenced::Unfenced;
use events::conformance::{consumer, outbox, participant};
use fault::{Flaw, failure_of};

use crate::conformance::Mongo as Backbone;
use crate::expiry::ends_as_the_coordinator_says;
use crate::participant::Harness as Participant;

#[tokio::test]
async fn a_cancel_that_leaves_no_tombstone_is_caught() {
    let late = participant::a_reserve_that_comes_after_its_cancel_holds_nothing(Participant::start().await);
    let said = Flaw::NoTombstone.caught_by(Box::pin(late)).await;
    assert!(said.contains("what comes after its cancel holds nothing"), "{said}");
    let table = participant::every_cell_of_the_table_does_what_it_says(Participant::start().await);
    let said = Flaw::NoTombstone.caught_by(Box::pin(table)).await;
    assert!(said.contains("Debit, [], then Cancel"), "{said}");
}

#[tokio::test]
async fn expiry_that_does_not_ask_for_the_decision_is_caught() {
    let said = Flaw::ExpiryWithoutDecision.caught_by(Box::pin(ends_as_the_coordinator_says())).await;
    assert!(said.contains("a hold ends as was decided"), "{said}");
    assert!(said.contains("left: Cancelled") && said.contains("right: Posted"), "{said}");
}

#[tokio::test]
async fn a_mark_that_moves_apart_from_the_effects_is_caught() {
    let again = consumer::a_run_that_comes_again_has_no_effect(Backbone::start().await);
    let said = Flaw::MarkApart.caught_by(Box::pin(again)).await;
    assert!(said.contains("each has its effect once"), "{said}");
    let replicas = consumer::two_replicas_apply_a_run_once(Backbone::start().await);
    let said = Flaw::MarkApart.caught_by(Box::pin(replicas)).await;
    // A run that meets a conflict is halved: then the mark is seen to be wrong before the effects are counted.
    let caught = ["each has its effect once", "each replica ends at the end of the run"];
    assert!(caught.iter().any(|text| said.contains(text)), "{said}");
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
