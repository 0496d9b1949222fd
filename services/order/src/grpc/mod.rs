//! The wire: what comes in is checked and turned into our types, what goes out into protobuf.

mod call;
mod catalog_service;
mod convert;
mod order_service;
mod status;

pub use status::DOMAIN;
