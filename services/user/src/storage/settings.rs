//! Whether the server is set up so that what it acknowledges can be trusted, and what its time is.

use bson::{Bson, Document, doc};
use runtime::connections::Budget;
use time::OffsetDateTime;

use super::driver::{TRANSACTION_LIFETIME, bounded, bounded_raw};
use super::{Store, to_time};
use crate::error::{Error, Result};

/// The parameter by which the server ends a transaction, in seconds.
pub(crate) const LIFETIME: &str = "transactionLifetimeLimitSeconds";

impl Store {
    /// The server's time.
    pub(crate) async fn now(&self) -> Result<OffsetDateTime> {
        let admin = self.client().database("admin");
        let hello = bounded(admin.run_command(doc! { "hello": 1 })).await?;
        let now = hello.get_datetime("localTime");
        now.map(|now| to_time(*now)).map_err(|_| Error::internal("MongoDB does not tell its time"))
    }

    /// Warns when a transaction that its client forgot may stay in the way for long.
    pub async fn lifetime_check(&self) {
        let admin = self.client().database("admin");
        match bounded_raw(admin.run_command(doc! { "getParameter": 1, LIFETIME: 1 })).await {
            Ok(answer) => {
                let seconds = answer.get(LIFETIME).and_then(number);
                let wanted = TRANSACTION_LIFETIME.as_secs();
                match seconds {
                    Some(seconds) if u64::try_from(seconds).is_ok_and(|seconds| seconds <= wanted) => {}
                    seconds => tracing::warn!(
                        seconds,
                        "{LIFETIME} is too long: what a process leaves locked that stops in the middle of a transaction \
                         holds up the others for up to one and a half times as long; start mongod with --setParameter \
                         {LIFETIME}={wanted}"
                    ),
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "{LIFETIME} cannot be read. Unless it was set it is 60, and what a process leaves locked that stops in the \
                 middle of a transaction holds up the others for up to 90 s: start mongod with --setParameter \
                 {LIFETIME}={}, and grant the service's role getParameter on the cluster, so that this is looked at",
                TRANSACTION_LIFETIME.as_secs()
            ),
        }
    }

    /// Warns when so many replicas with so many connections each may need more of them than the server allows.
    pub async fn capacity_check(&self, replicas: usize, each: usize) {
        let admin = self.client().database("admin");
        match bounded_raw(admin.run_command(doc! { "serverStatus": 1 })).await {
            Ok(status) => {
                if let Some(allowed) = connections_allowed(&status) {
                    Budget { replicas, each }.check("MongoDB", allowed, "MONGODB_CONNECTIONS");
                }
            }
            // Takes a privilege that the service need not have.
            Err(error) => tracing::debug!(%error, "the limit of connections cannot be read"),
        }
    }
}

/// A whole number of a server's, in whichever of its forms.
pub(crate) fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// The most connections that a server takes, by its status.
pub(crate) fn connections_allowed(status: &Document) -> Option<usize> {
    let connections = status.get_document("connections").ok()?;
    let count = |name| usize::try_from(number(connections.get(name)?)?).ok();
    // None can be left only for a server that does not count them: it has just taken ours.
    let available = count("available").filter(|available| *available > 0)?;
    count("current")?.checked_add(available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_limit_is_what_is_used_and_what_is_left() {
        let status =
            doc! { "connections": { "current": 12, "available": 838_848_i64, "totalCreated": 40_i64 } };
        assert_eq!(connections_allowed(&status), Some(838_860));
        for silent in [doc! { "ok": 1 }, doc! { "connections": { "current": 12, "available": 0 } }] {
            assert_eq!(connections_allowed(&silent), None);
        }
    }
}
