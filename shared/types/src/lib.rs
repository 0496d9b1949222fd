//! What every Tristore crate speaks of: ids, money, time, roles, request ids, where calls come from, how to wait
//! between attempts. A leaf: no I/O, no tonic, no database.

mod backoff;
mod clock;
mod ids;
mod money;
mod request;
mod role;
mod source;

pub use backoff::Backoff;
pub use clock::{Clock, IdSource, ManualClock, SeededIds, SystemClock, SystemIds};
pub use ids::{EventId, InvalidId, OrderId, PostId, PostingId, ProductId, SessionId, TransferId, UserId};
pub use money::{AMOUNT_MAX, BALANCE_MAX, Currency, Money, MoneyError};
pub use request::{Fingerprint, RequestKey};
pub use role::Role;
pub use source::Source;
