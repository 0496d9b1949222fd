//! What PostgreSQL refuses or fails at: callers hear what it is, nobody hears of a defect, and it is over by itself.

use std::time::Duration;

use api::auth::v1::Role;
use api::order::v1::Product;
use api::refusal::{EFFECT, Refusal};
use order_service::config::PostgresConfig;
use order_service::schema;
use order_service::storage::FAILURES;
use runtime::telemetry::Repeats;
use sqlx::PgConnection;
use testkit::{CapturedLog, Lifetime, Port, Postgres, RenewedFile, State, TestPostgres};
use testkit::{not_serving, serving, under_load, wait_until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use types::{Connection, Effect, FailureKind, Verdict};

use crate::harness::{Harness, Person, WITHIN, database, eur, item, placing};
use crate::refusal::assert_refused;
use crate::role::DatabaseRole;

/// An outage of a test, long enough for many calls and for health to notice.
const NOTICED: Duration = Duration::from_secs(20);

fn effect(status: &Status) -> Option<String> {
    status.get_details_error_info()?.metadata.remove(EFFECT)
}

/// A code that a row is about: itself, or one of its class that has no row of its own.
fn code_of(said: &str) -> Option<String> {
    match said.len() {
        5 => Some(said.to_owned()),
        2 => Some(format!("{said}000")),
        _ => None,
    }
}

/// The session of the service's pool for calls, which has one.
async fn session(sql: &mut PgConnection) -> Option<i32> {
    let query = "SELECT pid FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'order-service'";
    sqlx::query_scalar(query).fetch_optional(sql).await.unwrap()
}

/// Claim: whatever PostgreSQL says, a caller hears what the table has for it, and the connection is kept or replaced as it
/// says. A code that it does not have is no defect of ours, and leaves in doubt what came of the call.
#[tokio::test]
async fn each_sqlstate_is_what_the_table_says() {
    let harness = Harness::start_with(&["--postgres-connections=2"]).await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 1000).await;
    customer.buy(&tea, 1).await;
    let mut sql = harness.sql().await;
    let refusing = "CREATE TABLE said (code text NOT NULL);
         INSERT INTO said VALUES ('');
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION 'for a test' USING ERRCODE = (SELECT code FROM said);
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION refuse();
         CREATE TRIGGER refuse BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION refuse();";
    sqlx::raw_sql(refusing).execute(&mut sql).await.unwrap();

    let rows = FAILURES.rows.iter().filter_map(|row| Some((code_of(row.said)?, row.verdict)));
    let mut tried = 0;
    for (code, verdict) in rows.chain([("Z9Z9Z".to_owned(), Verdict::UNAVAILABLE)]) {
        sqlx::query("UPDATE said SET code = $1").bind(&code).execute(&mut sql).await.unwrap();
        // Another session may be needed, after the last one.
        customer.product(&tea.id).await;
        let before = session(&mut sql).await;
        // One statement, which is a transaction of its own.
        let status = customer.place(placing(vec![item(&tea, 1)])).await.unwrap_err();
        assert_is(&status, &code, verdict, verdict.effect);
        if verdict.connection == Connection::GoesOn {
            assert_eq!(session(&mut sql).await, before, "{code}: the connection goes on");
        } else {
            wait_until(WITHIN, "another connection", async || match session(&mut sql).await {
                same if same == before => Err(format!("{code}: the connection is the same")),
                _ => Ok(()),
            })
            .await
            .unwrap();
        }
        tried += 1;
    }
    assert!(tried > 40, "{tried}");

    // Before its commit a transaction has changed nothing, whatever the server says.
    for code in ["58030", "XX000", "Z9Z9Z"] {
        sqlx::query("UPDATE said SET code = $1").bind(code).execute(&mut sql).await.unwrap();
        let status = sell(&seller).await.unwrap_err();
        assert_is(&status, code, FAILURES.verdict(&[code, &code[..2]]), Effect::None);
    }
    sqlx::raw_sql("DROP TABLE said; DROP FUNCTION refuse CASCADE").execute(&mut sql).await.unwrap();
    customer.buy(&tea, 1).await;
    harness.assert_stock_adds_up(&tea).await;
}

