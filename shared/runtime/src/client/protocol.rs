//! What a server speaks that does not answer as a gRPC server does.
//!
//! The errors of a failed connection hardly tell: TLS, HTTP/1.1 and a database all end it in some way or other. So the
//! server is greeted as an HTTP/2 client does it, and its first bytes are looked at.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that has said nothing for this long is not known.
const WITHIN: Duration = Duration::from_millis(500);
/// The preface of a connection, and empty settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// The head of a frame of HTTP/2.
const FRAME_HEAD: usize = 9;

/// Something else than the HTTP/2 without TLS that a peer at `http://` speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Tls,
    Http1,
    Redis,
    Unknown,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "it speaks TLS; write https:// in its address",
            Self::Http1 => "it speaks HTTP/1.1, and not HTTP/2 as services do",
            Self::Redis => "it is a Redis server",
            Self::Unknown => "it does not speak HTTP/2",
        })
    }
}

/// What the server at this address of the host speaks, if it is certainly something foreign.
pub(super) async fn foreign(host: &str, address: SocketAddr) -> Option<Foreign> {
    let answer = ask(address, GREETING).await?;
    if !answer.is_empty() {
        return of_greeting(&answer);
    }
    // Many TLS servers close the connection without a word. So does a proxy that has no server behind it.
    let answer = ask(address, &tls_hello(host)?).await?;
    is_tls(&answer).then_some(Foreign::Tls)
}

/// The first bytes that are answered; none when the connection is closed. `None` when nobody is there or says anything.
async fn ask(address: SocketAddr, greeting: &[u8]) -> Option<Vec<u8>> {
    let mut stream = timeout(WITHIN, TcpStream::connect(address)).await.ok()?.ok()?;
    let answer = async {
        stream.write_all(greeting).await?;
        let mut answer = Vec::new();
        while answer.len() < FRAME_HEAD && stream.read_buf(&mut answer).await? > 0 {}
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(WITHIN, answer).await {
        Ok(Ok(answer)) => Some(answer),
        // A reset is the answer of a server that does not like what it reads.
        Ok(Err(_)) => Some(Vec::new()),
        Err(_) => None,
    }
}

fn of_greeting(answer: &[u8]) -> Option<Foreign> {
    match answer {
        // Settings come first in HTTP/2, for the connection as a whole.
        [_, _, _, 4, _, 0, 0, 0, 0, ..] => None,
        _ if is_tls(answer) => Some(Foreign::Tls),
        // Some answer the method that they do not know with a page, without a head.
        [b'H', b'T', b'T', b'P', ..] | [b'<', ..] => Some(Foreign::Http1),
        [b'-', ..] => Some(Foreign::Redis),
        _ => Some(Foreign::Unknown),
    }
}

/// A record of TLS: an alert, or a part of the handshake.
fn is_tls(answer: &[u8]) -> bool {
    matches!(answer, [21 | 22, 3, ..])
}

/// What a TLS client says first.
fn tls_hello(host: &str) -> Option<Vec<u8>> {
    let provider = Arc::new(ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = versions.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers so to every connection, and closes it.
    async fn server(answers: impl Fn(&[u8]) -> Option<&'static [u8]> + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = vec![0; 1024];
                let length = stream.read(&mut heard).await.unwrap_or_default();
                if let Some(answer) = answers(&heard[..length]) {
                    stream.write_all(answer).await.unwrap();
                    stream.shutdown().await.unwrap();
                }
            }
        };
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(serve);
        address
    }

    #[tokio::test]
    async fn a_server_is_known_by_its_first_bytes() {
        for (answer, known) in [
            (&b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"[..], None),
            (b"\x15\x03\x01\x00\x02\x02\x46", Some(Foreign::Tls)),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", Some(Foreign::Http1)),
            (b"<!DOCTYPE HTML>", Some(Foreign::Http1)),
            (b"-ERR unknown command\r\n", Some(Foreign::Redis)),
            (b"SSH-2.0-OpenSSH\r\n", Some(Foreign::Unknown)),
        ] {
            let address = server(move |_| Some(answer)).await;
            assert_eq!(foreign("127.0.0.1", address).await, known, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_only_to_tls_speaks_tls() {
        let hello = |heard: &[u8]| -> Option<&'static [u8]> {
            Some(if heard.starts_with(&[22, 3]) { b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76" } else { b"" })
        };
        assert_eq!(foreign("127.0.0.1", server(hello).await).await, Some(Foreign::Tls));
    }

    #[tokio::test]
    async fn who_is_away_silent_or_closes_at_once_is_not_known() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(foreign("127.0.0.1", gone).await, None);
        assert_eq!(foreign("127.0.0.1", server(|_| None).await).await, None);
        assert_eq!(foreign("127.0.0.1", server(|_| Some(b"")).await).await, None);
    }
}
