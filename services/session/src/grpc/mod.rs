//! The door: protobuf in, protobuf out. Decode, call `app/`, encode.

mod convert;
mod session_service;
mod status;

pub(crate) use session_service::SessionServer;

/// The domain of this service's errors.
pub(crate) const DOMAIN: &str = "session.tristore";
