//! What a server answers over HTTP on this machine: the way to the tools that watch a system.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A port of this machine that speaks HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpApi {
    port: u16,
}

impl HttpApi {
    /// At this port.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self { port }
    }

    /// What `path` answers to these parameters.
    ///
    /// # Errors
    /// When nobody answers within 20 seconds, or with another status than one of success; the error has the answer.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let answer = timeout(PATIENCE, self.ask(path, parameters)).await;
        answer
            .with_context(|| format!("no answer within {PATIENCE:?}"))
            .flatten()
            .with_context(|| format!("GET {path} of port {}", self.port))
    }

    /// As [`HttpApi::get`], of a path that answers with JSON.
    ///
    /// # Errors
    /// As there, and when it is no JSON.
    pub async fn json(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let text = self.get(path, parameters).await?;
        serde_json::from_str(&text).with_context(|| format!("GET {path} answers no JSON: {text}"))
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let address = format!("127.0.0.1:{}", self.port);
        let stream = TcpStream::connect(&address).await.context("connecting")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request =
            Request::get(target(path, parameters)).header(HOST, &address).body(Empty::<Bytes>::new())?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            let state = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            // The connection lasts as long as its sender.
            drop(sender);
            anyhow::Ok((state, String::from_utf8_lossy(&body).into_owned()))
        };
        let (answer, connection) = tokio::join!(answer, connection);
        let (state, body) = answer?;
        connection?;
        ensure!(state.is_success(), "{state}: {body}");
        Ok(body)
    }
}

/// A path with parameters, as it stands in a request.
fn target(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (place, (name, value)) in parameters.iter().enumerate() {
        target.push(if place == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() {
                target.push(char::from(byte));
            } else {
                let _written = write!(target, "%{byte:02X}");
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_arrive_as_they_were() {
        let target = target("/api/v1/query", &[("query", "up{a=\"b&c\"} > 0"), ("time", "1.5")]);
        assert_eq!(target, "/api/v1/query?query=up%7Ba%3D%22b%26c%22%7D%20%3E%200&time=1%2E5");
    }
}
