//! Whether the database that the URL leads to is one that this service can work with: found out at the start, with the
//! cause and what to change, rather than a minute later as "no answer".

use std::time::Duration;

use bson::{Document, doc};
use futures_util::future::join_all;
use mongodb::Client;
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{ClientOptions, Credential};
use runtime::retry::{Lasting, START_UP_WITHIN, start_up};
use types::Cause;

use super::driver::{bounded_raw, classify, code, is_login_refused, within};
use super::settings::require_usable;
use super::{Shared, Store};
use crate::config::MongoConfig;

/// How long a member is waited for that is asked by itself.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// More members than this are not asked by themselves.
const ASKED_MOST: usize = 7;
/// What a server says that does not know the command `hello`.
const COMMAND_NOT_FOUND: i32 = 59;

/// What the URL says about where the database is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    options: ClientOptions,
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
    fn risk(&self, hello: &Document) -> Option<String> {
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
    fn refusal(&self, hello: &Document) -> Option<Cause> {
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

impl Store {
    /// Connects, and waits until the database is one that the service can work with.
    ///
    /// # Errors
    /// When it does not come up within [`START_UP_WITHIN`]; at once when waiting would not help: the login is refused, or
    /// the server is none that this service can work with.
    pub async fn open(config: &MongoConfig, shared: Shared) -> anyhow::Result<Self> {
        let store = start_up("MongoDB", START_UP_WITHIN, async || {
            Self::connect(config, shared.clone()).await.map_err(|error| {
                // Only a name that is not known yet may be known in a moment.
                if error.is_transient() { Cause::from(error) } else { Lasting::new(error).into() }
            })
        })
        .await?;
        start_up("MongoDB", START_UP_WITHIN, || store.usable()).await?;
        Ok(store)
    }

    /// Whether the service can work with the database: [`Lasting`] when it never can as things are set up.
    async fn usable(&self) -> Result<(), Cause> {
        let admin = self.client.database("admin");
        // The ping logs in, at the primary.
        if let Err(error) = bounded_raw(self.database.run_command(doc! { "ping": 1 })).await {
            if is_login_refused(&error) {
                let reason = format!("it refuses the login: {error}; {}", self.place.login_advice());
                return Err(Lasting::new(reason).into());
            }
            if let Some(reason) = self.refusal_of_a_member().await {
                return Err(reason);
            }
            return Err(match *error.kind {
                ErrorKind::IncompatibleServer { .. } | ErrorKind::SessionsNotSupported => {
                    Lasting::new(classify(error)).into()
                }
                _ => classify(error).into(),
            });
        }
        let hello = bounded_raw(admin.run_command(doc! { "hello": 1 }))
            .await
            .map_err(|error| too_old(&error).unwrap_or_else(|| classify(error).into()))?;
        if let Some(reason) = self.place.refusal(&hello) {
            return Err(reason);
        }
        if let Some(risk) = self.place.risk(&hello) {
            tracing::warn!("--mongodb-url {risk}");
        }
        Ok(())
    }

    /// What keeps the driver from finding a primary, if a member tells when it is asked by itself, which takes no login.
    async fn refusal_of_a_member(&self) -> Option<Cause> {
        let members = self.place.options.hosts.iter().take(ASKED_MOST);
        let asked = members.map(|member| async move {
            let mut options = self.place.options.clone();
            options.hosts = vec![member.clone()];
            (options.direct_connection, options.repl_set_name) = (Some(true), None);
            (options.credential, options.srv_service_name) = (None, None);
            options.cmap_event_handler = None;
            let client = Client::with_options(options).ok()?;
            let admin = client.database("admin");
            match within(ASK_WITHIN, admin.run_command(doc! { "hello": 1 })).await {
                Ok(hello) => Some(self.place.refusal(&hello)),
                Err(error) => too_old(&error).map(Some),
            }
        });
        // Of those that answer; where one is well, the others may be on their way.
        let answers: Option<Vec<Cause>> = join_all(asked).await.into_iter().flatten().collect();
        answers?.into_iter().next()
    }
}

/// A server that does not know how to greet.
fn too_old(error: &DriverError) -> Option<Cause> {
    let what = "MongoDB must be version 8.0 or later: this one does not know the command `hello`";
    (code(error) == Some(COMMAND_NOT_FOUND)).then(|| Lasting::new(what).into())
}
