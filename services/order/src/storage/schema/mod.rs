//! The schema: applying the migrations that are compiled in, and checking at the start that they are applied
//! and that the server keeps what it commits.

mod lock;
mod migrate;

use std::collections::HashMap;

use sqlx::migrate::Migrator;

use super::store::Store;
use crate::error::{Error, Result};
use crate::storage::statement::statements;

pub use lock::MIGRATION_LOCK;
pub use migrate::{migrate, migrate_when_up, new_epoch_when_up};

statements! {
    APPLIED = "SELECT version, checksum FROM _sqlx_migrations WHERE success";

    IS_MIGRATED_AT_ALL = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";

    UNSAFE_SETTINGS =
        "SELECT name FROM pg_settings
         WHERE (name IN ('fsync', 'full_page_writes') AND setting = 'off')
            OR (name = 'synchronous_commit' AND setting = 'off')";
}

/// The migrations of `migrations/order`.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/order");

/// Whether the database has what this binary was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Every migration is applied.
    Complete,
    /// These versions are not applied.
    Incomplete(Vec<i64>),
}

fn compare(applied: &[(i64, Vec<u8>)]) -> Schema {
    let applied: HashMap<_, _> = applied.iter().map(|(version, checksum)| (*version, checksum)).collect();
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
        let (exists,): (bool,) = connection.row(sqlx::query(IS_MIGRATED_AT_ALL)).await?.unwrap_or_default();
        if !exists {
            return Ok(compare(&[]));
        }
        Ok(compare(&connection.rows::<(i64, Vec<u8>)>(sqlx::query(APPLIED)).await?))
    }

    /// Refuses a server that may lose what it acknowledged.
    ///
    /// # Errors
    /// When a setting is unsafe, or the database does not answer.
    pub async fn assert_durable(&self) -> Result<()> {
        let query = sqlx::query(UNSAFE_SETTINGS);
        let unsafe_settings: Vec<(String,)> = self.read().await?.rows(query).await?;
        match unsafe_settings.as_slice() {
            [] => Ok(()),
            [(name,), ..] => Err(Error::internal(format!("PostgreSQL runs with {name} = off"))),
        }
    }
}