#[track_caller]
fn assert_is(status: &Status, code: &str, verdict: Verdict, took_effect: Effect) {
    let (expected, reason) = Refusal::from(&verdict.failure("")).outcome();
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), &*info.reason), (expected, reason), "{code}: {status:?}");
    let is_told = [FailureKind::Unavailable, FailureKind::StorageUnavailable].contains(&verdict.kind);
    assert_eq!(effect(status).as_deref(), is_told.then(|| took_effect.as_str()), "{code}: {status:?}");
    assert!(!status.message().contains("for a test"), "{code}: {status:?}");
}

async fn sell(seller: &Person) -> Result<(), Status> {
    let request = api::order::v1::CreateProductRequest {
        request_id: crate::harness::request_id(),
        name: "Tea".to_owned(),
        unit_price: Some(eur(250)),
        stock: 1,
    };
    seller.caller.catalog().create_product(request).await.map(drop)
}

/// A service that logs in as a role of its own, which may do what the service needs and no more.
struct WithRole {
    harness: Harness,
    role: DatabaseRole,
    customer: Person,
    tea: Product,
}

impl WithRole {
    async fn start() -> Self {
        let database = database().await;
        let role = DatabaseRole::create(&database).await;
        let url = role.url.clone();
        Self::start_on(database, role, &url).await
    }

    /// On a database, where `url` is the setting that has the role's login.
    async fn start_on(database: TestPostgres, role: DatabaseRole, url: &str) -> Self {
        let harness = Harness::start_on(database, url, &[]).await;
        let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
        let tea = seller.sell(eur(250), 1000).await;
        customer.buy(&tea, 1).await;
        Self { harness, role, customer, tea }
    }

    async fn run(&self, script: &str) {
        self.role.run(&self.harness.database, script).await;
    }

    async fn end_sessions(&self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ROLE_NAME'";
        self.run(end).await;
    }

    /// Calls until health says that it does not serve; each hears UNAVAILABLE, and in the end that nothing was done.
    async fn is_away(&self) {
        let url = self.harness.url();
        let mut last = None;
        wait_until(NOTICED, "health to say that it does not serve", async || {
            let placed = self.customer.place(placing(vec![item(&self.tea, 1)])).await;
            if let Err(status) = placed {
                assert_refused(&status, Code::Unavailable, "DEPENDENCY_UNAVAILABLE", &[]);
                last = Some(status);
            }
            not_serving(&url).await
        })
        .await
        .unwrap();
        assert_eq!(effect(&last.unwrap()).as_deref(), Some("none"));
    }

    /// Calls until one is done, and health says so.
    async fn is_back(&self) {
        wait_until(NOTICED, "an order", async || {
            self.customer.place(placing(vec![item(&self.tea, 1)])).await.map(drop)
        })
        .await
        .unwrap();
        wait_until(NOTICED, "health", async || serving(&self.harness.url()).await).await.unwrap();
        self.harness.assert_stock_adds_up(&self.tea).await;
    }

    async fn end(self) {
        let Self { harness, role, .. } = self;
        let (database, _peers) = harness.stop().await;
        role.drop(&database).await;
    }
}

