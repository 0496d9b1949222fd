//! PostgreSQL: the only place with driver crates.
//!
//! [`Store`] reads; [`Tx`] writes, and appends the events that tell of it ([`Tx::event_append`]), so that a
//! change and its event commit together. What [`Store`] itself writes is one statement each, a transaction of its own:
//! either its event is in it (`order_place`, `payment_begin`), or nobody else has to know of it (outcomes of requests,
//! claims of workers, the auditor's state). Each runtime core has a `Store` of its own, on the process' [`Pools`]; the
//! background workers have one whose sessions may not pause inside a transaction.
//!
//! - `store`, `tx`, `transaction`: reading, writing, and what is done again; `driver` sorts the driver's errors.
//! - `pool`, `session`, `connection`: the sessions of the process, how each is set, and one in use; `pooler` recognises
//!   what may be in between, `capacity` asks how many the server allows.
//! - `statement`: how a file says its statements; `statements`: all of them, for `doctor`.
//! - `requests`: the outcomes of changing calls. `schema`: the migrations.
//! - `backbone/`: outbox, sequencer, log, and consumers. `book/`: accounts, holds, entries, and what the auditor reads.
//! - Every other file has the statements of the noun that it is named after.

mod backbone;
mod book;
mod capacity;
mod connection;
mod customers;
mod driver;
mod holdings;
mod operations;
mod order_funds;
mod orders;
mod placements;
mod pool;
mod pooler;
mod products;
mod requests;
pub mod schema;
mod session;
mod signals;
mod statement;
mod statements;
mod statistics;
mod store;
mod transaction;
mod transfers;
mod tx;

pub(crate) use book::{Audited, TrialBalance, TrialBalanceLine, Turn};
pub use driver::FAILURES;
pub(crate) use driver::{is_tried_again, state_of};
pub(crate) use order_funds::PaymentView;
pub(crate) use placements::Placed;
pub use pool::Pools;
pub(crate) use requests::Saved;
pub use session::Use;
pub(crate) use session::{begin_with_settings, reach, session_settings};
pub use signals::Signals;
pub(crate) use statements::all as every_statement;
pub(crate) use statistics::SumsSnapshot;
pub use store::Store;
pub(crate) use transaction::Retries;
pub(crate) use transfers::{Ages, Claim, HistoryStep, Look, OperatorAct};
pub use tx::{Finished, Tx};

/// The stream of this service's events.
pub(crate) const STREAM: &str = "order";
