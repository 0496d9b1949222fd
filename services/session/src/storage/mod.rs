//! Redis: nothing else in this service speaks to it.
//!
//! A change of a session and its event are one Lua script (`scripts/`): that is what a transaction is on Redis. Only
//! the run of a durable consumer has a [`Tx`]. Whether something has expired is decided by the clock of the Redis
//! server, which all replicas share.
//!
//! - `sessions/`, `logins.rs`: the statements of the nouns; `requests.rs`: the answers to repeatable calls
//! - `backbone/`: the event streams, who publishes them, and the consumer's mark and parked events
//! - `scripts.rs`, `keys.rs`, `schema.rs`: the scripts, the names of the keys, whether Redis may keep sessions
//! - `examine.rs`: what `doctor` asks of Redis besides
//! - `store.rs`, `connection.rs`, `driver.rs`: the store, its connection, the driver's errors and values

mod backbone;
mod connection;
mod driver;
mod examine;
mod keys;
mod logins;
mod requests;
mod schema;
mod scripts;
mod sessions;
mod store;
mod tx;

pub(crate) use backbone::Appended;
pub use driver::FAILURES;
pub(crate) use examine::{Address, Right};
pub(crate) use schema::{LAYOUT, MAJOR_MIN, Setting};
pub(crate) use sessions::{CreateReply, RefreshReply, Tokens};
pub use store::Store;
pub(crate) use store::StoreOptions;
pub use tx::Tx;
