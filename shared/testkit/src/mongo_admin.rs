//! Commands to a MongoDB server, for starting it and for the databases of tests.

use std::future::Future;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::ClientOptions;

const TIMEOUT: Duration = Duration::from_secs(10);
const SELECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Access to a MongoDB server that allows us to drop databases.
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
        Ok(Self { server: format!("mongodb://{place}"), options })
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.server, self.options)
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

    /// Drops a database, for code that is not async, such as `Drop`.
    pub(crate) fn drop_database_now(&self, database: &str) -> Result<()> {
        let (admin, database) = (self.clone(), database.to_owned());
        // The caller may be on a tokio runtime, where blocking on another one is not allowed.
        let dropped = thread::spawn(move || block_on(admin.run(&database, doc! { "dropDatabase": 1 })));
        dropped.join().map_err(|_| anyhow!("dropping a database panicked"))??;
        Ok(())
    }

    /// Drops every database whose name starts with `prefix`, and returns how many there were.
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
        Ok(names.len())
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        let mut options = ClientOptions::parse(self.url("admin")).await.context("a MongoDB URL")?;
        options.server_selection_timeout = Some(SELECTION_TIMEOUT);
        options.connect_timeout = Some(SELECTION_TIMEOUT);
        Ok(Client::with_options(options)?)
    }
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
        assert_eq!(admin.url("t_1"), "mongodb://app:word@10.0.0.1:27017,10.0.0.2:27017/t_1");
        assert!(MongoAdmin::new("127.0.0.1").is_err());
    }
}
