//! The configurations of rustls, made anew of each set of files.

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::UnixTime;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, Error, ServerConfig};
use time::OffsetDateTime;
use types::Clock;

use super::certificate::Certificate;
use super::files::Checked;
use super::verifier::PeerVerifier;
use super::{PeerIds, SpiffeId};

/// The protocol of gRPC.
pub(super) const HTTP2: &[u8] = b"h2";

/// Everything that comes of one set of files.
pub(super) struct Setup {
    own: Option<Certificate>,
    /// For our port; without a certificate of our own there is none.
    server: Option<Arc<ServerConfig>>,
    client: ClientConfig,
    /// Which servers' certificates are genuine.
    authentic: Arc<WebPkiServerVerifier>,
}

impl Setup {
    /// Makes the configurations.
    ///
    /// Sessions are not resumed, on either side: rustls restores the client's certificate of a resumed session without
    /// looking at it again, so that one which has expired since, or whose authority is no longer trusted, would still be
    /// believed.
    pub(super) fn new(checked: Checked, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let Checked { own, roots } = checked;
        let provider = Arc::new(ring::default_provider());
        let authentic =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
        let authentic = authentic.context("--tls-ca")?;
        let time: Arc<dyn TimeProvider> = Arc::new(TimeOf(Arc::clone(clock)));
        let client = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&time))
            .with_safe_default_protocol_versions()
            .context("choosing the versions of TLS")?
            .with_root_certificates(Arc::clone(&roots));
        let (own, server, mut client) = match own {
            None => (None, None, client.with_no_client_auth()),
            Some(own) => {
                let key = own.key.clone_key();
                let client = client.with_client_auth_cert(own.chain.clone(), key).map_err(unfit)?;
                let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .allow_unauthenticated()
                    .build()
                    .context("--tls-ca")?;
                let mut server = ServerConfig::builder_with_details(provider, time)
                    .with_safe_default_protocol_versions()
                    .context("choosing the versions of TLS")?
                    .with_client_cert_verifier(clients)
                    .with_single_cert(own.chain, own.key)
                    .map_err(unfit)?;
                server.alpn_protocols = vec![HTTP2.to_vec()];
                server.session_storage = Arc::new(NoServerSessionStorage {});
                server.send_tls13_tickets = 0;
                (Some(own.certificate), Some(Arc::new(server)), client)
            }
        };
        client.alpn_protocols = vec![HTTP2.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self { own, server, client, authentic })
    }

    /// For our port.
    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.server.clone()
    }

    /// For a connection to this service, and to no other.
    pub(super) fn client(&self, ids: PeerIds, service: &str) -> ClientConfig {
        let mut client = self.client.clone();
        let verifier =
            PeerVerifier { authentic: Arc::clone(&self.authentic), ids, service: service.to_owned() };
        client.dangerous().set_certificate_verifier(Arc::new(verifier));
        client
    }

    /// When our own certificate ends.
    pub(super) fn not_after(&self) -> Option<OffsetDateTime> {
        self.own.as_ref().map(|own| own.not_after)
    }

    /// Who our own certificate says that we are.
    pub(super) fn id(&self) -> Option<&SpiffeId> {
        self.own.as_ref()?.id.as_ref()
    }
}

/// The one thing that can be wrong with a certificate and a key that are fine each.
fn unfit(error: Error) -> anyhow::Error {
    let what = match &error {
        Error::InconsistentKeys(_) => "--tls-key: it is not the key of --tls-certificate",
        _ => "--tls-key: it cannot be used",
    };
    anyhow::Error::new(error).context(what)
}

/// The time at which certificates are checked.
struct TimeOf(Arc<dyn Clock>);

impl fmt::Debug for TimeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TimeOf(..)")
    }
}

impl TimeProvider for TimeOf {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}
