//! Calls to other services, answered in this crate's own words.

pub(crate) mod user;
