//! What a call shows of its caller.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::ServiceTokens;
use crate::service_tokens::is_plausible;
use crate::token::AccessToken;

/// The `authorization` header of a call, read once. Whether the method accepts it is decided by
/// [`AuthLayer::admit`](crate::AuthLayer::admit).
#[derive(Debug, Clone)]
pub enum Credentials {
    /// There is no such header.
    Missing,
    /// A token that has the form of a session's; nobody has verified it yet.
    Session(AccessToken),
    /// The token of a service of ours, which has this name.
    Service(Arc<str>),
    /// A token that could be a service's and is not.
    UnknownService,
    /// Something that cannot be the token of anybody.
    Malformed,
    /// There is more than one such header.
    Ambiguous,
}

impl Credentials {
    /// Reads them. Only what can be a service's token is hashed to look for its holder.
    pub(crate) fn of(headers: &HeaderMap, services: &ServiceTokens) -> Self {
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
