//! E1 to E4, E6, E10: commits in another order than ids and transaction ids, and rollbacks.

use super::readers::{
    BELOW_XMIN, BELOW_XMIN_BY_ID, BY_ID, BY_VISIBLE_XID, Reader as _, Rule, SNAPSHOT_DIFFERENCE,
    WITHOUT_HOLES, delivered, until_end,
};
use super::{Experiment, append, take_xid};

const NOTHING: [&str; 0] = [];

/// What a reader delivered while the slow writer had not committed, and after.
struct Delivered {
    before: Vec<String>,
    after: Vec<String>,
}

/// A writer commits after one that drew its transaction id and its row's id later: what the naive reader and what
/// ours deliver.
async fn late_commit(rule: Rule) -> (Delivered, Delivered) {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (experiment.naive(rule).await, experiment.ours().await);
    let (mut slow, mut fast) = (experiment.begin().await, experiment.begin().await);
    append(&mut slow, "SLOW", 1).await;
    append(&mut fast, "FAST", 1).await;
    fast.commit_now().await.unwrap();
    let before = (naive.poll().await, ours.poll().await);
    slow.commit_now().await.unwrap();
    experiment.end().await;
    let after = (until_end(&mut naive).await, until_end(&mut ours).await);
    (Delivered { before: before.0, after: after.0 }, Delivered { before: before.1, after: after.1 })
}

/// No event is lost, and none waits for another one's writer.
fn assert_neither_lost_nor_late(ours: &Delivered) {
    assert_eq!(ours.before, ["FAST1"]);
    assert_eq!(ours.after, ["SLOW1"]);
}

/// E1.
#[tokio::test]
async fn a_cursor_over_ids_loses_what_commits_late_and_the_sequencer_does_not() {
    let (naive, ours) = late_commit(BY_ID).await;
    assert_eq!(naive.before, ["FAST1"]);
    assert_eq!(naive.after, NOTHING, "the slow one is lost");
    assert_neither_lost_nor_late(&ours);
}

/// E2.
#[tokio::test]
async fn a_cursor_over_visible_transactions_loses_what_commits_late_and_the_sequencer_does_not() {
    let (naive, ours) = late_commit(BY_VISIBLE_XID).await;
    assert_eq!(naive.before, ["FAST1"]);
    assert_eq!(naive.after, NOTHING, "the slow one is lost");
    assert_neither_lost_nor_late(&ours);
}

/// E3.
#[tokio::test]
async fn a_reader_behind_the_oldest_transaction_waits_for_it_and_the_sequencer_does_not() {
    let (naive, ours) = late_commit(BELOW_XMIN).await;
    assert_eq!(naive.before, NOTHING, "it waits for the slow one");
    assert_eq!(naive.after, ["SLOW1", "FAST1"]);
    assert_neither_lost_nor_late(&ours);
}

/// E10, `PgQ`'s method, with an unrelated writer that stays open.
#[tokio::test]
async fn the_difference_of_snapshots_neither_loses_nor_waits_as_the_sequencer() {
    let experiment = Experiment::open().await;
    let stranger = experiment.stranger("BEGIN; SELECT pg_current_xact_id()").await;
    let (naive, ours) = late_commit(SNAPSHOT_DIFFERENCE).await;
    assert_neither_lost_nor_late(&naive);
    assert_neither_lost_nor_late(&ours);
    drop(stranger);
}

/// E4.
#[tokio::test]
async fn a_cursor_over_ids_behind_the_oldest_transaction_loses_a_lower_id_of_a_younger_one() {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (experiment.naive(BELOW_XMIN_BY_ID).await, experiment.ours().await);
    let (mut old, mut young) = (experiment.begin().await, experiment.begin().await);
    take_xid(&mut old).await;
    append(&mut young, "YOUNG", 1).await;
    append(&mut old, "OLD", 1).await;
    old.commit_now().await.unwrap();
    assert_eq!(ours.poll().await, ["OLD1"]);
    assert_eq!(delivered(&mut naive).await, ["OLD1"]);
    young.commit_now().await.unwrap();
    experiment.end().await;
    assert_eq!(until_end(&mut naive).await, NOTHING, "the younger one is lost");
    assert_eq!(until_end(&mut ours).await, ["YOUNG1"]);
}

/// E6.
#[tokio::test]
async fn a_rollback_leaves_a_hole_in_ids_that_a_reader_waits_at_and_none_in_positions() {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (experiment.naive(WITHOUT_HOLES).await, experiment.ours().await);
    experiment.write("A", 1).await;
    experiment.write("A", 2).await;
    let mut undone = experiment.begin().await;
    append(&mut undone, "A", 3).await;
    undone.rollback().await;
    experiment.write("A", 3).await;
    assert_eq!(ours.poll().await, ["A1", "A2", "A3"]);
    assert_eq!(naive.poll().await, ["A1", "A2"]);
    experiment.end().await;
    assert_eq!(until_end(&mut ours).await, NOTHING);
    assert_eq!(naive.poll().await, NOTHING, "it waits at the hole, whatever comes");
    assert_eq!(experiment.numbers("SELECT id FROM outbox ORDER BY id").await, [1, 2, 4, 5]);
    assert_eq!(experiment.numbers("SELECT position FROM outbox ORDER BY id").await, [1, 2, 3, 4]);
}
