//! Commands to a Redis server, for starting it and for the databases of tests.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::{Client, ConnectionLike as _, IntoConnectionInfo as _, Value};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Access to a Redis server that allows us to empty its databases.
#[derive(Debug, Clone)]
pub struct RedisAdmin {
    /// The URL without the number of a database.
    server: String,
}

impl RedisAdmin {
    /// From `redis://[:password@]host:port[/number]`.
    ///
    /// # Errors
    /// When the URL has another form.
    pub fn new(url: &str) -> Result<Self> {
        url.into_connection_info().context("a Redis URL looks like redis://:password@host:port")?;
        let (scheme, rest) = url.split_once("://").context("a Redis URL has a scheme")?;
        let place = rest.split('/').next().unwrap_or(rest);
        Ok(Self { server: format!("{scheme}://{place}") })
    }

    /// The URL of one of its numbered databases, password included.
    #[must_use]
    pub fn url(&self, database: u32) -> String {
        format!("{}/{database}", self.server)
    }

    /// Runs a command and returns the answer as text, each item of a list on a line of its own.
    ///
    /// # Errors
    /// What the server says.
    pub async fn run(&self, database: u32, command: &[&str]) -> Result<String> {
        let (admin, command) =
            (self.clone(), command.iter().map(|&part| part.to_owned()).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || {
            let parts: Vec<&str> = command.iter().map(String::as_str).collect();
            admin.run_now(database, &parts)
        })
        .await?
    }

    /// [`RedisAdmin::run`] for code that is not async, such as `Drop`.
    pub(crate) fn run_now(&self, database: u32, command: &[&str]) -> Result<String> {
        let client = Client::open(self.url(database))?;
        let mut connection = client.get_connection_with_timeout(TIMEOUT).context("connecting to Redis")?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        let (name, arguments) = command.split_first().context("a command has a name")?;
        let answer = connection
            .req_command(redis::cmd(name).arg(arguments))
            .with_context(|| format!("Redis {name}"))?;
        text(answer)
    }
}

fn text(answer: Value) -> Result<String> {
    match answer {
        Value::Nil => Ok(String::new()),
        Value::Array(items) => Ok(items.into_iter().map(text).collect::<Result<Vec<_>>>()?.join("\n")),
        one => redis::from_redis_value(one).context("an answer of Redis"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_put_together() {
        let admin = RedisAdmin::new("redis://:word@127.0.0.1:6379/3").unwrap();
        assert_eq!(admin.url(7), "redis://:word@127.0.0.1:6379/7");
        assert_eq!(RedisAdmin::new("redis://127.0.0.1:6379").unwrap().url(0), "redis://127.0.0.1:6379/0");
        assert!(RedisAdmin::new("127.0.0.1:6379").is_err());
    }
}
