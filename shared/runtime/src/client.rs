//! Calls to peers. A peer is as many servers as its host has addresses: each has one connection, and a call goes to the
//! less busy of two that are ready. Each call carries our own token, the trace and the time that is left.
//!
//! Errors are classified here and nowhere else ([`classify`]). A call may be repeated only when it did not take effect,
//! is idempotent or carries a `request_id` ([`retry_unavailable`]).

mod addresses;
mod channel;
mod connect;
mod connection;
mod endpoint;
mod identities;
mod identity;
mod meant;
mod metrics;
mod options;
mod outcome;
mod protocol;
mod request;
mod resolve;
mod retry;
mod servers;

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use http::Uri;
use http::uri::Scheme;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{GrpcMethod, Request, Status};

pub use channel::Channel;
pub use connection::Answer;
pub use identities::Identities;
pub(crate) use identities::ask;
pub(crate) use identity::Identity;
pub(crate) use meant::Meant;
pub use options::{AnyServer, CALL_TIMEOUT, PeerOptions};
pub use outcome::{Outcome, classify, outcome, reason};
pub use resolve::Resolve;
pub use retry::{Budget, RetryPolicy, retry_unavailable};
pub use servers::Endpoints;

use crate::config::peer_url;
use crate::deadline::Deadline;
use crate::telemetry;
use crate::tls::Tls;

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
        Self::with_options(setting, service, url, token, tls, PeerOptions::default())
    }

    /// The same, with other times than the usual ones, or addresses from elsewhere.
    ///
    /// # Errors
    /// As [`Peer::new`].
    pub fn with_options(
        setting: &'static str,
        service: &'static str,
        url: &str,
        token: Option<&SecretString>,
        tls: &Tls,
        options: PeerOptions,
    ) -> anyhow::Result<Self> {
        let url = peer_url(url).map_err(anyhow::Error::msg).context(setting)?;
        let uri: Uri = url.parse().context(setting)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or_default();
        let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
        let meant = Arc::new(Meant { setting, service, url, uri, host, port, is_secure });
        if is_secure {
            tls.can_call(&meant.name()).context(setting)?;
        } else {
            ensure!(!tls.is_required(), "{setting} has a peer at http://, and --require-tls is given");
        }
        let authorized = Authorized::new(token)?;
        let authorization = authorized.authorization.clone();
        let channel = Channel::new(Arc::clone(&meant), options, authorization, tls.clone());
        Ok(Self { channel, authorized, meant })
    }

    /// What a generated client is made of.
    #[must_use]
    pub fn channel(&self) -> PeerChannel {
        InterceptedService::new(self.channel.clone(), self.authorized.clone())
    }

    /// The same connections, for calls to which nothing is added.
    #[must_use]
    pub fn anonymous(&self) -> Channel {
        self.channel.clone()
    }

    /// How many of the peer's addresses are in which state, on this runtime.
    #[must_use]
    pub fn endpoints(&self) -> Endpoints {
        self.channel.endpoints()
    }

    pub(crate) fn meant(&self) -> &Meant {
        &self.meant
    }
}

/// Adds to every call our service token, if we have one, the `traceparent` of the current span, and a `grpc-timeout`. That
/// is nine tenths of the time that the call being served has left, so that we can still answer when the peer does not. A
/// stream gets no timeout unless its caller set one.
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
