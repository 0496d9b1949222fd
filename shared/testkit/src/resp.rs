//! Commands to a Redis server on a socket of our own: the crate has no database driver.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A Redis server.
#[derive(Debug, Clone)]
pub struct RedisAdmin {
    password: String,
    address: String,
}

impl RedisAdmin {
    /// From `redis://[:password@]host:port[/number]`.
    ///
    /// # Errors
    /// When the URL has another form.
    pub fn new(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("redis://")
            .context("a Redis URL looks like redis://:password@host:port")?;
        let (person, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let password = person.split_once(':').map_or("", |(_, password)| password);
        let address = place.split('/').next().unwrap_or(place);
        Ok(Self {
            password: password.to_owned(),
            address: address.to_owned(),
        })
    }

    /// The URL of one of its numbered databases, password included.
    #[must_use]
    pub fn url(&self, database: u32) -> String {
        let person = if self.password.is_empty() {
            String::new()
        } else {
            format!(":{}@", self.password)
        };
        format!("redis://{person}{}/{database}", self.address)
    }

    /// Runs a command and gives the answer as text, the items of a list on lines of their own.
    ///
    /// # Errors
    /// What the server says.
    pub async fn run(&self, database: u32, command: &[&str]) -> Result<String> {
        let (admin, command) = (
            self.clone(),
            command.iter().map(|&part| part.to_owned()).collect::<Vec<_>>(),
        );
        tokio::task::spawn_blocking(move || {
            let parts: Vec<&str> = command.iter().map(String::as_str).collect();
            admin.run_now(database, &parts)
        })
        .await?
    }

    /// [`RedisAdmin::run`] for places that cannot wait, such as `Drop`.
    pub(crate) fn run_now(&self, database: u32, command: &[&str]) -> Result<String> {
        let address = self
            .address
            .parse()
            .with_context(|| format!("{} is not an address", self.address))?;
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).context("Redis")?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut stream = BufReader::new(stream);
        if !self.password.is_empty() {
            call(&mut stream, &["AUTH", &self.password])?;
        }
        if database != 0 {
            call(&mut stream, &["SELECT", &database.to_string()])?;
        }
        call(&mut stream, command)
    }
}

fn call(stream: &mut BufReader<TcpStream>, command: &[&str]) -> Result<String> {
    let mut message = format!("*{}\r\n", command.len());
    for part in command {
        message.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    stream.get_mut().write_all(message.as_bytes())?;
    reply(stream)
}

fn reply(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).context("Redis hung up")?;
    Ok(match kind {
        "+" | ":" => rest.to_owned(),
        "-" => bail!("Redis: {rest}"),
        "$" => match usize::try_from(rest.parse::<i64>()?) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes)?;
                String::from_utf8_lossy(&bytes[..length]).into_owned()
            }
            Err(_) => String::new(),
        },
        "*" => {
            let items = rest.parse::<i64>()?.max(0);
            (0..items)
                .map(|_| reply(stream))
                .collect::<Result<Vec<_>>>()?
                .join("\n")
        }
        _ => bail!("Redis answered {line}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_put_together() {
        let admin = RedisAdmin::new("redis://:word@127.0.0.1:6379/3").unwrap();
        assert_eq!(admin.url(7), "redis://:word@127.0.0.1:6379/7");
        assert_eq!(
            RedisAdmin::new("redis://127.0.0.1:6379").unwrap().url(0),
            "redis://127.0.0.1:6379/0"
        );
        assert!(RedisAdmin::new("127.0.0.1:6379").is_err());
    }

    #[test]
    fn answers_of_every_kind_are_read() {
        let read = |text: &str| reply(&mut text.as_bytes());
        assert_eq!(read("+PONG\r\n").unwrap(), "PONG");
        assert_eq!(
            read("*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n").unwrap(),
            "databases\n16"
        );
        assert_eq!(read("$-1\r\n").unwrap(), "");
        assert_eq!(
            read("-NOAUTH no\r\n").unwrap_err().to_string(),
            "Redis: NOAUTH no"
        );
        assert_eq!(read("").unwrap_err().to_string(), "Redis hung up");
    }
}
