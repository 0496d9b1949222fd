//! TLS of this process, both for its port and for its calls to peers: each side shows the other a certificate.
//!
//! A certificate is believed when it is in date and of an authority of `--tls-ca`. Who its holder is says its id, a URI, by
//! the list of `--tls-peer-ids`: a client finds out whether the server is the service that it means, and a server which
//! service calls. Clients without a certificate are people with the tokens of their sessions.
//!
//! The files may be replaced at any time, which costs no call. They are read again every ten seconds, checked together, and
//! used for the handshakes that begin from then on. A set that is no good is told of, and the one before stays.

mod certificate;
mod ended;
mod files;
mod peer_ids;
mod reload;
mod setup;
mod verifier;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{bail, ensure};
use auth::CertificateIdentity;
use rustls::pki_types::ServerName;
use time::OffsetDateTime;
use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use types::{Clock, SystemClock};

use self::certificate::Certificate;
use self::ended::handshake_ended;
use self::files::{Contents, Files};
use self::setup::Setup;
use self::verifier::WrongId;
use crate::config::{TlsConfig, recognisable};

pub use ended::{Handshake, Reload, Side};
pub use peer_ids::{PeerIds, SpiffeId};

/// How long the other side may take for its part.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How often the files are read.
const POLL_EVERY: Duration = Duration::from_secs(10);

/// What a process needs for TLS, and nothing where it is not configured. Cheap to clone; one for all cores.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// What has been read and is in use. `None` where TLS is not configured.
    active: Option<Active>,
}

struct Settings {
    ids: PeerIds,
    is_required: bool,
    clock: Arc<dyn Clock>,
    poll_every: Duration,
}

struct Active {
    files: Files,
    current: RwLock<Arc<Current>>,
    /// What could not be used when it was read last, and whether that was told.
    refused: Mutex<Option<(Contents, bool)>>,
}

/// One set of files, and what was made of it.
struct Current {
    contents: Contents,
    setup: Setup,
}

impl Tls {
    /// No TLS, neither on our port nor to peers.
    #[must_use]
    pub fn off() -> Self {
        Self::of(&TlsConfig::default(), None, Arc::new(SystemClock), POLL_EVERY)
    }

    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When a file cannot be read or used, or the certificate is not in date. Names the flag.
    pub fn load(config: &TlsConfig) -> anyhow::Result<Self> {
        Self::load_with(config, Arc::new(SystemClock), POLL_EVERY)
    }

    /// As [`Tls::load`], with the time from elsewhere, and with another pause between two looks at the files.
    ///
    /// # Errors
    /// Those of [`Tls::load`].
    pub fn load_with(
        config: &TlsConfig,
        clock: Arc<dyn Clock>,
        poll_every: Duration,
    ) -> anyhow::Result<Self> {
        let active = match Self::files(config)? {
            None => None,
            Some(files) => {
                let contents = files.read()?;
                let setup = Setup::new(contents.check(clock.now())?, &clock)?;
                Some(Active {
                    files,
                    current: RwLock::new(Arc::new(Current { contents, setup })),
                    refused: Mutex::default(),
                })
            }
        };
        Ok(Self::of(config, active, clock, poll_every))
    }

    fn of(config: &TlsConfig, active: Option<Active>, clock: Arc<dyn Clock>, poll_every: Duration) -> Self {
        let ids = config.tls_peer_ids.clone().unwrap_or_default();
        let settings = Settings { ids, is_required: config.require_tls, clock, poll_every };
        let tls = Self(Arc::new(Inner { settings, active }));
        if tls.0.active.is_some() {
            let inner = Arc::downgrade(&tls.0);
            ended::measure(move || Self(inner.upgrade()?).not_after());
        }
        tls
    }

    fn files(config: &TlsConfig) -> anyhow::Result<Option<Files>> {
        let own = config.tls_certificate.clone().zip(config.tls_key.clone());
        let halves = usize::from(config.tls_certificate.is_some()) + usize::from(config.tls_key.is_some());
        ensure!(halves != 1, "--tls-certificate and --tls-key are of use only together");
        match (own, config.tls_ca.clone()) {
            (None, None) => Ok(None),
            (own, Some(ca)) => Ok(Some(Files { own, ca })),
            (Some(_), None) => {
                bail!("--tls-ca is missing: nobody could be told apart by --tls-certificate alone")
            }
        }
    }

