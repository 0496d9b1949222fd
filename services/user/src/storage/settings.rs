//! Whether the server is set up so that what it acknowledges can be trusted, and what its time is.

use bson::doc;
use time::OffsetDateTime;

use super::driver::{bounded, bounded_raw};
use super::{Store, to_time};
use crate::error::{Error, Result};

/// How long an owner of the sequencer's lease that was paused inside a step may hold up its successor, as the
/// services are meant to run.
const TRANSACTION_SECONDS: i64 = 3;
const LIFETIME: &str = "transactionLifetimeLimitSeconds";

impl Store {
    /// The server's time.
    pub(crate) async fn now(&self) -> Result<OffsetDateTime> {
        let admin = self.client.database("admin");
        let hello = bounded(admin.run_command(doc! { "hello": 1 })).await?;
        let now = hello.get_datetime("localTime");
        now.map(|now| to_time(*now)).map_err(|_| Error::internal("MongoDB does not tell its time"))
    }

    /// Checks the server's settings: refuses one without transactions, and says how long a transaction that its
    /// client forgot may stay in the way.
    ///
    /// # Errors
    /// When the server is away, or no member of a replica set.
    pub async fn settings_check(&self) -> Result<()> {
        let admin = self.client.database("admin");
        let hello = bounded(admin.run_command(doc! { "hello": 1 })).await?;
        if hello.get_str("setName").is_err() {
            return Err(Error::internal(
                "MongoDB must be a replica set, if only of one member: transactions need it",
            ));
        }
        match bounded_raw(admin.run_command(doc! { "getParameter": 1, LIFETIME: 1 })).await {
            Ok(answer) => {
                let seconds = answer.get(LIFETIME).and_then(|seconds| match seconds {
                    bson::Bson::Int32(seconds) => Some(i64::from(*seconds)),
                    bson::Bson::Int64(seconds) => Some(*seconds),
                    _ => None,
                });
                match seconds {
                    Some(seconds) if seconds <= TRANSACTION_SECONDS => {}
                    seconds => tracing::warn!(
                        seconds,
                        "{LIFETIME} should be {TRANSACTION_SECONDS}: a paused process may hold up its successor that long"
                    ),
                }
            }
            // Takes a privilege that the service need not have.
            Err(error) => tracing::debug!(%error, "{LIFETIME} cannot be read"),
        }
        Ok(())
    }
}