/// Claim: with a wrong password, with no connection left, and without a privilege, nobody hears of a defect; health says
/// so where nothing works; the log has a line for each cause; and all is well again when the cause is over.
#[tokio::test]
async fn a_login_that_is_refused_for_a_while_is_over_by_itself() {
    let log = CapturedLog::start(|format| Repeats::default().format(format));
    let of = WithRole::start().await;
    of.run("ALTER ROLE ROLE_NAME PASSWORD 'another-password'").await;
    of.end_sessions().await;
    of.is_away().await;
    of.run(&format!("ALTER ROLE ROLE_NAME PASSWORD '{}'", DatabaseRole::PASSWORD)).await;
    of.is_back().await;
    let told = log.lines_with("password authentication failed");
    let calls = told.iter().filter(|line| line.contains("the call failed")).count();
    assert_eq!(calls, 1, "{told:#?}");
    assert!(log.lines_with(DatabaseRole::PASSWORD).is_empty());

    of.run("ALTER ROLE ROLE_NAME CONNECTION LIMIT 0").await;
    of.end_sessions().await;
    of.is_away().await;
    of.run("ALTER ROLE ROLE_NAME CONNECTION LIMIT -1").await;
    of.is_back().await;
    let told = log.lines_with("too many connections");
    assert_eq!(told.iter().filter(|line| line.contains("the call failed")).count(), 1, "{told:#?}");

    of.run("REVOKE INSERT ON orders FROM ROLE_NAME").await;
    let status = of.customer.place(placing(vec![item(&of.tea, 1)])).await.unwrap_err();
    assert_refused(&status, Code::Unavailable, "DEPENDENCY_UNAVAILABLE", &[]);
    assert_eq!(effect(&status).as_deref(), Some("none"));
    of.run("GRANT INSERT ON orders TO ROLE_NAME").await;
    of.is_back().await;
    of.end().await;
}

/// Claim: a login that is renewed in its file is that of each new connection. What a file may not say is told of, and the
/// login before it is used.
#[tokio::test]
async fn a_login_that_is_renewed_in_its_file_is_used_without_a_restart() {
    let log = CapturedLog::start(|format| format);
    let database = database().await;
    let (first, second) = (DatabaseRole::create(&database).await, DatabaseRole::create(&database).await);
    let file = RenewedFile::new("postgres-url", &first.url).unwrap();
    let mut of = WithRole::start_on(database, first, &file.setting()).await;
    file.renew(&second.url).unwrap();
    of.run("ALTER ROLE ROLE_NAME NOLOGIN").await;
    of.end_sessions().await;
    of.is_back().await;
    let first = std::mem::replace(&mut of.role, second);
    for (written, reason) in [
        (format!("{}_of_another", of.role.url), "takes a restart"),
        (of.role.url.replace("postgres", "mysql"), "the scheme of something else"),
        (String::new(), "is empty"),
    ] {
        file.renew(&written).unwrap();
        of.end_sessions().await;
        of.is_back().await;
        assert!(!log.lines_with(reason).is_empty(), "{reason}");
    }
    file.remove().unwrap();
    of.end_sessions().await;
    of.is_back().await;
    assert!(!log.lines_with("cannot read the file").is_empty());
    assert!(log.lines_with(DatabaseRole::PASSWORD).is_empty());
    first.run(&of.harness.database, "DROP OWNED BY ROLE_NAME; DROP ROLE ROLE_NAME").await;
    of.end().await;
}

/// Claim: a database that is read-only for a while serves reads, says that it takes no writes, and takes them again
/// without a restart, though its sessions keep the setting that they began with.
#[tokio::test]
async fn a_database_that_is_read_only_for_a_while_takes_writes_again() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 1000).await;
    let order = customer.buy(&tea, 1).await;
    let mut sql = harness.sql().await;
    let name = harness.database.name();
    let is_read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    sqlx::raw_sql(sqlx::AssertSqlSafe(is_read_only)).execute(&mut sql).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'order-service%'";
    sqlx::raw_sql(end).execute(&mut sql).await.unwrap();
    wait_until(WITHIN, "a refusal", async || {
        let status = customer.place(placing(vec![item(&tea, 1)])).await.expect_err("no write is taken");
        if status.get_error_details().error_info().unwrap().reason == "STORAGE_UNAVAILABLE" {
            assert_eq!(effect(&status).as_deref(), Some("none"));
            Ok(())
        } else {
            Err(status)
        }
    })
    .await
    .unwrap();
    // Reads at the same time need several sessions, which a busy machine does not open in the time of a call.
    wait_until(WITHIN, "reads at the same time", async || {
        let reads = futures_util::future::try_join_all((0..32).map(|_| customer.order(&order.id))).await?;
        assert!(reads.into_iter().all(|read| read == order));
        Ok::<_, Status>(())
    })
    .await
    .unwrap();
    serving(&harness.url()).await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'order-service'";
    let sessions: i64 = sqlx::query_scalar(sessions).fetch_one(&mut sql).await.unwrap();

    let is_writable = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    sqlx::raw_sql(sqlx::AssertSqlSafe(is_writable)).execute(&mut sql).await.unwrap();
    let is_of_session = |status: &Status| {
        status.get_error_details().error_info().is_some_and(|info| info.reason == "STORAGE_UNAVAILABLE")
    };
    let mut failed = 0;
    wait_until(WITHIN, "an order", async || {
        let placed = customer.place(placing(vec![item(&tea, 1)])).await;
        failed += i64::from(placed.as_ref().is_err_and(is_of_session));
        placed.map(drop)
    })
    .await
    .unwrap();
    for _ in 0..4 {
        let all = (0..32).map(|_| customer.place(placing(vec![item(&tea, 1)])));
        let all = futures_util::future::join_all(all).await;
        failed += all.iter().map(|placed| i64::from(placed.as_ref().is_err_and(is_of_session))).sum::<i64>();
    }
    // Each session that was opened meanwhile costs a call at most, and is replaced.
    assert!(sessions > 1 && failed <= sessions, "{failed} calls failed, and {sessions} sessions were open");
    harness.assert_stock_adds_up(&tea).await;
}

