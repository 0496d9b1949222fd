//! The schema: applying the migrations that are compiled in, and checking at the start that they are applied
//! and that the server keeps what it commits.

use std::collections::HashMap;
use std::time::Duration;

use runtime::retry::{START_UP_WITHIN, start_up};
use secrecy::ExposeSecret as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::Store;
use crate::config::PostgresConfig;
use crate::error::{Error, Result};

/// The migrations of `migrations/order`.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/order");

/// The advisory lock of migrations; one database has one schema.
pub const MIGRATION_LOCK: i64 = 0x7472_6973_746f_7265;
const LOCK_POLL: Duration = Duration::from_millis(200);
const LOCK_WITHIN: Duration = Duration::from_secs(300);

/// As [`migrate`], once the database has come up.
///
/// # Errors
/// As [`migrate`], and when the database does not come up.
pub async fn migrate_when_up(config: &PostgresConfig) -> anyhow::Result<usize> {
    let options: PgConnectOptions = config.postgres_url.expose_secret().parse()?;
    let connection = start_up("PostgreSQL", START_UP_WITHIN, || options.connect()).await?;
    connection.close().await?;
    migrate(config).await
}

/// Gives every stream a new epoch, once the database has come up, and ends the lease of its sequencer: a restored
/// backup may be of the same server and timeline, so that nothing else tells its history from the one that was lost.
///
/// # Errors
/// When the database does not come up or does not answer.
pub async fn new_epoch_when_up(config: &PostgresConfig) -> anyhow::Result<Vec<(String, uuid::Uuid)>> {
    let options: PgConnectOptions = config.postgres_url.expose_secret().parse()?;
    let mut connection = start_up("PostgreSQL", START_UP_WITHIN, || options.connect()).await?;
    let query = "UPDATE outbox_lease
                 SET epoch = gen_random_uuid(), owner = NULL, lease_until = '-infinity', fence = fence + 1
                 RETURNING stream, epoch";
    let epochs = sqlx::query_as(query).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(epochs)
}

/// Applies what is missing, under a lock; tells how many migrations there were to apply.
///
/// # Errors
/// When the database does not answer, a migration fails, or one that was applied has changed since.
pub async fn migrate(config: &PostgresConfig) -> anyhow::Result<usize> {
    let options: PgConnectOptions = config.postgres_url.expose_secret().parse()?;
    let mut connection = options.application_name("order-service-migrate").connect().await?;
    let end = tokio::time::Instant::now() + LOCK_WITHIN;
    // Asked for again and again rather than waited for: CREATE INDEX CONCURRENTLY waits for every session that
    // is in a statement, and a session that waits for this lock is in one.
    while !sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(MIGRATION_LOCK)
        .fetch_one(&mut connection)
        .await?
    {
        anyhow::ensure!(tokio::time::Instant::now() < end, "another migration runs since {LOCK_WITHIN:?}");
        tokio::time::sleep(LOCK_POLL).await;
    }
    let missing = match missing(&mut connection).await? {
        Schema::Incomplete(missing) => missing.len(),
        Schema::Complete => 0,
    };
    let migrator = Migrator {
        migrations: MIGRATOR.migrations.clone(),
        table_name: MIGRATOR.table_name.clone(),
        create_schemas: MIGRATOR.create_schemas.clone(),
        // An older binary must not fail on what a newer one has applied: migrations are expand-only.
        ignore_missing: true,
        locking: false,
        no_tx: false,
    };
    migrator.run_direct(None, &mut connection, false).await?;
    // Closing the session gives the lock back.
    connection.close().await?;
    Ok(missing)
}

/// Whether the database has what this binary was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Every migration is applied.
    Complete,
    /// These versions are not applied.
    Incomplete(Vec<i64>),
}

async fn missing(connection: &mut PgConnection) -> std::result::Result<Schema, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    let applied = if exists {
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success")
            .fetch_all(connection)
            .await?
    } else {
        Vec::new()
    };
    Ok(compare(applied))
}

fn compare(applied: Vec<(i64, Vec<u8>)>) -> Schema {
    let applied: HashMap<_, _> = applied.into_iter().collect();
    let missing: Vec<_> = MIGRATOR
        .iter()
        .filter(|migration| applied.get(&migration.version).is_none_or(|sum| **sum != *migration.checksum))
        .map(|migration| migration.version)
        .collect();
    if missing.is_empty() { Schema::Complete } else { Schema::Incomplete(missing) }
}

impl Store {
    /// Whether the schema is complete: what readiness asks.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn schema(&self) -> Result<Schema> {
        let mut connection = self.read().await?;
        let (exists,): (bool,) = connection
            .row(sqlx::query("SELECT to_regclass('_sqlx_migrations') IS NOT NULL"))
            .await?
            .unwrap_or_default();
        if !exists {
            return Ok(compare(Vec::new()));
        }
        let query = sqlx::query("SELECT version, checksum FROM _sqlx_migrations WHERE success");
        Ok(compare(connection.rows(query).await?))
    }

    /// Refuses a server that may lose what it acknowledged.
    ///
    /// # Errors
    /// When a setting is unsafe, or the database does not answer.
    pub async fn assert_durable(&self) -> Result<()> {
        let query = sqlx::query(
            "SELECT name FROM pg_settings
             WHERE (name IN ('fsync', 'full_page_writes') AND setting = 'off')
                OR (name = 'synchronous_commit' AND setting = 'off')",
        );
        let unsafe_settings: Vec<(String,)> = self.read().await?.rows(query).await?;
        match unsafe_settings.as_slice() {
            [] => Ok(()),
            [(name,), ..] => Err(Error::internal(format!("PostgreSQL runs with {name} = off"))),
        }
    }
}
