//! Where the URL says that the database is, and whether the server that is there by its greeting is one to work with.

use bson::Document;
use mongodb::options::{ClientOptions, Credential};
use runtime::retry::Lasting;
use types::Cause;

/// What MongoDB 8.0 speaks: the first that takes writes to several collections in one command.
pub(crate) const WIRE_VERSION: i32 = 25;

/// What the URL says about where the database is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) options: ClientOptions,
}

impl Place {
    pub(super) fn of(options: &ClientOptions) -> Self {
        Self { options: options.clone() }
    }

    fn replica_set(&self) -> Option<&str> {
        self.options.repl_set_name.as_deref()
    }

    fn is_direct(&self) -> bool {
        self.options.direct_connection == Some(true)
    }

    /// Whether it says who logs in.
    pub(super) fn has_login(&self) -> bool {
        self.options.credential.is_some()
    }

    /// What to know about a login that was refused.
    pub(super) fn login_advice(&self) -> String {
        let Some(Credential { username, source, .. }) = &self.options.credential else {
            return "the URL names no user; write mongodb://user:password@host:port/database".to_owned();
        };
        let user = username.as_deref().unwrap_or_default();
        let place = source.as_deref().unwrap_or("admin");
        // The driver fills in the URL's database where there is no authSource.
        let why = if self.options.default_database.as_deref() == Some(place) {
            "since the URL has no other authSource"
        } else {
            "which is the URL's authSource"
        };
        format!(
            "user `{user}` is looked for in the database `{place}`, {why}; look at the password, and where the user was \
             made in `admin`, say ?authSource=admin"
        )
    }

    /// What is risky about the URL and lets the service start all the same.
    pub(super) fn risk(&self, hello: &Document) -> Option<String> {
        let name = hello.get_str("setName").unwrap_or_default();
        let members = hello.get_array("hosts").map_or(1, Vec::len);
        if self.is_direct() {
            let leads_to_one = "has directConnection=true: it leads to one member, and to no other after an election; name \
                                the members and";
            return (members > 1).then(|| format!("{leads_to_one} replicaSet={name}"));
        }
        let names_no_set = "names no replicaSet, so that any server at the address would do; add";
        self.replica_set().is_none().then(|| format!("{names_no_set} replicaSet={name}"))
    }

    /// Why the server with this greeting is none to work with; [`Lasting`] unless an election mends it.
    pub(super) fn refusal(&self, hello: &Document) -> Option<Cause> {
        if hello.get_str("msg").is_ok_and(|text| text == "isdbgrid") {
            let what = "it is a mongos, a router of a sharded cluster: give the address of one replica set";
            return Some(Lasting::new(what).into());
        }
        if hello.get_bool("isreplicaset").unwrap_or_default() {
            return Some("it waits to be made a replica set: run rs.initiate() there".into());
        }
        if let Err(reason) = require_usable(hello) {
            return Some(Lasting::new(reason).into());
        }
        let name = hello.get_str("setName").unwrap_or_default();
        if let Some(wanted) = self.replica_set().filter(|wanted| *wanted != name) {
            let what =
                format!("it belongs to the replica set `{name}`, and the URL says replicaSet={wanted}");
            return Some(Lasting::new(what).into());
        }
        if hello.get_bool("isWritablePrimary").unwrap_or_default() || !self.is_direct() {
            return None;
        }
        Some(match hello.get_str("primary") {
            Ok(primary) => {
                let what = format!(
                    "it is a read-only secondary, and {primary} is the primary: leave directConnection out and name the \
                     members, with replicaSet={name}"
                );
                Lasting::new(what).into()
            }
            Err(_) => "it is not the primary, and there is none yet".into(),
        })
    }
}

/// Refuses a server, by its greeting, on which no transaction of ours could be done.
fn require_usable(hello: &Document) -> Result<(), String> {
    let version = hello.get_i32("maxWireVersion").unwrap_or_default();
    if version < WIRE_VERSION {
        return Err(format!(
            "MongoDB must be version 8.0 or later: this one speaks wire version {version}, {WIRE_VERSION} is needed"
        ));
    }
    if hello.get_str("setName").is_err() {
        return Err("MongoDB must be a replica set, if only of one member: transactions need it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn refusal(hello: &Document) -> Option<String> {
        require_usable(hello).err()
    }

    #[test]
    fn a_server_that_is_too_old_or_alone_is_refused_with_the_reason() {
        assert_eq!(refusal(&doc! { "maxWireVersion": 25, "setName": "rs" }), None);
        // MongoDB 7.0, and one that does not say.
        for old in [doc! { "maxWireVersion": 21, "setName": "rs" }, doc! { "setName": "rs" }] {
            let reason = refusal(&old).unwrap();
            assert!(reason.starts_with("MongoDB must be version 8.0 or later"), "{reason}");
        }
        let reason = refusal(&doc! { "maxWireVersion": 25 }).unwrap();
        assert!(reason.starts_with("MongoDB must be a replica set"), "{reason}");
    }
}
