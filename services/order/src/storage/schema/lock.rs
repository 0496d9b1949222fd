//! One migration of a database at a time.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::time::{Instant, sleep};

/// The advisory lock of migrations; one database has one schema.
pub const MIGRATION_LOCK: i64 = 0x7472_6973_746f_7265;

const POLL: Duration = Duration::from_millis(200);
const WITHIN: Duration = Duration::from_secs(300);

/// The lock, held by a transaction that does nothing else: behind a pooler a session is nobody's own, and a transaction
/// is. It has no snapshot, so what is indexed concurrently does not wait for it.
pub(super) struct Lock(PgConnection);

impl Lock {
    /// Waits until no other migration runs.
    pub(super) async fn take(mut connection: PgConnection) -> anyhow::Result<Self> {
        let end = Instant::now() + WITHIN;
        let ask = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 0;
             SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})"
        );
        // Asked for again and again rather than waited for: CREATE INDEX CONCURRENTLY waits for every session that
        // is in a statement, and a session that waits for this lock is in one.
        while !sqlx::raw_sql(AssertSqlSafe(ask.clone())).fetch_one(&mut connection).await?.try_get(0)? {
            sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
            anyhow::ensure!(Instant::now() < end, "another migration runs since {WITHIN:?}");
            sleep(POLL).await;
        }
        Ok(Self(connection))
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When it was lost in between.
    pub(super) async fn give_back(mut self) -> anyhow::Result<()> {
        sqlx::raw_sql("COMMIT").execute(&mut self.0).await?;
        self.0.close().await?;
        Ok(())
    }
}
