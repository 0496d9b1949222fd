//! E12: two migrations at once, one of which makes an index concurrently.

use order_service::config::PostgresConfig;
use order_service::schema::{MIGRATION_LOCK, migrate};
use sqlx::{Connection as _, PgConnection};
use testkit::wait_until;

use crate::harness::database;

use super::WITHIN;

const DEADLOCK_DETECTED: &str = "40P01";

async fn lock(sql: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK).execute(sql).await.map(drop)
}

async fn index(sql: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("CREATE INDEX CONCURRENTLY later ON customers (role)").execute(sql).await.map(drop)
}

/// Waits until another session of the database, seen by this condition, asks for the lock.
async fn wait_for(sql: &mut PgConnection, condition: &str) {
    let query =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}");
    wait_until(WITHIN, "the second migration to ask for the lock", async || {
        match sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query.clone())).fetch_one(&mut *sql).await {
            Ok(1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await
    .unwrap();
}

/// E12.
#[tokio::test]
async fn a_migration_that_blocks_on_the_lock_deadlocks_with_an_index_that_is_made_concurrently() {
    let database = database().await;
    let connect = async || PgConnection::connect(database.url()).await.unwrap();
    let (mut first, mut second, mut other) = (connect().await, connect().await, connect().await);
    lock(&mut first).await.unwrap();
    let making = async {
        wait_for(&mut other, "wait_event = 'advisory'").await;
        let made = index(&mut first).await;
        // The other one hears of it only if it was not the victim.
        first.close().await.unwrap();
        made
    };
    let (locked, made) = tokio::join!(lock(&mut second), making);
    let victims: Vec<_> = [locked, made].into_iter().filter_map(Result::err).collect();
    let codes: Vec<_> =
        victims.iter().map(|error| error.as_database_error().and_then(|error| error.code())).collect();
    assert_eq!(codes, [Some(DEADLOCK_DETECTED.into())], "{victims:?}");
}

/// The same with ours, which asks for the lock again and again and blocks in no statement.
#[tokio::test]
async fn a_migration_that_waits_does_not_lock_out_an_index_that_is_made_concurrently() {
    let database = database().await;
    let connect = async || PgConnection::connect(database.url()).await.unwrap();
    let (mut first, mut other) = (connect().await, connect().await);
    lock(&mut first).await.unwrap();
    let config = PostgresConfig::for_tests(database.url());
    let making = async {
        wait_for(&mut other, "application_name = 'order-service-migrate'").await;
        index(&mut first).await.unwrap();
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(MIGRATION_LOCK).execute(&mut first).await.unwrap();
    };
    let (applied, ()) = tokio::join!(migrate(&config), making);
    assert_eq!(applied.unwrap(), 0);
}
