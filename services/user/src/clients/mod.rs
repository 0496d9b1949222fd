//! Other services, as this one sees them.

pub(crate) mod order;
