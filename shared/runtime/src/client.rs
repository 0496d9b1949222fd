//! Calls to peers. Each peer has one channel, connected when it is first used; each call carries our own token, the
//! trace and the time that is left.
//!
//! Errors are classified here and nowhere else ([`classify`]). A call may be repeated only when it did not take effect,
//! is idempotent or carries a `request_id` ([`retry_unavailable`]).

mod outcome;
mod retry;

use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{GrpcMethod, Request, Status};

pub use outcome::{Outcome, classify, outcome, reason};
pub use retry::{Budget, RetryPolicy, retry_unavailable};

use crate::deadline::Deadline;
use crate::telemetry;

/// Time for a call that is not a stream, when nothing else limits it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that has fallen silent without being reset is given up after the sum of both times. Until then, calls
/// over it stay without an answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a generated client is made of: `UserServiceClient::new(peer.channel())`.
pub type PeerChannel = InterceptedService<Channel, Authorized>;

/// A channel to `url` that connects when it is first used, and again whenever the connection was lost. It belongs to
/// the tokio runtime that it is made in, so make one in each.
///
/// # Errors
/// When it is not a URL.
pub fn channel(url: &str) -> anyhow::Result<Channel> {
    let shown = crate::config::redact_url(url);
    let endpoint = Endpoint::from_shared(url.to_owned()).with_context(|| format!("not a URL: {shown}"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// Another service of this system.
#[derive(Debug, Clone)]
pub struct Peer {
    channel: PeerChannel,
}

impl Peer {
    /// A peer at `url`, called with our own service token.
    ///
    /// # Errors
    /// When it is not a URL, or the token cannot be sent in a header.
    pub fn new(url: &str, token: &SecretString) -> anyhow::Result<Self> {
        let authorized = Authorized::new(token)?;
        Ok(Self { channel: InterceptedService::new(channel(url)?, authorized) })
    }

    /// What a generated client is made of.
    #[must_use]
    pub fn channel(&self) -> PeerChannel {
        self.channel.clone()
    }
}

/// Adds to every call our service token, the `traceparent` of the current span, and a `grpc-timeout`. That is nine
/// tenths of the time that the call being served has left, so that we can still answer when the peer does not. A stream
/// gets no timeout unless its caller set one.
#[derive(Clone)]
pub struct Authorized {
    authorization: MetadataValue<Ascii>,
}

impl Authorized {
    /// Calls with this token.
    ///
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(token: &SecretString) -> anyhow::Result<Self> {
        let mut authorization: MetadataValue<Ascii> = format!("Bearer {}", token.expose_secret())
            .parse()
            .ok()
            .context("--service-token has characters that a header cannot carry")?;
        authorization.set_sensitive(true);
        Ok(Self { authorization })
    }
}

impl std::fmt::Debug for Authorized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorized(..)")
    }
}

impl Interceptor for Authorized {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.authorization.clone());
        if let Some(traceparent) = telemetry::current_traceparent().and_then(|text| text.parse().ok()) {
            request.metadata_mut().insert("traceparent", traceparent);
        }
        if !request.metadata().contains_key("grpc-timeout") && !is_stream(&request) {
            let left = Deadline::current().map_or(CALL_TIMEOUT, |deadline| deadline.remaining().mul_f64(0.9));
            request.set_timeout(left.min(CALL_TIMEOUT));
        }
        Ok(request)
    }
}

fn is_stream(request: &Request<()>) -> bool {
    let Some(method) = request.extensions().get::<GrpcMethod<'static>>() else {
        return false;
    };
    api::descriptor::service(method.service())
        .and_then(|service| service.methods().find(|candidate| candidate.name() == method.method()))
        .is_some_and(|method| method.is_server_streaming() || method.is_client_streaming())
}
