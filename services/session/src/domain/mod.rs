//! The rules of sessions and logins. Pure: no async, no I/O, no protobuf, no Redis.

mod email;
mod login;
mod partition;
mod session;
mod sources;

pub(crate) use email::{may_be_email, source_key, throttle_key};
pub(crate) use login::LoginLimits;
pub(crate) use partition::Partition;
pub(crate) use session::{Lifetimes, NewSession, Session, SessionRefused};
pub(crate) use sources::{SourceLimits, Sources};
