//! Which addresses a peer's host has: all of them, asked for again and again, since servers come and go. An answer that
//! fails or is empty changes nothing, because calls over the connections that are there still succeed.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::endpoint::{self, Presence};
use super::servers::Servers;

/// Keeps an endpoint for each address of the host, for ever.
pub(super) async fn keep(servers: Arc<Servers>) -> Infallible {
    let (meant, options) = (Arc::clone(servers.meant()), servers.options().clone());
    let mut endpoints: HashMap<SocketAddr, DropGuard> = HashMap::new();
    let mut was_told = false;
    loop {
        let asked = Instant::now();
        let answer = options.resolver.resolve(&meant.host, meant.port).await;
        match answer.and_then(|addresses| not_empty(addresses.into_iter().collect())) {
            Ok(addresses) => {
                if std::mem::take(&mut was_told) {
                    tracing::info!(
                        setting = meant.setting,
                        url = meant.url,
                        "the peer's host is known again"
                    );
                }
                endpoints.retain(|address, _| addresses.contains(address));
                for address in addresses {
                    endpoints.entry(address).or_insert_with(|| begin(&servers, address));
                }
                servers.resolved(None);
            }
            Err(error) => {
                if !std::mem::replace(&mut was_told, true) {
                    tracing::warn!(
                        setting = meant.setting,
                        url = meant.url,
                        %error,
                        addresses = endpoints.len(),
                        "the peer's host has no address now; the last known ones are used"
                    );
                }
                servers.resolved(Some(error.to_string()));
            }
        }
        tokio::select! {
            () = sleep(options.resolve_every) => {}
            () = servers.lost_connection() => sleep_until(asked + options.resolve_pause).await,
        }
    }
}

fn not_empty(addresses: BTreeSet<SocketAddr>) -> io::Result<BTreeSet<SocketAddr>> {
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the answer has no address"));
    }
    Ok(addresses)
}

/// Starts the endpoint of an address, which ends when the guard is dropped.
fn begin(servers: &Arc<Servers>, address: SocketAddr) -> DropGuard {
    let gone = CancellationToken::new();
    let run =
        gone.clone().run_until_cancelled_owned(endpoint::keep(Presence::of(Arc::clone(servers), address)));
    #[expect(clippy::disallowed_methods, reason = "ends with its channel, or when the address leaves")]
    tokio::spawn(run);
    gone.drop_guard()
}
