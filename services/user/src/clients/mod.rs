//! Other services, as this one needs them.

pub mod order;
pub(crate) mod order_statistics;
