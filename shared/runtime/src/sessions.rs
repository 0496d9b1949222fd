//! Sessions, for the services that do not keep them: they are verified through session service, remembered for seconds,
//! and forgotten when session service's events say that they ended.

mod guard;
mod verifier;

pub use guard::spawn_guard;
pub use verifier::RemoteVerifier;
