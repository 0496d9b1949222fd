//! The rules of products and orders: pure, without database, wire or clock.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod audit_funds;
pub(crate) mod audit_outcome;
mod customer;
#[cfg(test)]
pub(crate) mod fixtures;
mod holdings;
mod order;
pub(crate) mod order_funds;
mod outcome;
mod placement;
mod product;
mod stored_money;
mod sums;
pub(crate) mod transfer;

pub use account::AccountRefused;
pub use customer::CustomerRefused;
pub(crate) use customer::{Customer, CustomerState};
pub(crate) use holdings::Holdings;
pub(crate) use order::{Order, OrderItem, OrderNow};
pub use order::{OrderRefused, OrderState};
pub(crate) use outcome::OrderOutcome;
pub(crate) use placement::{ITEMS_MAX, Offer, Placement, QUANTITY_MAX, Shortage, Wanted};
pub use product::ProductRefused;
pub(crate) use product::{NAME_MAX, Product, STOCK_MAX};
pub(crate) use sums::Sums;
pub use transfer::{Reason, TransferRefused};
