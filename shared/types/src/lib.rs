//! What every Tristore crate speaks of: ids, money, time, roles, calls and how they fail, where calls come from, how to
//! wait between attempts. A leaf: no I/O, no tonic, no database.

mod backoff;
mod call;
mod clock;
mod currencies;
mod currency;
mod failure;
mod failure_table;
mod fingerprint;
mod ids;
mod money;
mod role;
mod source;
pub mod text;

pub use backoff::Backoff;
pub use call::{Answer, Call, Keep, RequestKey};
pub use clock::{Clock, IdSource, ManualClock, SeededIds, SystemClock, SystemIds};
pub use currencies::{AMENDMENT as CURRENCIES_AMENDMENT, AS_OF as CURRENCIES_AS_OF};
pub use currency::{Currency, Decimal, Standing, UnknownCurrency};
pub use failure::{Cause, Effect, Failure, RETRY_AFTER, Violation, chain};
pub use failure_table::{Connection, FailureKind, FailureRow, FailureTable, Verdict, row};
pub use fingerprint::Fingerprint;
pub use ids::{EventId, InvalidId, OrderId, PostId, PostingId, ProductId, SessionId, TransferId, UserId};
pub use money::{AMOUNT_MAX, BALANCE_MAX, Money, MoneyError};
pub use role::Role;
pub use source::Source;

/// The target of spans that are of use in traces and would only make logs longer, such as those of statements and calls to
/// peers. Where no traces are exported they cost nothing.
pub const TRACES_ONLY: &str = "traces";
