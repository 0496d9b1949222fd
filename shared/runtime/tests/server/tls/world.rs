//! An authority, the certificates of services, and a server that tells who calls it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::doctor::v1::GetIdentityRequest;
use api::doctor::v1::doctor_service_client::DoctorServiceClient;
use api::order::v1::catalog_service_server::CatalogServiceServer;
use auth::{AuthLayer, PolicyTable, ServiceTokens};
use runtime::client::{AnyServer, Peer, RetryPolicy, retry_unavailable};
use runtime::config::{ServerConfig, TlsConfig};
use runtime::doctor_service::{DatabaseClock, DoctorServer, Program};
use runtime::health::Readiness;
use runtime::server::{Running, Service, start_in_process_with};
use runtime::tls::{PeerIds, Tls};
use testkit::{Authority, Subject, TlsFiles};
use time::OffsetDateTime;
use tonic::service::Routes;
use tonic::{Request, Status};
use types::{Clock as _, ManualClock, SystemClock};
use uuid::Uuid;

use crate::harness::{Catalog, DOMAIN, Everybody, SERVICE_TOKEN, Stage};

pub(super) const CATALOG: &str = "order.v1.CatalogService";
pub(super) const USER: &str = "spiffe://trust.test/ns/shop/sa/user-service";
pub(super) const ORDER: &str = "spiffe://trust.test/ns/shop/sa/order-service";
pub(super) const STRANGER: &str = "spiffe://trust.test/ns/shop/sa/stranger";
/// How often files are read in these tests.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// One authority, a folder for files, and the time, which stands still.
pub(super) struct World {
    pub(super) authority: Authority,
    pub(super) clock: Arc<ManualClock>,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("tristore-tls-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        // Certificates know whole seconds.
        let now = SystemClock.now().replace_nanosecond(0).unwrap();
        let clock = Arc::new(ManualClock::at(now));
        Self { authority: Authority::new("the authority").unwrap(), clock, folder }
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// What is certified of a service on this machine.
    pub(super) fn subject(&self, id: &str) -> Subject {
        Subject::local(id, self.now())
    }

    /// The files of somebody who has this certificate and trusts the world's authority.
    pub(super) fn files(&self, subject: &Subject) -> TlsFiles {
        self.files_of(&self.authority, subject, &self.authority.pem())
    }

    /// The files of somebody who has a certificate of this authority, and trusts these authorities.
    pub(super) fn files_of(&self, issuer: &Authority, subject: &Subject, trusted: &str) -> TlsFiles {
        let folder = self.folder.join(Uuid::new_v4().simple().to_string());
        std::fs::create_dir(&folder).unwrap();
        TlsFiles::write(&folder, &issuer.issue(subject).unwrap(), trusted).unwrap()
    }

    /// TLS of the service with this id.
    pub(super) fn tls(&self, id: &str) -> Tls {
        self.load(&config(&self.files(&self.subject(id))))
    }

    /// TLS of somebody without a certificate.
    pub(super) fn tls_of_nobody(&self) -> Tls {
        let files = self.files(&self.subject(USER));
        self.load(&TlsConfig { tls_certificate: None, tls_key: None, ..config(&files) })
    }

    pub(super) fn load(&self, config: &TlsConfig) -> Tls {
        Tls::load_with(config, Arc::clone(&self.clock) as _, POLL).unwrap()
    }

    /// Order service, with its own certificate.
    pub(super) async fn server(&self) -> Server {
        Server::start(ServerConfig::for_tests(), self.tls(ORDER)).await
    }
}

/// The settings that name these files, and the ids of two services.
pub(super) fn config(files: &TlsFiles) -> TlsConfig {
    TlsConfig {
        tls_certificate: Some(files.certificate.clone()),
        tls_key: Some(files.key.clone()),
        tls_ca: Some(files.ca.clone()),
        tls_peer_ids: Some(PeerIds::parse(&format!("user-service={USER},order-service={ORDER}")).unwrap()),
        require_tls: false,
    }
}

/// A server with a catalog, which tells its callers who they are.
pub(super) struct Server {
    pub(super) running: Running,
    pub(super) stage: Stage,
}

impl Server {
    pub(super) async fn start(config: ServerConfig, tls: Tls) -> Self {
        let stage = Stage::default();
        let catalog = CatalogServiceServer::new(Catalog(stage.clone()));
        let clock = DatabaseClock::new(async || Ok::<_, std::fmt::Error>(OffsetDateTime::UNIX_EPOCH));
        let doctor = DoctorServer::new(Program { name: "order-service", version: "1" }, clock, Vec::new());
        let running = start_in_process_with(config, tls, DOMAIN, async |_| {
            let policies = PolicyTable::for_services(&[CATALOG, "doctor.v1.DoctorService"])?;
            let tokens = ServiceTokens::parse(&format!("order-service={SERVICE_TOKEN}").into())?;
            let auth = AuthLayer::new(policies, tokens, Everybody);
            let routes = Routes::new(catalog).add_service(doctor.into_service());
            Ok(Service { routes, auth, layers: Vec::new(), ready: Readiness::always() })
        });
        Self { running: running.await.unwrap(), stage }
    }

    /// This server as the peer of somebody with this TLS.
    pub(super) fn peer(&self, tls: &Tls) -> Peer {
        Peer::new("--order-url", CATALOG, &self.running.url(), None, tls).unwrap()
    }

    /// The same at `https://`, whatever the server speaks.
    pub(super) fn secure_peer(&self, tls: &Tls) -> Peer {
        let url = format!("https://{}", self.running.addr);
        Peer::new("--order-url", CATALOG, &url, None, tls).unwrap()
    }
}

/// Who the server takes somebody for, whose calls have these headers.
pub(super) async fn caller(peer: &Peer, headers: &[(&'static str, &str)]) -> Result<String, Status> {
    caller_by(peer, Request::new(GetIdentityRequest {}), headers).await
}

/// The same for somebody who does not wait until the server may be called.
pub(super) async fn caller_in_a_hurry(peer: &Peer) -> Result<String, Status> {
    let mut request = Request::new(GetIdentityRequest {});
    request.extensions_mut().insert(AnyServer);
    caller_by(peer, request, &[]).await
}

async fn caller_by(
    peer: &Peer,
    mut request: Request<GetIdentityRequest>,
    headers: &[(&'static str, &str)],
) -> Result<String, Status> {
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let answer = DoctorServiceClient::new(peer.channel()).get_identity(request).await?;
    Ok(answer.into_inner().caller)
}

/// A call as services make it: repeated when it was certainly not sent.
pub(super) async fn call(peer: &Peer) -> Result<String, Status> {
    retry_unavailable(&RetryPolicy::default(), || caller(peer, &[])).await
}
