//! What every Tristore crate speaks of: ids, money, time, roles, calls and how they fail, where calls come from, how to
//! wait between attempts. A leaf: no I/O, no tonic, no database.

mod backoff;
mod call;
mod clock;
mod currencies;
mod currency;
mod database_url;
mod failure;
mod failure_table;
mod fingerprint;
mod ids;
mod money;
mod role;
pub mod search;
mod source;
pub mod text;

pub use backoff::Backoff;
pub use call::{Answer, Call, Keep, RequestKey};
pub use clock::{Clock, IdSource, ManualClock, SeededIds, SystemClock, SystemIds};
pub use currencies::{AMENDMENT as CURRENCIES_AMENDMENT, AS_OF as CURRENCIES_AS_OF};
pub use currency::{Currency, Decimal, Standing, UnknownCurrency};
pub use database_url::DatabaseUrl;
pub use failure::{Cause, Effect, Failure, RETRY_AFTER, Violation, chain};
pub use failure_table::{Connection, FailureKind, FailureRow, FailureTable, Verdict, row};
pub use fingerprint::Fingerprint;
pub use ids::{
    EventId, FollowId, InvalidId, LikeId, OrderId, PostId, PostingId, ProductId, SessionId, TransferId,
    UserId,
};
pub use money::{AMOUNT_MAX, BALANCE_MAX, Money, MoneyError};
pub use role::Role;
pub use source::Source;

/// The target of spans that are of use in traces and would only make logs longer, such as those of statements and calls to
/// peers. Where no traces are exported they cost nothing.
pub const TRACES_ONLY: &str = "traces";

/// The target of the span of a background worker. It lives as long as its process, so it is in no trace.
pub const WORKER: &str = "worker";

/// The span that `make` makes, of [`TRACES_ONLY`], where it has a trace to be in; none where it would be a trace of its own,
/// such as for each heartbeat of a worker, and where no traces are exported.
pub fn in_trace(make: impl FnOnce() -> tracing::Span) -> tracing::Span {
    let is_in_one = tracing::span_enabled!(target: TRACES_ONLY, tracing::Level::INFO)
        && tracing::Span::current().metadata().is_some_and(|around| around.target() != WORKER);
    if is_in_one { make() } else { tracing::Span::none() }
}
