//! Recognises a connection pooler that nobody told the service of.
//!
//! A pooler in transaction mode gives each transaction whatever session of the server's is free. Some refuse the settings
//! that a session is opened with. Others drop them, and a statement that was prepared in one session is missing in the
//! next. Calls would fail now and then, so the service does not start.

use runtime::retry::{START_UP_WITHIN, start_up};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use types::chain;

use super::driver::at_start;
use super::store::Store;
use crate::error::Result;

const WHAT_TO_SET: &str = "POSTGRES_URL leads to a connection pooler: set POSTGRES_POOLER=transaction, or give the \
                           address of PostgreSQL itself";
/// What PgBouncer answers to settings that it does not know; other errors of a start may be over in a moment.
const REFUSES_SETTINGS: &str = "unsupported startup parameter";

impl Store {
    /// Waits until the database answers, and refuses a pooler where a server is expected.
    ///
    /// # Errors
    /// When the database does not come up, or is behind a pooler that the configuration does not name.
    pub async fn come_up(&self) -> anyhow::Result<()> {
        if self.expects_pooler() {
            let ping = async || self.ping().await.map_err(at_start);
            return start_up("PostgreSQL", START_UP_WITHIN, ping).await;
        }
        let look = async || match self.sign_of_pooler().await {
            Ok(sign) => Ok(sign),
            Err(error) => match chain(&error) {
                sign if sign.contains(REFUSES_SETTINGS) => Ok(Some(sign)),
                _ => Err(at_start(error)),
            },
        };
        match start_up("PostgreSQL", START_UP_WITHIN, look).await? {
            Some(sign) => anyhow::bail!("{WHAT_TO_SET} ({sign})"),
            None => Ok(()),
        }
    }

    /// What tells that there is a pooler in between, if something does. Nothing is prepared, since what an earlier start
    /// prepared may still be there.
    pub(crate) async fn sign_of_pooler(&self) -> Result<Option<String>> {
        let (mut one, mut two) = (self.another_session().await?, self.another_session().await?);
        let (first, is_set) = look(&mut one.connection).await?;
        // Both are open all the time, and share a session of the server's only if a pooler hands it from one to the other.
        let (second, _) = look(&mut two.connection).await?;
        Ok(if !is_set {
            Some("the settings of a session are lost on the way".to_owned())
        } else if first == second {
            Some("two connections are in one session of PostgreSQL".to_owned())
        } else {
            None
        })
    }
}

/// Which session of the server's this is, and whether it has our settings.
async fn look(connection: &mut PgConnection) -> Result<(i32, bool)> {
    let query = "SELECT pg_backend_pid(), current_setting('plan_cache_mode') = 'force_generic_plan'";
    let row = sqlx::raw_sql(query).fetch_one(connection).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
