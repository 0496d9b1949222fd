//! A pooler in transaction mode between the service and PostgreSQL: one that knows no prepared statements, has fewer
//! sessions than the service has connections, and takes another for each transaction.

use std::sync::Arc;

use api::auth::v1::Role;
use order_service::config::PostgresConfig;
use order_service::schema::{MIGRATOR, Schema, migrate, new_epoch_when_up};
use order_service::storage::{Signals, Store, Use};
use sqlx::{Connection as _, PgConnection, Row as _};
use testkit::{PoolerSettings, TestPostgres, wait_until};

use crate::book::{account, assert_books_balance};
use crate::harness::{Harness, WITHIN, behind_pooler, database, eur};
use crate::paying::{Scene, pay};
use crate::wallet::Wallets;

fn store(config: &PostgresConfig) -> Store {
    Store::open(config, Use::Calls, Arc::<Signals>::default()).unwrap()
}

/// Looks at each of the pooler's sessions, which it takes in turn.
async fn each_session(database: &TestPostgres, query: &'static str) -> Vec<String> {
    let url = database.url_through_pooler(PoolerSettings::Refused).await.unwrap();
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut sql = PgConnection::connect_with(&options.extra_float_digits(None)).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..8 {
        seen.push(sqlx::raw_sql(query).fetch_one(&mut sql).await.unwrap().get(0));
    }
    seen
}

#[tokio::test]
async fn migrations_run_once_through_a_pooler_though_several_start_them() {
    let database = TestPostgres::create().await.unwrap();
    let config = behind_pooler(&database).await;
    let (one, two, three) = tokio::join!(migrate(&config), migrate(&config), migrate(&config));
    assert_eq!(one.unwrap() + two.unwrap() + three.unwrap(), MIGRATOR.iter().count());
    assert_eq!(store(&config).schema().await.unwrap(), Schema::Complete);
    assert_eq!(new_epoch_when_up(&config).await.unwrap().len(), 1);
}

#[tokio::test]
async fn orders_are_placed_and_paid_behind_a_pooler_and_nothing_stays_in_its_sessions() {
    let scene = Scene::behind_pooler().await;
    let mut wallets = Wallets::with(&[(&scene.customer.id, 10_000)]);
    let many = futures_util::future::join_all((0..40).map(|_| scene.customer.buy(&scene.product, 1)));
    assert_eq!(many.await.len(), 40);
    wallets.serve(&scene.harness, pay(&scene.customer, scene.paying())).await.unwrap();
    assert_eq!((wallets.balance(&scene.customer.id), account(&scene.seller).await), (9_500, (500, 0)));
    assert_books_balance(&scene.harness).await;
    wait_until(WITHIN, "the sequencer to stamp every event", async || {
        match scene.harness.count("SELECT count(*) FROM outbox WHERE position IS NULL").await {
            0 => Ok(()),
            pending => Err(pending),
        }
    })
    .await
    .unwrap();
    let (database, _peers) = scene.harness.stop().await;
    let left = "SELECT (SELECT count(*) FROM pg_prepared_statements) || ' ' || (SELECT count(*) FROM pg_cursors) || ' '
                    || current_setting('enable_seqscan') || ' ' || current_setting('lock_timeout')";
    assert_eq!(each_session(&database, left).await, ["0 0 on 0"; 8]);
}

#[tokio::test]
async fn a_pooler_that_nobody_told_of_is_recognised_and_the_message_says_what_to_set() {
    for (settings, sign) in [
        (PoolerSettings::Refused, "unsupported startup parameter"),
        (PoolerSettings::Ignored, "the settings of a session are lost on the way"),
    ] {
        let database = database().await;
        let config = PostgresConfig::for_tests(&database.url_through_pooler(settings).await.unwrap());
        let refused = tokio::time::timeout(WITHIN, store(&config).come_up()).await.expect("it does not wait");
        let refused = format!("{:#}", refused.unwrap_err());
        assert!(refused.contains("set POSTGRES_POOLER=transaction") && refused.contains(sign), "{refused}");
    }
    let database = database().await;
    store(&PostgresConfig::for_tests(database.url())).come_up().await.unwrap();
    store(&behind_pooler(&database).await).come_up().await.unwrap();
}

/// Settings that stand in the database itself are not lost, and then only this tells.
#[tokio::test]
async fn a_pooler_is_recognised_by_two_connections_in_one_session() {
    let database = database().await;
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let set = format!("ALTER DATABASE \"{}\" SET plan_cache_mode = force_generic_plan", database.name());
    sqlx::query(sqlx::AssertSqlSafe(set)).execute(&mut sql).await.unwrap();
    let url = database.url_through_pooler(PoolerSettings::Ignored).await.unwrap();
    let refused = store(&PostgresConfig::for_tests(&url)).come_up().await.unwrap_err().to_string();
    assert!(refused.contains("two connections are in one session"), "{refused}");
}

/// More calls than the pooler has sessions, each of several transactions.
#[tokio::test]
async fn a_pooler_with_fewer_sessions_than_connections_serves_them_all() {
    let harness = Harness::start_behind_pooler(&["--request-deadline=25s"]).await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 1000).await;
    let orders = futures_util::future::join_all((0..64).map(|_| customer.buy(&tea, 2))).await;
    let reads = futures_util::future::join_all(orders.iter().map(|order| customer.order(&order.id))).await;
    assert!(reads.iter().all(Result::is_ok));
    harness.assert_stock_adds_up(&tea).await;
}
