//! How the servers of a peer are found, and how connections to them are kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::resolve::{Dns, Resolve};

/// Time for a call that is not a stream, when nothing else limits it. A stream waits no longer for a server.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How the servers of a peer are found, and how connections to them are kept. Other values than the default ones are for
/// tests.
#[derive(Clone)]
pub struct PeerOptions {
    /// Tells the addresses of the peer's host.
    pub resolver: Arc<dyn Resolve>,
    /// The addresses are asked for again after this time.
    pub resolve_every: Duration,
    /// After a lost connection they are asked for sooner, but no more often than this.
    pub resolve_pause: Duration,
    /// A connection that is not open by then has failed.
    pub connect_timeout: Duration,
    /// The longest pause after the first failure to connect. Pauses are random and their bounds double.
    pub backoff_first: Duration,
    /// The longest pause after many failures.
    pub backoff_cap: Duration,
    /// A connection is asked for a sign of life this often.
    pub keepalive_interval: Duration,
    /// A connection that gives none for this long is given up. Until then, calls over it stay without an answer.
    pub keepalive_timeout: Duration,
}

/// In the extensions of a request: it goes to a server that says that it does not serve, if there is no other, and fails at
/// once when every server was tried and none is connected. For questions about what is wrong; other calls wait, since servers
/// come back.
#[derive(Debug, Clone, Copy)]
pub struct AnyServer;

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            resolver: Arc::new(Dns),
            resolve_every: Duration::from_secs(5),
            resolve_pause: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            backoff_first: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for PeerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerOptions").finish_non_exhaustive()
    }
}
