//! Which certificate belongs to which service.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use auth::CertificateIdentity;
use serde::{Serialize, Serializer};

/// Longer ids are not valid.
const LENGTH_MAX: usize = 2048;
const SCHEME: &str = "spiffe://";

/// The id that a certificate gives its holder: a URI such as `spiffe://trust.example/ns/shop/sa/user-service`, by the
/// rules of SPIFFE.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId(Arc<str>);

impl SpiffeId {
    /// The id as it stands in a certificate.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpiffeId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix(SCHEME).ok_or("does not begin with spiffe://")?;
        if text.len() > LENGTH_MAX {
            return Err("is longer than 2048 characters");
        }
        let (domain, path) = rest.split_once('/').ok_or("has no path")?;
        let is_lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if domain.is_empty() || !domain.bytes().all(|byte| is_lower(byte) || b".-_".contains(&byte)) {
            return Err(
                "has a trust domain that is not of lower-case letters, digits, dots, dashes and underscores",
            );
        }
        let is_segment = |segment: &str| {
            !["", ".", ".."].contains(&segment)
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if !path.split('/').all(is_segment) {
            return Err("has a path whose parts are not of letters, digits, dots, dashes and underscores");
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ids of the certificates of all services, by the services' names. Cheap to clone. A service may have several, so
/// that one can be replaced by another without a pause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerIds(Arc<HashMap<SpiffeId, Arc<str>>>);

impl PeerIds {
    /// Reads `user-service=spiffe://trust.example/user,order-service=spiffe://trust.example/order`.
    ///
    /// # Errors
    /// When an entry has another form, or an id belongs to two services.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut services: HashMap<SpiffeId, Arc<str>> = HashMap::new();
        let entries = list.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
        for (index, entry) in entries {
            let number = index + 1;
            let (name, id) =
                entry.split_once('=').ok_or_else(|| format!("entry {number} is not name=spiffe://..."))?;
            let (name, id) = (name.trim(), id.trim());
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(format!("entry {number} has no name of letters, digits and dashes"));
            }
            let id: SpiffeId = id.parse().map_err(|what| format!("the id of {name} {what}"))?;
            if let Some(other) = services.get(&id).filter(|other| &***other != name) {
                return Err(format!("{other} and {name} have the same id"));
            }
            services.insert(id, name.into());
        }
        if services.is_empty() {
            return Err("names no id".to_owned());
        }
        Ok(Self(Arc::new(services)))
    }

    /// Whether one of the ids is that of this service.
    pub(crate) fn has(&self, service: &str) -> bool {
        self.0.values().any(|name| &**name == service)
    }

    /// Whether this id is one of this service's.
    pub(super) fn is_of(&self, id: &SpiffeId, service: &str) -> bool {
        self.0.get(id).is_some_and(|name| &**name == service)
    }

    /// Whose certificate has this id; one without an id is nobody's.
    pub(super) fn identity(&self, id: Option<&SpiffeId>) -> CertificateIdentity {
        match id.and_then(|id| self.0.get(id)) {
            Some(name) => CertificateIdentity::Service(Arc::clone(name)),
            None => CertificateIdentity::Unlisted,
        }
    }
}

impl Serialize for PeerIds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<_> = self.0.iter().map(|(id, name)| format!("{name}={id}")).collect();
        entries.sort_unstable();
        serializer.serialize_str(&entries.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "spiffe://trust.example/ns/shop/sa/user-service";
    const ORDER: &str = "spiffe://trust.example/ns/shop/sa/order-service";

    #[test]
    fn an_id_names_its_service_and_a_service_may_have_two() {
        let ids =
            PeerIds::parse(&format!("user-service={USER}, user-service={USER}/new,order-service={ORDER},"))
                .unwrap();
        let [user, order] = [USER, ORDER].map(|id| id.parse::<SpiffeId>().unwrap());
        assert_eq!(ids.identity(Some(&user)), CertificateIdentity::Service("user-service".into()));
        assert!(ids.is_of(&format!("{USER}/new").parse().unwrap(), "user-service"));
        assert!(!ids.is_of(&order, "user-service"));
        assert_eq!(
            ids.identity(Some(&"spiffe://other.example/x".parse().unwrap())),
            CertificateIdentity::Unlisted
        );
        assert_eq!(ids.identity(None), CertificateIdentity::Unlisted);
        assert!(ids.has("order-service") && !ids.has("session-service"));
    }

    #[test]
    fn what_is_no_list_of_ids_is_refused() {
        for (list, rule) in [
            ("", "names no id"),
            (" , ", "names no id"),
            (USER, "entry 1 is not name="),
            (&format!("user-service={USER},={ORDER}"), "entry 2 has no name"),
            (&format!("user service={USER}"), "entry 1 has no name"),
            (
                &format!("user-service={USER},order-service={USER}"),
                "user-service and order-service have the same id",
            ),
            ("user-service=https://trust.example/x", "the id of user-service does not begin with spiffe://"),
            ("user-service=spiffe://trust.example", "has no path"),
            ("user-service=spiffe:///x", "trust domain"),
            ("user-service=spiffe://Trust.example/x", "trust domain"),
            ("user-service=spiffe://trust.example:443/x", "trust domain"),
            ("user-service=spiffe://trust.example/", "has a path whose parts"),
            ("user-service=spiffe://trust.example/a//b", "has a path whose parts"),
            ("user-service=spiffe://trust.example/a/../b", "has a path whose parts"),
            ("user-service=spiffe://trust.example/a%20b", "has a path whose parts"),
            ("user-service=spiffe://trust.example/a?b", "has a path whose parts"),
        ] {
            let error = PeerIds::parse(list).unwrap_err();
            assert!(error.contains(rule), "{list}: {error}");
        }
    }
}
