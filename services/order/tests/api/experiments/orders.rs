//! E5, E11, and many pollers: what turns the order of one aggregate around.

use std::time::Duration;

use events::{OutboxStore as _, Stamp};
use sqlx::{Connection as _, PgConnection};
use testkit::wait_until;
use uuid::Uuid;

use super::readers::{BELOW_XMIN, BY_ID, Reader as _, until_end};
use super::{Experiment, LEASE, WITHIN, append, take_xid};

const AGGREGATE: &str = "UPDATE customers SET version = version + 1";

/// E5. The older transaction has its id from a write elsewhere, and waits for the aggregate's row.
#[tokio::test]
async fn an_order_by_transaction_ids_turns_an_aggregate_around_and_the_sequencers_does_not() {
    let experiment = Experiment::open().await;
    let customer = "INSERT INTO customers (user_id, state, role, version)
                    VALUES (gen_random_uuid(), 'active', 'customer', 1)";
    experiment.run(customer).await;
    let (mut naive, mut ours) = (experiment.naive(BELOW_XMIN).await, experiment.ours().await);
    let (mut old, mut new) = (experiment.begin().await, experiment.begin().await);
    take_xid(&mut old).await;
    new.execute(sqlx::query(AGGREGATE)).await.unwrap();
    append(&mut new, "A", 1).await;
    let mut sql = experiment.sql().await;
    let first = async {
        wait_until(WITHIN, "the older one to wait for the row", async || {
            let query = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
            match sqlx::query_scalar::<_, i64>(query).fetch_one(&mut sql).await {
                Ok(1) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await
        .unwrap();
        new.commit_now().await.unwrap();
    };
    let (locked, ()) = tokio::join!(old.execute(sqlx::query(AGGREGATE)), first);
    locked.unwrap();
    append(&mut old, "A", 2).await;
    old.commit_now().await.unwrap();
    experiment.end().await;
    assert_eq!(until_end(&mut naive).await, ["A2", "A1"]);
    assert_eq!(until_end(&mut ours).await, ["A1", "A2"]);
}

/// Two sessions, each of which may have drawn ids in advance; the second event of the aggregate is written by the
/// one that drew earlier.
async fn two_sessions(experiment: &Experiment) {
    let (mut early, mut late) = (experiment.begin().await, experiment.begin().await);
    append(&mut early, "B", 1).await;
    append(&mut late, "A", 1).await;
    late.commit_now().await.unwrap();
    append(&mut early, "A", 2).await;
    early.commit_now().await.unwrap();
}

/// E11. On ids that sessions draw in advance nobody who goes by them keeps the order, not even the sequencer: what
/// protects it is the schema.
#[tokio::test]
async fn ids_that_are_drawn_in_advance_turn_an_aggregate_around_and_the_shipped_ones_do_not() {
    let experiment = Experiment::open().await;
    let (mut by_id, mut ours) = (experiment.naive(BY_ID).await, experiment.ours().await);
    two_sessions(&experiment).await;
    let kept = ["B1", "A1", "A2"];
    assert_eq!(by_id.poll().await, kept);
    assert_eq!(ours.poll().await, kept);
    let cache = "SELECT seqcache FROM pg_sequence
                 WHERE seqrelid = pg_get_serial_sequence('outbox', 'id')::regclass";
    assert_eq!(experiment.numbers(cache).await, [1]);

    let careless = Experiment::open().await;
    careless.run("ALTER TABLE outbox ALTER COLUMN id SET CACHE 20").await;
    let (mut by_id, mut ours) = (careless.naive(BY_ID).await, careless.ours().await);
    two_sessions(&careless).await;
    let turned = ["B1", "A2", "A1"];
    assert_eq!(by_id.poll().await, turned);
    assert_eq!(ours.poll().await, turned);
}

/// One of several pollers that share the rows out: takes the first that no other one holds.
async fn take(sql: &mut PgConnection) -> String {
    let query = "SELECT aggregate_id || aggregate_version FROM outbox WHERE NOT published
                 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    sqlx::raw_sql("BEGIN").execute(&mut *sql).await.unwrap();
    sqlx::query_scalar(query).fetch_one(sql).await.unwrap()
}

/// Rows that pollers lock past each other are delivered by whoever is quickest.
#[tokio::test]
async fn pollers_that_share_rows_out_turn_an_aggregate_around_and_a_second_sequencer_may_not_stamp() {
    let experiment = Experiment::open().await;
    experiment.run("ALTER TABLE outbox ADD COLUMN published boolean NOT NULL DEFAULT false").await;
    experiment.write("A", 1).await;
    experiment.write("A", 2).await;
    let (mut slow, mut fast) = (experiment.sql().await, experiment.sql().await);
    assert_eq!(take(&mut slow).await, "A1");
    assert_eq!(take(&mut fast).await, "A2", "which is out before the first");
    for poller in [slow, fast] {
        poller.close().await.unwrap();
    }

    let store = &experiment.store;
    let paused = store.lease("order", Uuid::new_v4(), Duration::ZERO).await.unwrap().unwrap();
    let mut ours = experiment.ours().await;
    assert!(store.lease("order", Uuid::new_v4(), LEASE).await.unwrap().is_none());
    assert!(matches!(store.stamp(&paused, 1, LEASE).await.unwrap(), Stamp::LeaseLost));
    assert_eq!(ours.poll().await, ["A1", "A2"]);
}
