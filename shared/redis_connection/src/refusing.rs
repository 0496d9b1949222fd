//! A stand-in for Redis that says what a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a server refuses: a command, and the word that it says.
type Refusal = Arc<Mutex<Option<(&'static str, &'static str)>>>;

/// A server that refuses what it is told to, and counts its connections.
#[derive(Clone, Default)]
pub(crate) struct Refusing {
    refusal: Refusal,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Refusing {
    /// Starts it, and gives its URL.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://user:password@{}/7", listener.local_addr().unwrap());
        let server = self.clone();
        tokio::task::spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                server.connections.fetch_add(1, Ordering::SeqCst);
                tokio::task::spawn_local(server.clone().serve(client));
            }
        });
        url
    }

    pub(crate) async fn serve(self, mut client: impl AsyncRead + AsyncWrite + Unpin) {
        let (mut heard, mut chunk) = (String::new(), [0; 1024]);
        while let Ok(count @ 1..) = client.read(&mut chunk).await {
            heard.push_str(&String::from_utf8_lossy(&chunk[..count]));
            // Each command begins with `*`, which none of ours has in it; the last may not be whole.
            while heard.ends_with("\r\n") && !heard.is_empty() {
                let end = heard[1..].find('*').map_or(heard.len(), |at| at + 1);
                let command: String = heard.drain(..end).collect();
                let answer = self.answer(command.split("\r\n").nth(2).unwrap_or_default());
                if client.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }

    fn answer(&self, command: &str) -> String {
        match *self.refusal.lock().unwrap() {
            Some((refused, word)) if refused == command => format!("-{word} for a test\r\n"),
            _ if command == "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        }
    }

    pub(crate) fn refuse(&self, refusal: Option<(&'static str, &'static str)>) {
        *self.refusal.lock().unwrap() = refusal;
    }
}
