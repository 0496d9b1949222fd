//! Administrative commands to a MongoDB server, on a socket of our own: the crate has no database driver.
//!
//! Works with servers that ask for no password, which the local ones are.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::documents;

const TIMEOUT: Duration = Duration::from_secs(10);
const OP_MSG: u32 = 2013;
const LONGEST_REPLY: usize = 48 * 1024 * 1024;

/// A MongoDB server that lets us drop databases.
#[derive(Debug, Clone)]
pub struct MongoAdmin {
    prefix: String,
    address: String,
    options: String,
}

impl MongoAdmin {
    /// From `mongodb://[user:password@]host:port/[database][?options]`.
    ///
    /// # Errors
    /// When the URL has another form.
    pub fn new(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("mongodb://")
            .context("a MongoDB URL looks like mongodb://host:port/")?;
        let (place, options) = rest
            .split_once('?')
            .map_or((rest, String::new()), |(place, o)| (place, format!("?{o}")));
        let place = place.split('/').next().unwrap_or(place);
        let (person, hosts) = place.rsplit_once('@').map_or(("", place), |(_, hosts)| {
            (&place[..=place.len() - hosts.len() - 1], hosts)
        });
        let address = hosts.split(',').next().unwrap_or(hosts).to_owned();
        Ok(Self {
            prefix: format!("mongodb://{person}{hosts}"),
            address,
            options,
        })
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.prefix, self.options)
    }

    /// Runs the command `name` on `subject`, such as `insert` on `"orders"`, with further fields from an object.
    ///
    /// # Errors
    /// What the server says.
    pub async fn run(&self, database: &str, name: &str, subject: Value, fields: Value) -> Result<Value> {
        let (admin, database, name) = (self.clone(), database.to_owned(), name.to_owned());
        tokio::task::spawn_blocking(move || admin.run_now(&database, &name, subject, fields)).await?
    }

    /// [`MongoAdmin::run`] for places that cannot wait, such as `Drop`.
    pub(crate) fn run_now(&self, database: &str, name: &str, subject: Value, fields: Value) -> Result<Value> {
        let Value::Object(fields) = fields else {
            bail!("the fields of {name} are an object")
        };
        // The server takes the first field for the command's name, and JSON objects have no order.
        let mut command = vec![(name.to_owned(), subject), ("$db".to_owned(), json!(database))];
        command.extend(fields);
        let reply = self.exchange(&command).context("MongoDB")?;
        if reply["ok"].as_f64().unwrap_or_default() < 1.0 {
            bail!(
                "MongoDB: {}",
                reply["errmsg"].as_str().unwrap_or("the command failed")
            );
        }
        Ok(reply)
    }

    /// Drops every database whose name starts with `prefix`, and tells how many.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sweep(&self, prefix: &str) -> Result<usize> {
        let list = self
            .run("admin", "listDatabases", json!(1), json!({"nameOnly": true}))
            .await?;
        let databases = list["databases"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = databases
            .iter()
            .filter_map(|item| item["name"].as_str())
            .filter(|name| name.starts_with(prefix))
            .collect();
        for name in &names {
            self.run(name, "dropDatabase", json!(1), json!({})).await?;
        }
        Ok(names.len())
    }

    fn exchange(&self, command: &[(String, Value)]) -> Result<Value> {
        let document = documents::encode(&mut command.iter().map(|(name, value)| (name.as_str(), value)))?;
        let length = u32::try_from(16 + 4 + 1 + document.len())?;
        let mut message = Vec::new();
        for field in [length, 1, 0, OP_MSG, 0] {
            message.extend_from_slice(&field.to_le_bytes());
        }
        message.push(0);
        message.extend_from_slice(&document);

        let address = self
            .address
            .parse()
            .with_context(|| format!("{} is not an address", self.address))?;
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(&message)?;
        let mut head = [0; 21];
        stream.read_exact(&mut head)?;
        let length = usize::try_from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]))?;
        if !(21..LONGEST_REPLY).contains(&length) {
            bail!("an answer of {length} bytes");
        }
        let mut document = vec![0; length - 21];
        stream.read_exact(&mut document)?;
        documents::decode(&document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_put_together() {
        let admin = MongoAdmin::new("mongodb://127.0.0.1:27017/?directConnection=true").unwrap();
        assert_eq!(
            admin.url("t_1"),
            "mongodb://127.0.0.1:27017/t_1?directConnection=true"
        );
        let admin = MongoAdmin::new("mongodb://app:word@10.0.0.1:27017,10.0.0.2:27017/users").unwrap();
        assert_eq!(
            admin.url("t_1"),
            "mongodb://app:word@10.0.0.1:27017,10.0.0.2:27017/t_1"
        );
        assert_eq!(admin.address, "10.0.0.1:27017");
        assert!(MongoAdmin::new("127.0.0.1").is_err());
    }
}
