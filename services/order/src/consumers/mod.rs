//! What this service does with events: those of other services, and of its own stream those that another replica made.

mod customers;
mod customers_snapshot;
mod moves;
mod transfers;

pub(crate) use customers::{CUSTOMERS, Customers};
pub(crate) use customers_snapshot::CustomersSnapshot;
pub(crate) use moves::Moves;
pub(crate) use transfers::{TRANSFERS, Transfers};
