//! `order-service doctor`: what it says of a database as it should be, and of one with each fault that it looks for.

use futures_util::future::join_all;
use order_service::config::{Pooler as Pooled, PostgresConfig};
use order_service::doctor::{CHECKS, Place};
use runtime::doctor::{Line, Seen, Verdict};
use sqlx::{Connection as _, PgConnection};
use testkit::{PoolerSettings, Reference};

use crate::harness::database;
use crate::role::DatabaseRole;

/// Functions and views of these names are found before PostgreSQL's own.
const HIDE: &str = "CREATE SCHEMA fault; GRANT USAGE ON SCHEMA fault TO ROLE_NAME;
    ALTER ROLE ROLE_NAME IN DATABASE \"DATABASE_NAME\" SET search_path = fault, pg_catalog, public;";
/// With it `current_setting` says something else of one setting.
const OTHER_SETTING: &str = "CREATE FUNCTION fault.current_setting(name text) RETURNS text LANGUAGE sql AS
    $$ SELECT CASE WHEN name = 'SETTING' THEN 'VALUE' ELSE pg_catalog.current_setting(name) END $$";

/// What is wrong in a case.
enum Fault {
    /// What the owner of the database has done to it.
    Script(&'static str),
    /// The server tells of something else than is there.
    Hidden(&'static str),
    /// A setting that the server has another value of. One that cannot be changed for a database is hidden.
    Setting(&'static str, &'static str),
    /// What is between.
    Pooler(PoolerSettings),
}
use Fault::{Hidden, Pooler, Script, Setting};

/// A fault for each check, what must be said of it, and a part of what must be typed.
fn cases() -> Vec<(&'static str, Fault, Verdict, &'static str)> {
    use Verdict::{Advice, Failed};
    vec![
        (
            "server.reached",
            Script("ALTER ROLE ROLE_NAME PASSWORD 'another'"),
            Failed,
            "ALTER ROLE <role> LOGIN PASSWORD",
        ),
        ("server.version", Setting("server_version_num", "140011"), Failed, "pg_upgrade"),
        (
            "server.primary",
            Script("ALTER ROLE ROLE_NAME SET default_transaction_read_only = on"),
            Failed,
            "RESET default_transaction_read_only;",
        ),
        (
            "server.standbys",
            Setting("synchronous_standby_names", "elsewhere"),
            Failed,
            "ALTER SYSTEM RESET synchronous_standby_names",
        ),
        (
            "server.clock",
            Hidden(
                "CREATE FUNCTION fault.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
                 $$ SELECT pg_catalog.clock_timestamp() + interval '1 minute' $$",
            ),
            Failed,
            "NTP",
        ),
        ("server.encoding", Setting("server_encoding", "SQL_ASCII"), Failed, "ENCODING 'UTF8'"),
        (
            "server.collation",
            Hidden(
                "CREATE FUNCTION fault.pg_database_collation_actual_version(oid) RETURNS text LANGUAGE sql AS
                 $$ SELECT '999.9' $$",
            ),
            Failed,
            "REFRESH COLLATION VERSION",
        ),
        (
            "server.functions",
            Hidden(
                "CREATE FUNCTION fault.gen_random_uuid() RETURNS uuid LANGUAGE sql AS
                 $$ SELECT '00000000-0000-4000-8000-000000000000'::uuid $$",
            ),
            Failed,
            "DROP FUNCTION gen_random_uuid",
        ),
        (
            "server.transactions",
            Hidden(
                "CREATE VIEW fault.pg_prepared_xacts AS SELECT now() - interval '2 hours' AS prepared;
                 GRANT SELECT ON fault.pg_prepared_xacts TO ROLE_NAME",
            ),
            Advice,
            "ROLLBACK PREPARED",
        ),
        ("settings.fsync", Setting("fsync", "off"), Failed, "ALTER SYSTEM SET fsync = on"),
        (
            "settings.full_page_writes",
            Setting("full_page_writes", "off"),
            Failed,
            "ALTER SYSTEM SET full_page_writes = on",
        ),
        (
            "settings.synchronous_commit",
            Script("ALTER DATABASE \"DATABASE_NAME\" SET synchronous_commit = off"),
            Failed,
            "SET synchronous_commit = on",
        ),
        ("settings.wal_level", Setting("wal_level", "minimal"), Failed, "wal_level = replica"),
        (
            "settings.connections",
            Script("ALTER ROLE ROLE_NAME CONNECTION LIMIT 20"),
            Failed,
            "POSTGRES_CONNECTIONS=4",
        ),
        (
            "session.tls",
            Hidden("CREATE FUNCTION fault.inet_server_addr() RETURNS inet LANGUAGE sql AS $$ SELECT '10.0.0.1'::inet $$"),
            Advice,
            "sslmode=verify-full",
        ),
        (
            "session.pooler",
            Pooler(PoolerSettings::Refused),
            Failed,
            "POSTGRES_POOLER=transaction",
        ),
        (
            "session.settings",
            Pooler(PoolerSettings::Ignored),
            Failed,
            "POSTGRES_POOLER=transaction",
        ),
        (
            "session.statement_timeout",
            Hidden("CREATE FUNCTION fault.pg_sleep(double precision) RETURNS void LANGUAGE sql AS $$ SELECT $$"),
            Failed,
            "takes settings away",
        ),
        (
            "session.lock_timeout",
            Hidden(
                "CREATE FUNCTION fault.pg_advisory_xact_lock(integer, integer) RETURNS void LANGUAGE sql AS $$ SELECT $$",
            ),
            Failed,
            "takes settings away",
        ),
        ("role.ordinary", Script("ALTER ROLE ROLE_NAME BYPASSRLS"), Advice, "NOBYPASSRLS"),
        (
            "role.statements",
            Script("REVOKE INSERT ON transfers FROM ROLE_NAME"),
            Failed,
            "GRANT SELECT, INSERT, UPDATE, DELETE",
        ),
        (
            "schema.migrations",
            Script("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)"),
            Failed,
            "order-service migrate",
        ),
        (
            "schema.indexes",
            Script("DROP INDEX transfers_due"),
            Failed,
            "CREATE INDEX CONCURRENTLY transfers_due ON transfers",
        ),
        (
            "schema.constraints",
            Script("ALTER TABLE accounts ADD CONSTRAINT later CHECK (held >= 0) NOT VALID"),
            Failed,
            "ALTER TABLE accounts VALIDATE CONSTRAINT later;",
        ),
        (
            "schema.publication",
            Script("DROP PUBLICATION outbox"),
            Failed,
            "CREATE PUBLICATION outbox FOR TABLE outbox",
        ),
        ("plans.scans", Script("DROP INDEX transfers_due"), Failed, "schema.indexes"),
        (
            "pace.round_trip",
            Hidden(
                "CREATE FUNCTION fault.pg_backend_pid() RETURNS integer LANGUAGE sql AS
                 $$ SELECT pg_catalog.pg_backend_pid() FROM (SELECT pg_catalog.pg_sleep(0.01)) AS slept $$",
            ),
            Advice,
            "closer",
        ),
        (
            "pace.commit",
            Hidden(
                "CREATE FUNCTION fault.pg_logical_emit_message(boolean, text, text) RETURNS pg_lsn LANGUAGE sql AS
                 $$ SELECT '0/0'::pg_lsn FROM (SELECT pg_catalog.pg_sleep(0.03)) AS slept $$",
            ),
            Advice,
            "a faster disk",
        ),
    ]
}

async fn examined(config: PostgresConfig, only: &[String]) -> Vec<Line> {
    let place = Place::open(config, 3).await;
    let mut lines = Vec::new();
    let place: Result<&Place, Seen> = place.as_ref().map_err(Clone::clone);
    CHECKS.examine(place, only, |line| lines.push(line)).await.unwrap();
    lines
}

/// A migrated database with this fault, examined.
async fn with_fault(check: &str, fault: Fault) -> Line {
    let database = database().await;
    let role = DatabaseRole::create(&database).await;
    let mut url = role.url.clone();
    match fault {
        Script(script) => role.run(&database, script).await,
        Hidden(script) => role.run(&database, &format!("{HIDE} {script}")).await,
        Setting(name, value) => {
            let script = OTHER_SETTING.replace("SETTING", name).replace("VALUE", value);
            role.run(&database, &format!("{HIDE} {script}")).await;
        }
        Pooler(settings) => url = database.url_through_pooler(settings).await.unwrap(),
    }
    let lines = examined(PostgresConfig::for_tests(&url), &[check.to_owned()]).await;
    role.drop(&database).await;
    lines.into_iter().find(|line| line.check == check).expect("the check was done")
}

#[tokio::test]
async fn a_database_as_it_should_be_passes_every_check() {
    let database = database().await;
    let role = DatabaseRole::create(&database).await;
    let lines = examined(PostgresConfig::for_tests(&role.url), &[]).await;
    role.drop(&database).await;
    assert_eq!(lines.len(), CHECKS.names().count());
    // How fast this machine is says nothing of the code.
    let paced = |line: &&Line| line.check.starts_with("pace.") && line.verdict == Verdict::Advice;
    for line in lines.iter().filter(|line| !paced(line)) {
        assert_eq!(line.verdict, Verdict::Ok, "{line}");
    }
}

#[tokio::test]
async fn each_check_finds_a_fault_and_says_what_to_type() {
    let cases = cases();
    let checked: Vec<&str> = cases.iter().map(|(check, ..)| *check).collect();
    assert_eq!(checked, CHECKS.names().collect::<Vec<_>>(), "a check without a case, or in another place");
    let looks = cases.into_iter().map(async |(check, fault, verdict, mend)| {
        let line = with_fault(check, fault).await;
        assert_eq!(line.verdict, verdict, "{line}");
        assert!(line.mend.as_ref().is_some_and(|text| text.contains(mend)), "{line}");
    });
    join_all(looks).await;
}

#[tokio::test]
async fn what_is_typed_mends_an_index_that_is_missing_or_broken() {
    let database = database().await;
    let role = DatabaseRole::create(&database).await;
    let faults = "DROP INDEX transfers_due;
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'transfers_request'::regclass";
    role.run(&database, faults).await;
    let only = ["schema.indexes".to_owned()];
    let look = async || examined(PostgresConfig::for_tests(&role.url), &only).await.pop().unwrap();
    let found = look().await;
    assert_eq!(found.verdict, Verdict::Failed, "{found}");
    for statement in found.mend.as_deref().unwrap().lines() {
        role.run(&database, statement).await;
    }
    let mended = look().await;
    assert_eq!(mended.verdict, Verdict::Ok, "{mended}");
    role.drop(&database).await;
}

#[tokio::test]
async fn behind_a_pooler_that_was_told_of_every_check_that_can_be_done_passes() {
    let database = database().await;
    let url = database.url_through_pooler(PoolerSettings::Refused).await.unwrap();
    let pooled = PostgresConfig { postgres_pooler: Pooled::Transaction, ..PostgresConfig::for_tests(&url) };
    for line in examined(pooled, &[]).await {
        let expected = match line.check {
            "settings.connections" => Verdict::NotTried,
            // The pooler logs in as the owner of the server.
            "role.ordinary" => Verdict::Advice,
            name if name.starts_with("pace.") => line.verdict,
            _ => Verdict::Ok,
        };
        assert_eq!(line.verdict, expected, "{line}");
    }
}

#[test]
fn the_readme_has_the_table_of_checks() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    Reference::new(readme, "checks").check(&CHECKS.reference()).unwrap();
}

#[tokio::test]
async fn the_indexes_that_are_looked_for_are_those_of_the_migrations() {
    let database = database().await;
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let query = "SELECT pg_get_indexdef(indexrelid, 0, true) FROM pg_index
                 JOIN pg_class AS relation ON relation.oid = indrelid
                 WHERE relation.relnamespace = 'public'::regnamespace ORDER BY 1";
    let indexes: Vec<(String,)> = sqlx::query_as(query).fetch_all(&mut sql).await.unwrap();
    let lines: Vec<String> = indexes.into_iter().map(|(definition,)| definition).collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctor/indexes.md");
    Reference::new(file, "indexes").check(&lines.join("\n")).unwrap();
}
