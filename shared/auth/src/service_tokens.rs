//! The tokens with which services prove who they are, where there are no client certificates.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const LENGTH_MIN: usize = 32;
/// A token with fewer different characters than this is no secret.
const VARIETY_MIN: usize = 10;
const PLACEHOLDERS: [&str; 6] = ["changeme", "change-me", "change_me", "placeholder", "example", "replace"];

/// The tokens that a service accepts, with the names of their holders. A name may have two tokens, so that one can be
/// replaced by the other without a pause. Only hashes are kept.
#[derive(Clone, Default)]
pub struct ServiceTokens(Arc<[([u8; 32], Arc<str>)]>);

/// Why a list of service tokens cannot be used. The text names the holder and never the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceTokensError {
    /// An entry is not `name=token`. Entries are separated by commas.
    #[error("entry {0} of the service tokens is not name=token")]
    Malformed(usize),
    /// The token is too short to be a secret.
    #[error("the service token of {0} is shorter than {LENGTH_MIN} characters")]
    Short(String),
    /// The token is a placeholder, or has too few different characters.
    #[error("the service token of {0} is a placeholder; make one with `openssl rand -hex 32`")]
    Placeholder(String),
    /// The token looks like that of a session, or cannot be sent in a header.
    #[error("the service token of {0} has characters that cannot be sent, or starts like a session's (ts_)")]
    Unusable(String),
    /// Two names have the same token.
    #[error("{0} and {1} have the same service token")]
    Shared(String, String),
}

impl ServiceTokens {
    /// Reads `user-service=<token>,order-service=<token>`; an empty list admits no service.
    ///
    /// # Errors
    /// When an entry is malformed, or its token is not fit to be a secret.
    pub fn parse(list: &SecretString) -> Result<Self, ServiceTokensError> {
        let mut holders: HashMap<[u8; 32], Arc<str>> = HashMap::new();
        let list = list.expose_secret();
        let entries = list.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
        for (index, entry) in entries {
            let (name, token) = entry.split_once('=').ok_or(ServiceTokensError::Malformed(index + 1))?;
            let (name, token) = (name.trim(), token.trim());
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(ServiceTokensError::Malformed(index + 1));
            }
            check(name, token)?;
            if let Some(other) = holders.insert(hash(token), name.into()).filter(|other| &**other != name) {
                return Err(ServiceTokensError::Shared(other.as_ref().to_owned(), name.to_owned()));
            }
        }
        Ok(Self(holders.into_iter().collect()))
    }

    /// The holder of a token. This takes as long for a wrong token as for a right one.
    #[must_use]
    pub fn holder(&self, token: &str) -> Option<Arc<str>> {
        let shown = hash(token);
        let mut holder = None;
        for (hash, name) in self.0.iter() {
            if bool::from(hash.ct_eq(&shown)) {
                holder = Some(Arc::clone(name));
            }
        }
        holder
    }
}

impl std::fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(_, name)| name)).finish()
    }
}

/// Whether a bearer token can be that of a service, so that other texts need not be hashed.
pub(crate) fn is_plausible(token: &str) -> bool {
    (LENGTH_MIN..=512).contains(&token.len()) && !token.starts_with("ts_")
}

fn check(name: &str, token: &str) -> Result<(), ServiceTokensError> {
    if token.len() < LENGTH_MIN {
        return Err(ServiceTokensError::Short(name.to_owned()));
    }
    if !is_plausible(token) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ServiceTokensError::Unusable(name.to_owned()));
    }
    let lower = token.to_ascii_lowercase();
    let mut characters: Vec<u8> = lower.bytes().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < VARIETY_MIN || PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        return Err(ServiceTokensError::Placeholder(name.to_owned()));
    }
    Ok(())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0aa";
    const ORDER: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a0bb";

    fn parse(list: &str) -> Result<ServiceTokens, ServiceTokensError> {
        ServiceTokens::parse(&list.to_owned().into())
    }

    #[test]
    fn a_token_names_its_holder() {
        let tokens = parse(&format!("user-service={USER}, order-service={ORDER},")).unwrap();
        assert_eq!(tokens.holder(USER).as_deref(), Some("user-service"));
        assert_eq!(tokens.holder(ORDER).as_deref(), Some("order-service"));
        assert_eq!(tokens.holder(&ORDER[1..]), None);
        assert!(!format!("{tokens:?}").contains(USER));
    }

    #[test]
    fn one_name_may_have_two_tokens_but_one_token_not_two_names() {
        let tokens = parse(&format!("user-service={USER},user-service={ORDER}")).unwrap();
        assert_eq!(tokens.holder(USER), tokens.holder(ORDER));
        assert!(matches!(
            parse(&format!("user-service={USER},order-service={USER}")),
            Err(ServiceTokensError::Shared(..))
        ));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        let long = "a".repeat(40);
        for (list, expected) in [
            ("user-service", ServiceTokensError::Malformed(1)),
            (&format!("user-service={USER},=x"), ServiceTokensError::Malformed(2)),
            ("user-service=short", ServiceTokensError::Short("user-service".to_owned())),
            (&format!("user-service={long}"), ServiceTokensError::Placeholder("user-service".to_owned())),
            (
                "user-service=changeme-0123456789-abcdefghijkl",
                ServiceTokensError::Placeholder("user-service".to_owned()),
            ),
            (
                "user-service=ts_a_0123456789-abcdefghijklmnopq",
                ServiceTokensError::Unusable("user-service".to_owned()),
            ),
        ] {
            assert_eq!(parse(list).unwrap_err(), expected);
        }
        assert!(parse("").unwrap().holder(USER).is_none());
    }
}