/// Claim: a migration that changes a table under prepared statements is nobody's defect, and a call later all is well.
#[tokio::test]
async fn a_table_that_is_changed_under_prepared_statements_is_no_defect() {
    let harness = Harness::start_with(&["--postgres-connections=2"]).await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 1000).await;
    let order = customer.buy(&tea, 1).await;
    let mut sql = harness.sql().await;
    for (column, kind) in [("name", "varchar(1000)"), ("name", "text")] {
        let change = format!("ALTER TABLE products ALTER COLUMN {column} TYPE {kind}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(change)).execute(&mut sql).await.unwrap();
        for _ in 0..3 {
            match customer.place(placing(vec![item(&tea, 1)])).await {
                Ok(_) => {}
                Err(status) => {
                    assert_refused(&status, Code::Unavailable, "DEPENDENCY_UNAVAILABLE", &[]);
                    assert_eq!(effect(&status).as_deref(), Some("none"));
                }
            }
        }
        assert_eq!(customer.order(&order.id).await.unwrap().id, order.id);
        customer.buy(&tea, 1).await;
    }
    harness.assert_stock_adds_up(&tea).await;
}

/// Claim: a server that is killed and started again under load costs the calls of that moment, all of which hear
/// UNAVAILABLE, and a line of the log for each cause.
#[tokio::test]
async fn a_server_that_is_started_again_under_load_costs_the_calls_of_that_moment() {
    let log = CapturedLog::start(|format| Repeats::default().format(format));
    let state = State::for_run(&testkit::state::base()).await.unwrap();
    let postgres = Postgres::start(&state, Port::Free, Lifetime::WithParent).await.unwrap();
    let database = TestPostgres::create_on(postgres.admin()).await.unwrap();
    schema::migrate(&PostgresConfig::for_tests(database.url())).await.unwrap();
    let url = database.url().to_owned();
    let harness = Harness::start_on(database, &url, &[]).await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 100_000).await;
    customer.buy(&tea, 1).await;
    let restart = async {
        postgres.process().kill().await.unwrap();
        let url = harness.url();
        wait_until(NOTICED, "health to say that it does not serve", async || not_serving(&url).await)
            .await
            .unwrap();
        postgres.restart().await.unwrap();
        wait_until(NOTICED, "health", async || serving(&url).await).await.unwrap();
    };
    let failures = under_load(async || customer.place(placing(vec![item(&tea, 1)])).await, restart).await;
    for status in &failures {
        assert_refused(status, Code::Unavailable, "DEPENDENCY_UNAVAILABLE", &[]);
    }
    let (failed, lines) = (failures.len(), log.lines_with("the call failed").len());
    assert!(failed > 50 && lines < 12, "{failed} calls failed, and {lines} lines tell of it");
    customer.buy(&tea, 1).await;
    drop(harness.stop().await);
    postgres.stop().await.unwrap();
    drop(postgres);
    state.remove().unwrap();
}
