//! What callers do with sessions.

mod limits;
mod login;
mod refresh;
mod revoke;
mod sources;
mod throttle;
