//! What `doctor` asks of Redis besides what the service itself does: plain commands, and whether they are allowed. It
//! changes nothing that is not named as scratch, and whoever names a scratch key removes it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, InfoDict, Value};
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;
use types::DatabaseUrl;

use super::driver::{answer, is_not_permitted, time_of};
use super::{Store, keys};
use crate::error::{Error, Result};

/// How long a scratch key lives when nobody lives to remove it, in milliseconds.
const SCRATCH_LIFE: u32 = 60_000;
/// About how many keys one step of a scan looks at.
const SCAN_COUNT: usize = 200;

/// What a URL says of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// The user, `default` when none is named.
    pub(crate) user: String,
    pub(crate) has_password: bool,
    /// Whether what is sent can be read on its way: no TLS, and not only on this machine.
    pub(crate) is_readable: bool,
    /// The numbered database.
    pub(crate) number: i64,
}

impl Address {
    /// # Errors
    /// When it is no URL of Redis.
    pub(crate) fn of(url: &DatabaseUrl) -> Result<Self> {
        let address = redis_connection::Address::of(url.now().expose_secret()).map_err(Error::internal)?;
        let is_readable = |server: &ConnectionAddr| match server {
            ConnectionAddr::Tcp(host, _) => {
                let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
                host != "localhost" && !ip.is_ok_and(|ip| ip.is_loopback())
            }
            _ => false,
        };
        let is_readable = address.servers().iter().any(is_readable);
        let login = address.login();
        Ok(Self {
            user: login.username().unwrap_or("default").to_owned(),
            has_password: login.password().is_some(),
            is_readable,
            number: login.db(),
        })
    }
}

/// Whether the user may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// It may: Redis has looked at the arguments.
    Granted,
    /// The command is refused.
    NoCommand,
    /// The command is allowed, and not on this key.
    NoKey,
}

impl Store {
    /// Sends a command, given as its words, and expects no certain answer.
    pub(crate) async fn send(&self, words: &[String]) -> Result<()> {
        self.redis.run::<Value>(&command(words)).await.map(drop)
    }

    /// A section of what Redis tells of itself.
    pub(crate) async fn info(&self, section: &str) -> Result<InfoDict> {
        self.redis.run(redis::cmd("INFO").arg(section)).await
    }

    /// Whether the user may send this command. Redis looks at rights before it looks at arguments, so a command with
    /// arguments that make no sense is refused or not, and changes nothing.
    pub(crate) async fn right_to(&self, words: &[String]) -> Result<Right> {
        let Err(error) = self.send(words).await else { return Ok(Right::Granted) };
        match answer(&error) {
            Some(said) if is_not_permitted(&error) => {
                Ok(if said.contains("command") { Right::NoCommand } else { Right::NoKey })
            }
            Some(said) if said.contains("unknown command") => Ok(Right::NoCommand),
            Some(_) => Ok(Right::Granted),
            None => Err(error),
        }
    }

    /// What names this run of the server: another one has another.
    pub(crate) async fn run_id(&self) -> Result<String> {
        self.info("server").await?.get("run_id").ok_or_else(|| Error::internal("INFO tells no run_id"))
    }

    /// Redis' clock.
    pub(crate) async fn database_time(&self) -> Result<OffsetDateTime> {
        time_of(self.now_millis().await?)
    }

    /// How long each of so many writes of a scratch key took.
    pub(crate) async fn write_times(&self, scratch: &str, writes: usize) -> Result<Vec<Duration>> {
        let mut write = redis::cmd("SET");
        write.arg(scratch).arg(1).arg("PX").arg(SCRATCH_LIFE);
        let timed = async {
            let mut times = Vec::with_capacity(writes);
            for _ in 0..writes {
                let began = Instant::now();
                self.redis.run::<()>(&write).await?;
                times.push(began.elapsed());
            }
            Ok(times)
        };
        let times = timed.await;
        self.redis.run::<()>(&redis::Cmd::del(scratch)).await?;
        times
    }

    /// Removes the mark of a consumer.
    pub(crate) async fn mark_remove(&self, consumer: &str) -> Result<()> {
        let [mark, _] = keys::consumer(consumer);
        self.redis.run(&redis::Cmd::del(mark)).await
    }

    /// Looks at about so many keys: how many there were, and those of them that are not of this service.
    pub(crate) async fn foreign_keys(&self, about: usize) -> Result<(usize, Vec<String>)> {
        let (mut cursor, mut seen, mut foreign) = (0_u64, 0, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.redis.run(&scan).await?;
            seen += keys.len();
            let texts = keys.iter().map(|key| String::from_utf8_lossy(key).into_owned());
            foreign.extend(texts.filter(|key| !keys::is_ours(key)));
            if next == 0 || seen >= about {
                return Ok((seen, foreign));
            }
            cursor = next;
        }
    }
}

fn command(words: &[String]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}
