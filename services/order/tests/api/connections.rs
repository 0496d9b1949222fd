//! What becomes of the connections of calls that end before their work does, and how each is set.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::auth::v1::Role;
use api::order::v1::order::State;
use api::order::v1::{CancelOrderRequest, Order};
use order_service::config::PostgresConfig;
use order_service::storage::{Pools, Signals, Store, Use};
use sqlx::{Connection as _, PgConnection};
use testkit::{CapturedLog, wait_until};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::harness::{Harness, Person, WITHIN, behind_pooler, database, eur, item, placing, request_id};
use crate::refusal::assert_refused;

/// Sessions of the service's pool for calls, by what they are doing.
async fn sessions(sql: &mut PgConnection, state: &str) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'order-service' AND state = $1";
    sqlx::query_scalar(query).bind(state).fetch_one(sql).await.unwrap()
}

/// Calls `CancelOrder` and gives up while it holds the order's lock and waits for the product's.
async fn give_up_in_the_middle(harness: &Harness, customer: &Person, order: &Order) -> Instant {
    let mut sql = harness.sql().await;
    let request =
        CancelOrderRequest { request_id: request_id(), order_id: order.id.clone(), etag: String::new() };
    let mut orders = customer.caller.orders();
    let call = orders.cancel_order(request);
    let waiting = wait_until(WITHIN, "the call to wait for the product", async || {
        let query = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(query).fetch_one(&mut sql).await.unwrap();
        if waiting == 1 { Ok(()) } else { Err(format!("{waiting} wait")) }
    });
    tokio::select! {
        answer = call => panic!("it did not wait: {answer:?}"),
        waiting = waiting => waiting.unwrap(),
    }
    Instant::now()
}

#[tokio::test]
async fn a_call_that_is_given_up_frees_its_locks_within_a_second_and_leaves_no_trace() {
    give_up_again_and_again(Harness::start_with(&["--postgres-connections=3"]).await).await;
}

#[tokio::test]
async fn a_call_that_is_given_up_behind_a_pooler_frees_its_locks_too() {
    give_up_again_and_again(Harness::start_behind_pooler(&["--postgres-connections=3"]).await).await;
}

async fn give_up_again_and_again(harness: Harness) {
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let order = customer.buy(&seller.sell(eur(250), 7).await, 2).await;
    let (mut blocker, mut observer) = (harness.sql().await, harness.sql().await);
    // More often than there are connections: one that is lost each time would be missed.
    for _ in 0..5 {
        sqlx::raw_sql("BEGIN; SELECT FROM products FOR UPDATE").execute(&mut blocker).await.unwrap();
        let given_up = give_up_in_the_middle(&harness, &customer, &order).await;
        wait_until(WITHIN, "the order's lock to be free", async || {
            let lock = "SELECT id FROM orders FOR UPDATE NOWAIT";
            sqlx::query(lock).fetch_all(&mut observer).await.map(drop)
        })
        .await
        .unwrap();
        let took = given_up.elapsed();
        assert!(took < Duration::from_secs(1), "the lock was free after {took:?}");
        sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
        assert_eq!(customer.order(&order.id).await.unwrap().state(), State::Placed);
        // Behind a pooler others, such as the probe, are so between two statements, but none for long.
        wait_until(Duration::from_secs(2), "no session to be left in a transaction", async || {
            let left = sessions(&mut observer, "idle in transaction").await;
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await
        .unwrap();
    }
    let reads = (0..32).map(|_| customer.order(&order.id));
    assert!(futures_util::future::join_all(reads).await.iter().all(Result::is_ok));
    let cancelled = "SELECT count(*) FROM request WHERE method LIKE '%CancelOrder'";
    assert_eq!(harness.count(cancelled).await, 0);
    assert_eq!(harness.events("order.v1.OrderCancelled").await, 0);
}

#[tokio::test]
async fn a_refused_call_rolls_back_and_keeps_its_connection() {
    let harness = Harness::start_with(&["--postgres-connections=2"]).await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let order = customer.buy(&seller.sell(eur(250), 7).await, 2).await;
    let mut sql = harness.sql().await;
    let query = "SELECT pid FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'order-service'";
    let before: Vec<i32> = sqlx::query_scalar(query).fetch_all(&mut sql).await.unwrap();
    for _ in 0..20 {
        let request =
            CancelOrderRequest { request_id: request_id(), order_id: order.id.clone(), etag: "9".to_owned() };
        let status = customer.caller.orders().cancel_order(request).await.unwrap_err();
        assert_refused(&status, Code::Aborted, "VERSION_MISMATCH", &[&format!("order {}", order.id)]);
    }
    let after: Vec<i32> = sqlx::query_scalar(query).fetch_all(&mut sql).await.unwrap();
    assert_eq!((before.len(), &after), (1, &before));
    assert_eq!(sessions(&mut sql, "idle in transaction").await, 0);
}

#[tokio::test]
async fn sessions_that_the_server_ended_cost_one_call_at_most() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 1000).await;
    let order = customer.buy(&tea, 1).await;
    // Calls that wait at the same time need a session each.
    let (mut sql, mut blocker) = (harness.sql().await, harness.sql().await);
    sqlx::raw_sql("BEGIN; LOCK TABLE orders").execute(&mut blocker).await.unwrap();
    let reads = futures_util::future::join_all((0..6).map(|_| customer.order(&order.id)));
    let release = async {
        wait_until(WITHIN, "six calls to wait", async || match sessions(&mut sql, "active").await {
            6 => Ok(()),
            active => Err(active),
        })
        .await
        .unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    };
    let (reads, ()) = tokio::join!(reads, release);
    assert!(reads.iter().all(Result::is_ok), "{reads:?}");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'order-service'";
    sqlx::query(end).execute(&mut sql).await.unwrap();
    let mut failures = 0;
    for _ in 0..16 {
        if let Err(status) = customer.place(placing(vec![item(&tea, 1)])).await {
            assert_refused(&status, Code::Unavailable, "DEPENDENCY_UNAVAILABLE", &[]);
            failures += 1;
        }
    }
    assert!(failures <= 1, "{failures} calls failed");
    harness.assert_stock_adds_up(&tea).await;
}

