//! Applying the migrations that are compiled in.
//!
//! The table of what is applied is sqlx's, and so are the files. Its own migrator gives its statements names and holds its
//! lock in a session; a pooler in transaction mode keeps neither. Here nothing outlives a transaction.

use std::time::Instant;

use anyhow::{Context as _, bail};
use runtime::retry::{START_UP_WITHIN, start_up};
use sqlx::migrate::Migration;
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _};

use super::lock::Lock;
use super::{APPLIED, MIGRATOR, Schema, compare};
use crate::config::PostgresConfig;
use crate::storage::driver::at_start;
use crate::storage::session::reach;

const NAME: &str = "order-service-migrate";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version bigint PRIMARY KEY,
    description text NOT NULL,
    installed_on timestamptz NOT NULL DEFAULT now(),
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
)";

const NOTE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     VALUES ($1, $2, true, $3, $4)";

/// As [`migrate`], once the database has come up.
///
/// # Errors
/// As [`migrate`], and when the database does not come up.
pub async fn migrate_when_up(config: &PostgresConfig) -> anyhow::Result<usize> {
    let options = reach(&config.postgres_url.now(), NAME)?;
    let connection =
        start_up("PostgreSQL", START_UP_WITHIN, async || options.connect().await.map_err(at_start)).await?;
    connection.close().await?;
    migrate(config).await
}

/// Gives every stream a new epoch, once the database has come up, and ends the lease of its sequencer: a restored
/// backup may be of the same server and timeline, so that nothing else tells its history from the one that was lost.
///
/// # Errors
/// When the database does not come up or does not answer.
pub async fn new_epoch_when_up(config: &PostgresConfig) -> anyhow::Result<Vec<(String, uuid::Uuid)>> {
    let options = reach(&config.postgres_url.now(), NAME)?;
    let mut connection =
        start_up("PostgreSQL", START_UP_WITHIN, async || options.connect().await.map_err(at_start)).await?;
    begin(&mut connection).await?;
    let query = "UPDATE outbox_lease
                 SET epoch = gen_random_uuid(), owner = NULL, lease_until = '-infinity', fence = fence + 1
                 RETURNING stream, epoch";
    let epochs = sqlx::query_as(query).persistent(false).fetch_all(&mut connection).await?;
    commit(&mut connection).await?;
    connection.close().await?;
    Ok(epochs)
}

/// Applies what is missing, under a lock; tells how many migrations there were to apply.
///
/// # Errors
/// When the database does not answer, a migration fails, or one that was applied has changed since.
pub async fn migrate(config: &PostgresConfig) -> anyhow::Result<usize> {
    let options = reach(&config.postgres_url.now(), NAME)?;
    let lock = Lock::take(options.connect().await?).await?;
    let mut connection = options.connect().await?;
    sqlx::raw_sql(TABLE).execute(&mut connection).await?;
    let missing = missing(&mut connection).await?;
    for migration in &missing {
        apply(&mut connection, migration)
            .await
            .with_context(|| format!("migration {} ({})", migration.version, migration.description))?;
    }
    connection.close().await?;
    lock.give_back().await?;
    Ok(missing.len())
}

/// What is to be applied, in order.
async fn missing(connection: &mut PgConnection) -> anyhow::Result<Vec<&'static Migration>> {
    begin(connection).await?;
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(APPLIED).persistent(false).fetch_all(&mut *connection).await?;
    commit(connection).await?;
    let versions = match compare(&applied) {
        Schema::Complete => Vec::new(),
        Schema::Incomplete(versions) => versions,
    };
    // An older binary must not fail on what a newer one has applied: migrations are expand-only.
    if let Some((version, _)) = applied.iter().find(|(version, _)| versions.contains(version)) {
        bail!("migration {version} was applied, and has changed since");
    }
    Ok(MIGRATOR.iter().filter(|migration| versions.contains(&migration.version)).collect())
}

/// Applies one, and notes it: in the same transaction, unless the migration cannot be in one.
async fn apply(connection: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    let began = Instant::now();
    if migration.no_tx {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut *connection).await?;
        begin(connection).await?;
    } else {
        begin(connection).await?;
        sqlx::raw_sql(migration.sql.clone()).execute(&mut *connection).await?;
    }
    let took = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let note = sqlx::query(NOTE)
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
        .bind(took);
    note.persistent(false).execute(&mut *connection).await?;
    commit(connection).await
}

async fn begin(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("BEGIN").execute(connection).await.map(drop)
}

async fn commit(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
}
