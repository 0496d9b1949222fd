//! How many sessions the server lets this service have.

use runtime::connections::Budget;

use super::statement::statements;
use super::store::Store;
use crate::error::{Error, Result};

statements! {
    SETTINGS = "SELECT lower(name), setting FROM pg_settings WHERE lower(name) = ANY ($1)";

    SESSIONS_ALLOWED =
        "SELECT least(
             current_setting('max_connections')::integer
                 - current_setting('superuser_reserved_connections')::integer
                 - coalesce(current_setting('reserved_connections', true)::integer, 0),
             (SELECT datconnlimit FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0),
             (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0))";
}

impl Store {
    /// Warns when so many replicas with so many connections each may need more sessions than the server allows. Behind a
    /// pooler the server's limit is the pooler's concern.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn capacity_check(&self, replicas: usize, each: usize) -> Result<()> {
        if !self.expects_pooler() {
            let allowed = self.sessions_allowed().await?;
            Budget { replicas, each }.check("PostgreSQL", allowed, "POSTGRES_CONNECTIONS");
        }
        Ok(())
    }

    /// The server's limit without what is kept for superusers, or the database's or the role's own limit if that is lower.
    pub(crate) async fn sessions_allowed(&self) -> Result<usize> {
        let query = sqlx::query(SESSIONS_ALLOWED);
        let row: Option<(i32,)> = self.read().await?.row(query).await?;
        let (allowed,) = row.ok_or_else(|| Error::internal("a SELECT without a row"))?;
        Ok(usize::try_from(allowed).unwrap_or_default())
    }

    /// Settings by their names, as a transaction of this service has them.
    pub(crate) async fn settings_of_transaction(&self, names: &[&str]) -> Result<Vec<(String, String)>> {
        self.read().await?.rows(sqlx::query(SETTINGS).bind(names)).await
    }
}
