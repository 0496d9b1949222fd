//! Calls to peers. Each peer has one channel, connected when it is first used; each call carries our own token, the
//! trace and the time that is left.
//!
//! Errors are classified here and nowhere else ([`classify`]). A call may be repeated only when it did not take effect,
//! is idempotent or carries a `request_id` ([`retry_unavailable`]).

mod channel;
mod identity;
mod meant;
mod outcome;
mod protocol;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Uri;
use http::uri::Scheme;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{GrpcMethod, Request, Status};

use channel::channel;
pub use identity::Identities;
pub(crate) use identity::{Identity, ask};
pub(crate) use meant::Meant;
pub use outcome::{Outcome, classify, outcome, reason};
pub use retry::{Budget, RetryPolicy, retry_unavailable};

use crate::config::peer_url;
use crate::deadline::Deadline;
use crate::telemetry;
use crate::tls::Tls;

/// Time for a call that is not a stream, when nothing else limits it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a generated client is made of: `UserServiceClient::new(peer.channel())`.
pub type PeerChannel = InterceptedService<Channel, Authorized>;

/// Another service of this system. Make one in each tokio runtime.
#[derive(Debug, Clone)]
pub struct Peer {
    channel: Channel,
    authorized: Authorized,
    meant: Arc<Meant>,
}

impl Peer {
    /// A peer at `url`, called with our own service token, if there is one, and at `https://` with our certificate.
    /// `setting` is the flag of the address, for messages, and `service` the full name of a service that is to be found
    /// there.
    ///
    /// # Errors
    /// When it is not an address of a peer, the token cannot be sent in a header, or the settings of TLS are not enough
    /// to know the peer by, or do not allow to call it without.
    pub fn new(
        setting: &'static str,
        service: &'static str,
        url: &str,
        token: Option<&SecretString>,
        tls: &Tls,
    ) -> anyhow::Result<Self> {
        let url = peer_url(url).map_err(anyhow::Error::msg).context(setting)?;
        let uri: Uri = url.parse().context(setting)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or_default();
        let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
        let meant = Arc::new(Meant { setting, service, url, host, port, is_secure });
        if is_secure {
            tls.can_call(&meant.name()).context(setting)?;
        } else {
            ensure!(!tls.is_required(), "{setting} has a peer at http://, and --require-tls is given");
        }
        Ok(Self { channel: channel(uri, &meant, tls), authorized: Authorized::new(token)?, meant })
    }

    /// What a generated client is made of.
    #[must_use]
    pub fn channel(&self) -> PeerChannel {
        InterceptedService::new(self.channel.clone(), self.authorized.clone())
    }

    /// The same connection, for calls to which nothing is added.
    #[must_use]
    pub fn anonymous(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn meant(&self) -> &Meant {
        &self.meant
    }
}

/// Adds to every call our service token, if we have one, the `traceparent` of the current span, and a `grpc-timeout`. That is nine
/// tenths of the time that the call being served has left, so that we can still answer when the peer does not. A stream
/// gets no timeout unless its caller set one.
#[derive(Clone)]
pub struct Authorized {
    authorization: Option<MetadataValue<Ascii>>,
}

impl Authorized {
    /// Calls with this token; without one, our certificate says who calls.
    ///
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(token: Option<&SecretString>) -> anyhow::Result<Self> {
        let Some(token) = token else { return Ok(Self { authorization: None }) };
        let mut authorization: MetadataValue<Ascii> = format!("Bearer {}", token.expose_secret())
            .parse()
            .ok()
            .context("--service-token has characters that a header cannot carry")?;
        authorization.set_sensitive(true);
        Ok(Self { authorization: Some(authorization) })
    }
}

impl std::fmt::Debug for Authorized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorized(..)")
    }
}

impl Interceptor for Authorized {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
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
