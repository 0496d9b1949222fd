//! Who logs in to a database, as its address says it.

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::deploy::kubernetes::cluster::Cluster;

/// An address of the form `scheme://user:password@rest`.
#[derive(Clone)]
pub(super) struct Login {
    scheme: String,
    pub(super) user: String,
    pub(super) password: String,
    rest: String,
}

impl Login {
    pub(super) fn of(url: &str) -> Result<Self> {
        // The address itself does not belong into an error.
        let parts = || {
            let (scheme, rest) = url.split_once("://")?;
            let (login, rest) = rest.split_once('@')?;
            let (user, password) = login.split_once(':')?;
            Some([scheme, user, password, rest].map(str::to_owned))
        };
        let [scheme, user, password, rest] =
            parts().context("an address of a database has a user and a password")?;
        Ok(Self { scheme, user, password, rest })
    }

    /// Another user with the rights of a role, at the same place.
    pub(super) fn successor(&self, role: &str) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self { user: format!("{role}_{}", &id[..8]), password: password(), ..self.clone() }
    }

    pub(super) fn url(&self) -> String {
        let Self { scheme, user, password, rest } = self;
        format!("{scheme}://{user}:{password}@{rest}")
    }
}

/// A new password, which needs no quoting anywhere.
pub(super) fn password() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A value of a Secret.
pub(super) async fn secret(cluster: &Cluster, name: &str, key: &str) -> Result<String> {
    let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
    cluster.tell(&["get", "secret", name, "--output", &template], "").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_another_user_at_the_same_place() {
        let url = "postgres://order_service:secret@postgresql:5432/order?sslmode=verify-full";
        let login = Login::of(url).unwrap();
        assert_eq!(login.url(), url);
        let next = login.successor("order_service");
        assert!(next.user.starts_with("order_service_") && next.password != "secret");
        assert_eq!(next.url().split_once('@').unwrap().1, url.split_once('@').unwrap().1);
    }

    #[test]
    fn an_address_without_a_password_is_refused_without_being_told() {
        let error = Login::of("postgres://somebody@postgresql").err().unwrap();
        assert!(!error.to_string().contains("somebody"), "{error}");
    }
}
