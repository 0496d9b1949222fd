//! Migrations, and what a start checks.

use std::sync::Arc;

use order_service::config::PostgresConfig;
use order_service::schema::{MIGRATOR, Schema, migrate};
use order_service::storage::{Signals, Store, Use};
use sqlx::{Connection as _, PgConnection};
use testkit::TestPostgres;

fn store(url: &str) -> Store {
    Store::open(&PostgresConfig::for_tests(url), Use::Calls, Arc::<Signals>::default()).unwrap()
}

#[tokio::test]
async fn migrations_run_once_though_several_start_them_and_the_schema_is_incomplete_before() {
    let database = TestPostgres::create().await.unwrap();
    let all: Vec<_> = MIGRATOR.iter().map(|migration| migration.version).collect();
    assert_eq!(store(database.url()).schema().await.unwrap(), Schema::Incomplete(all.clone()));
    let config = PostgresConfig::for_tests(database.url());
    let (one, two, three) = tokio::join!(migrate(&config), migrate(&config), migrate(&config));
    assert_eq!(one.unwrap() + two.unwrap() + three.unwrap(), all.len());
    assert_eq!(store(database.url()).schema().await.unwrap(), Schema::Complete);
}

#[tokio::test]
async fn a_migration_that_changed_since_it_was_applied_is_noticed() {
    let database = crate::harness::database().await;
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let version = MIGRATOR.iter().next().unwrap().version;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = $1")
        .bind(version)
        .execute(&mut sql)
        .await
        .unwrap();
    assert_eq!(store(database.url()).schema().await.unwrap(), Schema::Incomplete(vec![version]));
    assert!(migrate(&PostgresConfig::for_tests(database.url())).await.is_err());
}

#[tokio::test]
async fn an_older_binary_accepts_what_a_newer_one_has_applied() {
    let database = crate::harness::database().await;
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations VALUES (99990101000000, 'later', now(), true, '\\x00', 1)";
    sqlx::query(newer).execute(&mut sql).await.unwrap();
    assert_eq!(store(database.url()).schema().await.unwrap(), Schema::Complete);
    assert_eq!(migrate(&PostgresConfig::for_tests(database.url())).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_acknowledges_before_it_keeps_is_refused() {
    let database = crate::harness::database().await;
    store(database.url()).assert_durable().await.unwrap();
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let careless = format!("ALTER DATABASE \"{}\" SET synchronous_commit = off", database.name());
    sqlx::query(sqlx::AssertSqlSafe(careless)).execute(&mut sql).await.unwrap();
    assert!(store(database.url()).assert_durable().await.is_err());
}

#[tokio::test]
async fn the_publication_for_debezium_carries_inserts_only() {
    let database = crate::harness::database().await;
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let query =
        "SELECT pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication WHERE pubname = 'outbox'";
    let kinds: (bool, bool, bool, bool) = sqlx::query_as(query).fetch_one(&mut sql).await.unwrap();
    assert_eq!(kinds, (true, false, false, false));
}
