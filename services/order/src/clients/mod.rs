//! Calls to other services, in terms of this one.

mod user;

pub use user::Users;
