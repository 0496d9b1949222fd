//! How the addresses of a host are found out.

use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;

/// Tells all addresses of a host.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, with this port. Their order means nothing.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The machine's own resolver.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dns;

impl Resolve for Dns {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
