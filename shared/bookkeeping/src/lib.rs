//! A book of accounts, as user service keeps one of wallets and order service one of merchants' accounts: double entry,
//! the chain of hashes over an account's entries, and how an audit follows such chains one step at a time.
//!
//! It knows neither a database nor the wire. A service brings its entries ([`Entry`]), says what else must agree with
//! them ([`Auditable`]), how they are read and where progress is kept ([`Book`]). What an entry's hash covers, how anything is
//! stored, and the comparison with the other service's book stay in the service.

mod audit;
mod chain;
mod finding;
mod following;
mod sums;

pub use audit::{Auditable, Book, Chains, Followed, Run};
pub use chain::{Chain, Entry, GENESIS, Hash};
pub use finding::{Finding, Key};
pub use following::Advance;
pub use sums::{SumTooLarge, Sums, imbalance};
