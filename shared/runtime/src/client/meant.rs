//! Who a peer should be.

use http::Uri;

/// Packages of services that every program serves, which say nothing of who it is.
const OF_EVERY_PROGRAM: [&str; 2] = ["event", "doctor"];

/// The package of a service, by the full name of the service.
pub(super) fn package(service: &str) -> &str {
    service.split('.').next().unwrap_or_default()
}

/// Whether every program serves this service.
pub(super) fn is_of_every_program(service: &str) -> bool {
    OF_EVERY_PROGRAM.contains(&package(service))
}

/// Who a peer should be, and who says so.
#[derive(Debug)]
pub(crate) struct Meant {
    /// The flag of its address.
    pub(crate) setting: &'static str,
    /// The full name of a service that it serves.
    pub(crate) service: &'static str,
    pub(crate) url: String,
    pub(super) uri: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether it is called over TLS.
    pub(super) is_secure: bool,
}

impl Meant {
    /// The name by which lists of tokens and certificates know the peer: `user-service`, which serves what is in the
    /// package `user`.
    pub(crate) fn name(&self) -> String {
        format!("{}-service", package(self.service))
    }
}
