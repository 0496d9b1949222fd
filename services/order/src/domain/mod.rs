//! The rules of products and orders: pure, without database, wire or clock.

mod order;

pub use order::OrderState;
