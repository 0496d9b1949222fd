//! Who a peer should be.

use http::Uri;

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
        let package = self.service.split('.').next().unwrap_or_default();
        format!("{package}-service")
    }
}
