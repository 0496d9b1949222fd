//! Redis for sessions as production has it: three servers, and three Sentinels that make another one the master when the
//! master is gone.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{Redis, RedisUse, Wanted};
use crate::launch::Lifetime;
use crate::ports::Port;
use crate::state::State;

/// What the Sentinels call the servers together.
const MASTER: &str = "sessions";
const SERVERS: usize = 3;

/// Three servers and their Sentinels.
#[derive(Debug)]
pub struct WatchedRedis {
    /// The first one is the master when they start.
    pub servers: Vec<Redis>,
    /// A Sentinel for each.
    pub sentinels: Vec<Redis>,
    password: String,
}

impl WatchedRedis {
    /// Starts them in `state`, with the limits of time that the manifests for production have.
    ///
    /// # Errors
    /// When Redis is missing or one does not start.
    pub async fn start(state: &State, lifetime: Lifetime) -> Result<Self> {
        let password = state.secret(MASTER)?;
        let (mut servers, mut sentinels): (Vec<Redis>, Vec<Redis>) = (Vec::new(), Vec::new());
        for number in 0..SERVERS {
            let name = format!("{MASTER}-{number}");
            let mut settings = format!(
                "{}masterauth {password}\nmin-replicas-to-write 1\nmin-replicas-max-lag 10\n",
                RedisUse::Sessions.settings()
            );
            if let Some(master) = servers.first() {
                let _written = writeln!(settings, "replicaof 127.0.0.1 {}", master.port());
            }
            let wanted =
                Wanted { name: &name, settings: &settings, is_sentinel: false, port: Port::Free, lifetime };
            servers.push(Redis::start_wanted(state, &password, wanted).await.with_context(|| name.clone())?);
        }
        for number in 0..SERVERS {
            let name = format!("sentinel-{number}");
            let settings = format!(
                "sentinel monitor {MASTER} 127.0.0.1 {} 2\nsentinel auth-pass {MASTER} {password}\n\
                 sentinel sentinel-pass {password}\nsentinel down-after-milliseconds {MASTER} 3000\n\
                 sentinel failover-timeout {MASTER} 10000\n",
                servers[0].port()
            );
            let wanted =
                Wanted { name: &name, settings: &settings, is_sentinel: true, port: Port::Free, lifetime };
            sentinels
                .push(Redis::start_wanted(state, &password, wanted).await.with_context(|| name.clone())?);
        }
        Ok(Self { servers, sentinels, password })
    }

    /// The address that leads to whichever server is the master.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!(
            "redis-sentinel://:{0}@{1}/0?master={MASTER}&sentinelPassword={0}",
            self.password,
            hosts.join(",")
        )
    }

    /// The port of the master, as this Sentinel has it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn master_by(&self, sentinel: usize) -> Result<u16> {
        let admin = self.sentinels[sentinel].admin();
        let answer = admin.run(0, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await?;
        let port = answer.lines().last().context("it knows no master")?;
        port.parse().with_context(|| format!("a port, not {port}"))
    }

    /// What a Sentinel says of how the master is watched: `OK` when enough of them agree to make another one the master.
    ///
    /// # Errors
    /// When they do not.
    pub async fn quorum(&self) -> Result<String> {
        self.sentinels[0].admin().run(0, &["SENTINEL", "CKQUORUM", MASTER]).await
    }

    /// Makes another server the master while the present one runs.
    ///
    /// # Errors
    /// When there is no other that is fit.
    pub async fn switch(&self) -> Result<()> {
        self.sentinels[0].admin().run(0, &["SENTINEL", "FAILOVER", MASTER]).await.map(drop)
    }
}
