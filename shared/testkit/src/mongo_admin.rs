//! Commands to a MongoDB server, for starting it and for the databases of tests.

use std::future::Future;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bson::{Document, doc};
use mongodb::Client;
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::ClientOptions;

use crate::mongo_roles::MongoRole;

const TIMEOUT: Duration = Duration::from_secs(10);
const SELECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// The database with all users. Without this option a user is looked for in the database of the URL.
const AUTH_SOURCE: &str = "authSource=admin";
/// The options of a URL that say how its user logs in.
const OF_THE_USER: [&str; 3] = ["authSource=", "authMechanism=", "authMechanismProperties="];

/// Access to a MongoDB server that allows us to drop databases, and to make users and roles.
#[derive(Debug, Clone)]
pub struct MongoAdmin {
    /// The URL up to the name of a database.
    server: String,
    /// The rest of it, with the question mark.
    options: String,
}

impl MongoAdmin {
    /// From `mongodb://[user:password@]host:port/[database][?options]`.
    ///
    /// # Errors
    /// When the URL has another form.
    pub fn new(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("mongodb://").context("a MongoDB URL looks like mongodb://host:port/")?;
        let (place, options) = match rest.split_once('?') {
            Some((place, options)) => (place, format!("?{options}")),
            None => (rest, String::new()),
        };
        let place = place.split('/').next().unwrap_or(place);
        let admin = Self { server: format!("mongodb://{place}"), options };
        let is_told = !place.contains('@') || OF_THE_USER.iter().any(|option| admin.options.contains(option));
        Ok(if is_told { admin } else { Self { options: admin.with(AUTH_SOURCE), ..admin } })
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.server, self.options)
    }

    /// The URL of one of its databases for another user, who is one of the database `admin`. Neither the name nor the
    /// password has a character that means something in a URL.
    pub(crate) fn url_of(&self, user: &str, password: &str, database: &str) -> String {
        let place = self.server.trim_start_matches("mongodb://");
        let hosts = place.rsplit_once('@').map_or(place, |(_, hosts)| hosts);
        format!("mongodb://{user}:{password}@{hosts}/{database}{}", self.with(AUTH_SOURCE))
    }

    /// The URL's options, with one more instead of those that say how its user logs in.
    fn with(&self, option: &str) -> String {
        let is_kept =
            |option: &&str| !option.is_empty() && !OF_THE_USER.iter().any(|name| option.starts_with(name));
        let kept = self.options.trim_start_matches('?').split('&').filter(is_kept);
        format!("?{}", kept.chain([option]).collect::<Vec<_>>().join("&"))
    }

    /// Runs a command.
    ///
    /// # Errors
    /// What the server says.
    pub async fn run(&self, database: &str, command: Document) -> Result<Document> {
        let client = self.client().await?;
        let name = command.keys().next().cloned().unwrap_or_default();
        let answer = tokio::time::timeout(TIMEOUT, client.database(database).run_command(command)).await;
        answer
            .with_context(|| format!("MongoDB {name}: no answer"))?
            .with_context(|| format!("MongoDB {name}"))
    }

    /// Drops a database with its users and roles, for code that is not async, such as `Drop`.
    pub(crate) fn drop_database_now(&self, database: &str) -> Result<()> {
        let (admin, database) = (self.clone(), database.to_owned());
        let drop = async move {
            let client = admin.client().await?;
            // Before the database, which may be long about it: it waits for open transactions.
            for role in MongoRole::ALL {
                drop_user(&client, &role.name(&database)).await?;
            }
            client.database(&database).drop().await.with_context(|| format!("dropping {database}"))
        };
        // The caller may be on a tokio runtime, where blocking on another one is not allowed.
        let dropped = thread::spawn(move || block_on(async { tokio::time::timeout(TIMEOUT, drop).await? }));
        dropped.join().map_err(|_| anyhow!("dropping a database panicked"))?
    }

    /// Drops every database whose name starts with `prefix`, and every user and role of such a database. Returns how many
    /// databases there were.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sweep(&self, prefix: &str) -> Result<usize> {
        let client = self.client().await?;
        let mut names = client.list_database_names().await.context("listing databases")?;
        names.retain(|name| name.starts_with(prefix));
        for name in &names {
            client.database(name).drop().await.with_context(|| format!("dropping {name}"))?;
        }
        for user in Self::names_of_users(&client, prefix).await? {
            drop_user(&client, &user).await?;
        }
        Ok(names.len())
    }

    /// The names of users and of roles of ours that start so.
    async fn names_of_users(client: &Client, prefix: &str) -> Result<Vec<String>> {
        let admin = client.database("admin");
        let is_ours = |name: &&str| {
            name.starts_with(prefix) && MongoRole::ALL.iter().any(|role| name.ends_with(&role.name("")))
        };
        let mut names = Vec::new();
        for (command, list, field) in [("usersInfo", "users", "user"), ("rolesInfo", "roles", "role")] {
            let answer = admin.run_command(doc! { command: 1 }).await.context(command)?;
            for found in answer.get_array(list).context(command)? {
                let name = found.as_document().and_then(|found| found.get_str(field).ok());
                names.extend(name.filter(is_ours).map(str::to_owned));
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        let mut options = ClientOptions::parse(self.url("admin")).await.context("a MongoDB URL")?;
        options.server_selection_timeout = Some(SELECTION_TIMEOUT);
        options.connect_timeout = Some(SELECTION_TIMEOUT);
        Ok(Client::with_options(options)?)
    }
}

/// Drops a user and the role of the same name, which may be gone already.
async fn drop_user(client: &Client, name: &str) -> Result<()> {
    let admin = client.database("admin");
    for (command, not_found) in [("dropUser", 11), ("dropRole", 31)] {
        match admin.run_command(doc! { command: name }).await {
            Err(error) if code(&error) != Some(not_found) => {
                return Err(error).with_context(|| format!("{command} {name}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The server's code of an error.
pub(crate) fn code(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// The server's code of a command that was refused.
pub(crate) fn code_of(error: &anyhow::Error) -> Option<i32> {
    error.downcast_ref().and_then(code)
}

/// Whether the server does not take the user or the password.
pub(crate) fn is_refused_login(error: &anyhow::Error) -> bool {
    let driver = error.downcast_ref::<DriverError>();
    driver.is_some_and(|error| matches!(*error.kind, ErrorKind::Authentication { .. }))
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_put_together() {
        let admin = MongoAdmin::new("mongodb://127.0.0.1:27017/?directConnection=true").unwrap();
        assert_eq!(admin.url("t_1"), "mongodb://127.0.0.1:27017/t_1?directConnection=true");
        let admin = MongoAdmin::new("mongodb://app:word@10.0.0.1:27017,10.0.0.2:27017/users").unwrap();
        let servers = "10.0.0.1:27017,10.0.0.2:27017";
        assert_eq!(admin.url("t_1"), format!("mongodb://app:word@{servers}/t_1?authSource=admin"));
        assert_eq!(
            admin.url_of("ann", "tea", "t_1"),
            format!("mongodb://ann:tea@{servers}/t_1?authSource=admin")
        );
        assert!(MongoAdmin::new("127.0.0.1").is_err());
    }

    #[test]
    fn another_user_keeps_the_options_of_the_server_and_not_those_of_the_first() {
        let options = "?authSource=%24external&tls=true&authMechanism=MONGODB-X509&replicaSet=rs";
        let admin = MongoAdmin::new(&format!("mongodb://app:word@h:1/{options}")).unwrap();
        assert_eq!(admin.url("t_1"), format!("mongodb://app:word@h:1/t_1{options}"));
        assert_eq!(
            admin.url_of("ann", "tea", "t_1"),
            "mongodb://ann:tea@h:1/t_1?tls=true&replicaSet=rs&authSource=admin"
        );
    }
}
