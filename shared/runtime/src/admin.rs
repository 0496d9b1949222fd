//! The admin port: what whoever runs a process asks of it, over HTTP/1.1. A process whose calls are stuck, or that does
//! not serve yet, must still answer; so the port has a thread of its own, and is open from the start to the exit.
//!
//! | path | 200 | 503 |
//! | --- | --- | --- |
//! | `/livez` | the event loop of every core turns; no database is asked | a core is stuck: restart the process |
//! | `/readyz` | health says `SERVING`, on every core; what it does without, such as the Redis for events, is named | it does not, and the answer says why |
//! | `/metrics` | what the process counts and measures of itself, in the text of OpenMetrics | |
//!
//! Answers are lines of text. Probes are these, and not Kubernetes' probes of gRPC, because those speak no TLS.

mod probe;
mod process;
mod server;
mod vitals;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use clap::Args;

pub use probe::health;
pub(crate) use process::measure;
pub(crate) use server::start;
pub(crate) use vitals::Vitals;

use crate::config::ServerConfig;

/// How far above the port that a process serves on its admin port is, unless it is told otherwise.
const ABOVE: u16 = 10;

/// What `health` needs: where the process that it asks has its admin port.
#[derive(Debug, Clone, Copy, Args)]
pub struct HealthConfig {
    /// Address that the process listens on.
    #[arg(long, env = "LISTEN", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address of its admin port. [default: ten above the port of `--listen`, on the loopback address]
    #[arg(long, env = "ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
}

/// Where the admin port of a process with this configuration is.
pub(crate) fn address(config: &ServerConfig) -> anyhow::Result<SocketAddr> {
    config.admin_listen.map_or_else(|| beside(config.listen), Ok)
}

/// The admin port unless another one is said: on the loopback address, so that nobody outside of the machine or the pod asks.
fn beside(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    let loopback = match listen {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let port = match listen.port() {
        0 => 0,
        port => port
            .checked_add(ABOVE)
            .with_context(|| format!("there is no port {ABOVE} above {port}: say --admin-listen"))?,
    };
    Ok(SocketAddr::new(loopback, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_port_is_ten_above_the_other_one_and_for_this_machine() {
        for (listen, admin) in [
            ("0.0.0.0:50051", "127.0.0.1:50061"),
            ("10.1.2.3:1", "127.0.0.1:11"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::]:50051", "[::1]:50061"),
        ] {
            assert_eq!(beside(listen.parse().unwrap()).unwrap(), admin.parse().unwrap(), "{listen}");
        }
        let error = beside("0.0.0.0:65530".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("--admin-listen"), "{error}");
    }
}
