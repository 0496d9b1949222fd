//! Whether the database that the URL leads to is one that this service can work with: found out at the start, with the
//! cause and what to change, rather than a minute later as "no answer".

use std::time::Duration;

use bson::{Document, doc};
use futures_util::future::join_all;
use mongodb::Client;
use mongodb::error::{Error as DriverError, ErrorKind};
use runtime::retry::{Lasting, START_UP_WITHIN, start_up};
use types::Cause;

use super::driver::{bounded_raw, classify, code, is_login_refused, within};
use super::{Shared, Store};
use crate::config::MongoConfig;

/// How long a member is waited for that is asked by itself.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// More members than this are not asked by themselves.
const ASKED_MOST: usize = 7;
/// What a server says that does not know the command `hello`.
const COMMAND_NOT_FOUND: i32 = 59;

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
        let admin = self.client().database("admin");
        // The ping logs in, at the primary.
        if let Err(error) = bounded_raw(self.database().run_command(doc! { "ping": 1 })).await {
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
        if let Some(risk) = self.url_risk(&hello) {
            tracing::warn!("--mongodb-url {risk}");
        }
        Ok(())
    }

    /// What is risky about the URL, by the greeting of the server that it leads to.
    pub(crate) fn url_risk(&self, hello: &Document) -> Option<String> {
        self.place.risk(hello)
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
