//! `health`: asks the admin port of a process on this machine whether it is ready, for containers' health checks.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{HealthConfig, beside};

const WITHIN: Duration = Duration::from_secs(3);
/// More of an answer than this is not read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// Asks whether the process is ready, and prints what it says.
///
/// # Errors
/// When it is not ready, or when it does not answer.
pub async fn health(config: &HealthConfig) -> anyhow::Result<()> {
    let address = match config.admin_listen {
        Some(address) => reachable(address),
        None => beside(config.listen)?,
    };
    let asked = timeout(WITHIN, ask(address)).await;
    let (status, told) = asked
        .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", WITHIN.as_secs())))
        .with_context(|| format!("asking the admin port at {address}"))?;
    ensure!(status == StatusCode::OK, "{}", told.trim_end());
    write!(std::io::stdout(), "{told}").context("printing the answer")
}

/// A process that listens on every address is asked on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn ask(address: SocketAddr) -> anyhow::Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz").header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| anyhow::anyhow!(error))?;
        anyhow::Ok((head.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The server closes the connection once it has answered.
        closed = connection => {
            closed?;
            answer.await
        }
    }
}
