//! What this service does with other services' events. What they do to transfers is in `transfers/`.

mod customers;
mod customers_snapshot;
mod sessions;

pub(crate) use customers::{CUSTOMERS, Customers};
pub(crate) use customers_snapshot::CustomersSnapshot;
pub(crate) use sessions::{Sessions, session_streams};
