//! What the certificate of a connection says of whoever calls over it.

use std::sync::Arc;

/// Whose certificate the client of a connection has shown. The server has verified it before any call is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CertificateIdentity {
    /// The client has shown none, or the connection is not encrypted.
    #[default]
    Absent,
    /// It is genuine, and its id is nobody's who is listed.
    Unlisted,
    /// It is that of the service of this name, such as `order-service`.
    Service(Arc<str>),
}