/// Plans must not read whole tables, so PostgreSQL takes the few statements that read a small one for costly, and would
/// compile them first: 0.1 s each time, of every look whether the schema is complete too.
#[tokio::test]
async fn no_statement_is_compiled_before_it_runs() {
    let database = database().await;
    let configs = [PostgresConfig::for_tests(database.url()), behind_pooler(&database).await];
    for (config, usage) in
        configs.iter().flat_map(|config| [Use::Calls, Use::Workers].map(|usage| (config, usage)))
    {
        let store = Store::open(config, usage, Arc::<Signals>::default()).unwrap();
        let mut tx = store.begin().await.unwrap();
        let query = "SELECT WHERE NOT current_setting('jit')::boolean";
        assert_eq!(tx.execute(sqlx::query(query)).await.unwrap(), 1, "{usage:?}");
        tx.rollback().await;
    }
}

/// What of this thread's log a check of the capacity adds.
async fn said_about_capacity(store: &Store, replicas: usize, each: usize) -> String {
    let log = CapturedLog::start(|format| format);
    store.capacity_check(replicas, each).await.unwrap();
    log.lines_with("").join("\n")
}

#[tokio::test]
async fn replicas_that_may_need_more_sessions_than_the_server_allows_are_warned_of() {
    let database = database().await;
    let config = PostgresConfig::for_tests(database.url());
    let direct = Store::open(&config, Use::Calls, Arc::<Signals>::default()).unwrap();
    assert_eq!(said_about_capacity(&direct, 3, config.postgres_connections).await, "");
    let told = said_about_capacity(&direct, 3, 1000).await;
    for part in ["WARN", "needed=3008", "lower POSTGRES_CONNECTIONS"] {
        assert!(told.contains(part), "{told}");
    }
    // The database's own limit counts if it is lower; a pooler's sessions are its own concern.
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let limit = format!("ALTER DATABASE \"{}\" CONNECTION LIMIT 20", database.name());
    sqlx::query(sqlx::AssertSqlSafe(limit)).execute(&mut sql).await.unwrap();
    assert!(said_about_capacity(&direct, 1, 24).await.contains("allowed=20"));
    let pooled = Store::open(&behind_pooler(&database).await, Use::Calls, Arc::<Signals>::default()).unwrap();
    assert_eq!(said_about_capacity(&pooled, 3, 1000).await, "");
}

/// A process with more cores than connections, in a burst and at rest.
#[tokio::test]
async fn forty_eight_cores_stay_within_the_limit_of_the_process_and_give_back_what_is_idle() {
    const CORES: usize = 48;
    let database = database().await;
    let config = PostgresConfig {
        postgres_connections: 12,
        connection_idle: Duration::from_millis(400),
        connection_wait: WITHIN,
        ..PostgresConfig::for_tests(database.url())
    };
    let pools = Pools::new(&config, CORES).unwrap();
    let (working, stop) = (Arc::new(Barrier::new(CORES + 1)), CancellationToken::new());
    let threads: Vec<_> = (0..CORES)
        .map(|core| {
            let store = Store::in_pools(&pools, Use::Calls, core, Arc::<Signals>::default());
            let (working, stop) = (Arc::clone(&working), stop.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..10 {
                        let calls = futures_util::future::join_all((0..4).map(|_| store.ping())).await;
                        assert!(calls.iter().all(Result::is_ok), "{calls:?}");
                    }
                    working.wait().await;
                    // Until then others may use what answers on this core's runtime.
                    stop.cancelled().await;
                });
            })
        })
        .collect();
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let all = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'order-service'";
    let (mut most, mut over) = (0, Box::pin(working.wait()));
    while futures_util::poll!(&mut over).is_pending() {
        let seen: i64 = sqlx::query_scalar(all).fetch_one(&mut sql).await.unwrap();
        most = seen.max(most);
    }
    assert!((2..=8).contains(&most), "{most} sessions; a third of the limit is for workers");
    tokio::select! {
        () = pools.close_idle(stop.clone()) => unreachable!("nobody stopped it"),
        rest = wait_until(WITHIN, "idle sessions to be given back", async || {
            match sqlx::query_scalar::<_, i64>(all).fetch_one(&mut sql).await.unwrap() {
                0 => Ok(()),
                left => Err(left),
            }
        }) => rest.unwrap(),
    }
    stop.cancel();
    for thread in threads {
        thread.join().unwrap();
    }
}
