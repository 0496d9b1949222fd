//! What this service does with events: those of other services, and of its own stream what another replica did. What
//! the wallets' owner's answers do to transfers is in `transfers/`.

mod customers;
mod customers_snapshot;
mod moves;

pub(crate) use customers::{CUSTOMERS, Customers};
pub(crate) use customers_snapshot::CustomersSnapshot;
pub(crate) use moves::Moves;
