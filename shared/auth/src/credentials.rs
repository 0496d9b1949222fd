//! What a call shows of its caller.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::service_tokens::is_plausible;
use crate::token::AccessToken;
use crate::{CertificateIdentity, ServiceTokens};

/// The `authorization` header of a call, read once, together with the certificate of its connection. Whether the method
/// accepts them is decided by [`AuthLayer::admit`](crate::AuthLayer::admit).
#[derive(Debug, Clone)]
pub enum Credentials {
    /// There is neither such a header nor a certificate.
    Missing,
    /// A token that has the form of a session's; nobody has verified it yet.
    Session(AccessToken),
    /// The certificate or the token of a service of ours, which has this name.
    Service(Arc<str>),
    /// A token that could be a service's and is not.
    UnknownService,
    /// A certificate that is genuine and belongs to nobody who is listed. What the header says does not matter.
    UnlistedCertificate,
    /// Something that cannot be the token of anybody.
    Malformed,
    /// There is more than one such header.
    Ambiguous,
}

impl Credentials {
    /// Reads them. A certificate says which service calls, whatever service's token the header shows. With the token of
    /// a session, it is the person who calls: the service only carries the call.
    pub(crate) fn of(
        headers: &HeaderMap,
        services: &ServiceTokens,
        certificate: &CertificateIdentity,
    ) -> Self {
        match (certificate, Self::of_header(headers, services)) {
            (CertificateIdentity::Unlisted, _) => Self::UnlistedCertificate,
            (CertificateIdentity::Service(name), Self::Missing | Self::Service(_) | Self::UnknownService) => {
                Self::Service(Arc::clone(name))
            }
            (CertificateIdentity::Absent | CertificateIdentity::Service(_), shown) => shown,
        }
    }

    /// Reads the header. Only what can be a service's token is hashed to look for its holder.
    fn of_header(headers: &HeaderMap, services: &ServiceTokens) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Self::Missing;
        };
        if values.next().is_some() {
            return Self::Ambiguous;
        }
        let Some(token) = value.to_str().ok().and_then(bearer) else {
            return Self::Malformed;
        };
        if let Some(token) = AccessToken::parse(token) {
            Self::Session(token)
        } else if is_plausible(token) {
            services.holder(token).map_or(Self::UnknownService, Self::Service)
        } else {
            Self::Malformed
        }
    }

    /// Whether they are those of a service of ours; what it may do is another question.
    #[must_use]
    pub fn is_service(&self) -> bool {
        matches!(self, Self::Service(_))
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let is_bearer =
        scheme.eq_ignore_ascii_case("bearer") && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_bearer.then_some(token)
}
