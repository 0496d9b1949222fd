//! E7 to E9: what other databases of the cluster, and another cluster's transaction ids, do to a reader.

use sqlx::{Connection as _, PgConnection};

use super::Experiment;
use super::readers::{BELOW_XMIN, Reader as _, SNAPSHOT_DIFFERENCE, delivered, until_end};

const NOTHING: [&str; 0] = [];

async fn has_xid(connection: &mut PgConnection) -> bool {
    sqlx::query_scalar("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        .fetch_one(connection)
        .await
        .unwrap()
}

/// E7. Only writers have transaction ids that others wait for.
#[tokio::test]
async fn a_report_that_reads_in_another_database_holds_nobody_back() {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (experiment.naive(BELOW_XMIN).await, experiment.ours().await);
    let report = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM pg_class";
    let mut report = experiment.stranger(report).await;
    experiment.write("A", 1).await;
    assert_eq!(ours.poll().await, ["A1"]);
    assert_eq!(delivered(&mut naive).await, ["A1"]);
    assert!(!has_xid(&mut report).await, "it still reads, and was never a writer");
}

/// E8.
#[tokio::test]
async fn a_writer_in_another_database_holds_back_whoever_goes_by_transaction_ids_and_not_the_sequencer() {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (experiment.naive(BELOW_XMIN).await, experiment.ours().await);
    let mut writer = experiment.stranger("BEGIN; SELECT pg_current_xact_id()").await;
    experiment.write("A", 1).await;
    assert_eq!(ours.poll().await, ["A1"]);
    assert_eq!(naive.poll().await, NOTHING, "it waits for a stranger");
    assert!(has_xid(&mut writer).await);
    sqlx::raw_sql("ROLLBACK").execute(&mut writer).await.unwrap();
    assert_eq!(delivered(&mut naive).await, ["A1"]);
    writer.close().await.unwrap();
}

/// E9: rows as `pg_restore` brings them from a cluster that had counted much further.
#[tokio::test]
async fn a_restored_row_is_lost_to_whoever_goes_by_transaction_ids_and_not_to_the_sequencer() {
    const ELSEWHERE: &str = "999999999";
    let experiment = Experiment::open().await;
    experiment.write("RESTORED", 1).await;
    experiment.run("UPDATE outbox SET xid = '999999999'").await;
    let here = experiment.numbers("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").await;
    assert!(here[0] < ELSEWHERE.parse().unwrap(), "this cluster has not counted as far");
    let mut ours = experiment.ours().await;
    let mut behind_oldest = experiment.naive(BELOW_XMIN).await;
    let mut by_difference = experiment.naive(SNAPSHOT_DIFFERENCE).await;
    // It had delivered the row where it came from, and its cursor was restored with it.
    let mut restored = experiment.naive(BELOW_XMIN).await.standing_at(ELSEWHERE, 1);
    experiment.write("NEW", 1).await;
    experiment.end().await;
    assert_eq!(until_end(&mut behind_oldest).await, ["NEW1"], "the restored row is lost");
    assert_eq!(until_end(&mut by_difference).await, ["NEW1"], "the restored row is lost");
    assert_eq!(restored.poll().await, NOTHING, "what the others have delivered is lost");
    assert_eq!(until_end(&mut ours).await, ["RESTORED1", "NEW1"]);
}