    /// Whether our port speaks TLS.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.current().is_some_and(|current| current.setup.server().is_some())
    }

    /// Whether peers without TLS are refused.
    pub(crate) fn is_required(&self) -> bool {
        self.0.settings.is_required
    }

    /// Who our own certificate says that we are, if we have one.
    #[must_use]
    pub fn id(&self) -> Option<SpiffeId> {
        self.current()?.setup.id().cloned()
    }

    /// When our own certificate ends, if we have one.
    #[must_use]
    pub fn not_after(&self) -> Option<OffsetDateTime> {
        self.current()?.setup.not_after()
    }

    /// Whether a service can be called over TLS, before it is.
    ///
    /// # Errors
    /// When there are no authorities to check its certificate by, or its id is not listed.
    pub(crate) fn can_call(&self, service: &str) -> anyhow::Result<()> {
        recognisable(self.0.active.is_some(), Some(&self.0.settings.ids), service)
    }

    /// Speaks TLS over a connection to a peer, which must be this service, such as `user-service`, at this host. Nothing is
    /// sent over a connection to anybody else. It is ready when the peer, too, has accepted our certificate: its first
    /// bytes have arrived, which a server of HTTP/2 sends unasked.
    ///
    /// # Errors
    /// When the peer is not the service that is meant, does not accept our certificate, or does not answer in time.
    pub async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        service: &str,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let connected = timeout(HANDSHAKE_WITHIN, self.greet(stream, host, service)).await;
        let connected = connected.unwrap_or_else(|_| Err(out_of_time()));
        handshake_ended(Side::Client, connected.as_ref().err().map_or(Handshake::Ok, Handshake::of));
        connected
    }

    async fn greet(
        &self,
        stream: TcpStream,
        host: &str,
        service: &str,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let current = self.current().ok_or_else(|| io::Error::other("TLS is not configured"))?;
        let name =
            ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let config = current.setup.client(self.0.settings.ids.clone(), service);
        let mut stream =
            TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(WrongId::told)?;
        if stream.get_ref().1.alpn_protocol() != Some(setup::HTTP2) {
            return Err(io::Error::other("the peer does not speak HTTP/2"));
        }
        // With TLS 1.3 our side of the handshake is over before the server has looked at our certificate.
        if stream.fill_buf().await?.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(stream)
    }

    /// Speaks TLS with whoever has connected to our port. A client need not show a certificate; one that is not genuine
    /// ends the handshake.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let accepted = timeout(HANDSHAKE_WITHIN, self.welcome(stream)).await;
        let accepted = accepted.unwrap_or_else(|_| Err(out_of_time()));
        let result = match &accepted {
            Ok(accepted) if accepted.client == CertificateIdentity::Unlisted => Handshake::UnlistedId,
            Ok(_) => Handshake::Ok,
            Err(error) => Handshake::of(error),
        };
        handshake_ended(Side::Server, result);
        accepted
    }

    async fn welcome(&self, stream: TcpStream) -> io::Result<Accepted> {
        let current = self.current();
        let (config, not_after) = current
            .as_ref()
            .and_then(|current| current.setup.server().zip(current.setup.not_after()))
            .ok_or_else(|| io::Error::other("TLS is not configured"))?;
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (client, not_after) = match stream.get_ref().1.peer_certificates() {
            None => (CertificateIdentity::Absent, not_after),
            Some(chain) => {
                let certificate = Certificate::of_chain(chain).map_err(io::Error::other)?;
                let client = self.0.settings.ids.identity(certificate.id.as_ref());
                (client, not_after.min(certificate.not_after))
            }
        };
        let valid_for = (not_after - self.0.settings.clock.now()).try_into().unwrap_or(Duration::ZERO);
        Ok(Accepted { stream, client, valid_for })
    }

    fn current(&self) -> Option<Arc<Current>> {
        let active = self.0.active.as_ref()?;
        Some(Arc::clone(&active.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A client whose handshake has succeeded.
pub(crate) struct Accepted {
    pub(crate) stream: server::TlsStream<TcpStream>,
    /// Whose certificate it has shown.
    pub(crate) client: CertificateIdentity,
    /// How long both certificates are valid yet.
    pub(crate) valid_for: Duration,
}

fn out_of_time() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake was not over in time")
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.0.active.as_ref().map(|active| &active.files)).finish()
    }
}
