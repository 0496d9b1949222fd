//! Session service and its neighbours with certificates and without any service token.

use std::path::PathBuf;

use api::session::v1::session_service_client::SessionServiceClient;
use api::session::v1::{LoginRequest, ValidateSessionRequest};
use auth::ServiceTokens;
use runtime::client;
use runtime::config::{ServerConfig, TlsConfig, parse_from};
use runtime::server::start_in_process;
use runtime::tls::{PeerIds, Tls};
use session_service::{Action, Command, DOMAIN, LISTEN, SessionService};
use testkit::{Authority, Subject, TestRedis, TlsFiles};
use tonic::{Code, Request};
use types::{Clock as _, Role, SystemClock};
use uuid::Uuid;

use crate::peer::Peer;

const SESSIONS: &str = "session.v1.SessionService";

/// Certificates of one authority, in a folder that is gone when the test is over.
struct Certificates {
    authority: Authority,
    folder: PathBuf,
}

impl Drop for Certificates {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

impl Certificates {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("tristore-secure-{}", Uuid::new_v4().simple()));
        Self { authority: Authority::new("the authority").unwrap(), folder }
    }

    /// The settings of a service of this name.
    fn of(&self, name: &str) -> TlsConfig {
        let id = |name: &str| format!("spiffe://trust.test/{name}");
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let issued = self.authority.issue(&Subject::local(&id(name), SystemClock.now())).unwrap();
        let files = TlsFiles::write(&folder, &issued, &self.authority.pem()).unwrap();
        let ids = ["user-service", "session-service"].map(|name| format!("{name}={}", id(name))).join(",");
        TlsConfig {
            tls_certificate: Some(files.certificate),
            tls_key: Some(files.key),
            tls_ca: Some(files.ca),
            tls_peer_ids: Some(PeerIds::parse(&ids).unwrap()),
            require_tls: false,
        }
    }
}

fn secured(tls: TlsConfig) -> ServerConfig {
    ServerConfig { tls, ..ServerConfig::for_tests() }
}

/// Claim: session service logs people in at user service, and user service has sessions verified, by certificates alone.
#[tokio::test]
async fn services_with_certificates_need_no_tokens() {
    let certificates = Certificates::new();
    let (of_user, of_session) = (certificates.of("user-service"), certificates.of("session-service"));
    let (peer, user_service) = Peer::start_on(secured(of_user.clone()), ServiceTokens::default()).await;
    let (sessions, events) = (TestRedis::sessions().await.unwrap(), TestRedis::events().await.unwrap());
    let path = |path: &Option<PathBuf>| path.clone().unwrap().display().to_string();
    let ids =
        "user-service=spiffe://trust.test/user-service,session-service=spiffe://trust.test/session-service";
    let (certificate, key, ca) =
        (path(&of_session.tls_certificate), path(&of_session.tls_key), path(&of_session.tls_ca));
    let line = [
        ["session-service", "serve"],
        ["--redis-session-url", sessions.url()],
        ["--redis-events-url", events.url()],
        ["--user-url", &user_service.url()],
        ["--tls-certificate", &certificate],
        ["--tls-key", &key],
        ["--tls-ca", &ca],
        ["--tls-peer-ids", ids],
        ["--redis-command-timeout", "5s"],
    ];
    let service = match parse_from::<Command, _>(LISTEN, line.concat()).unwrap().action {
        Action::Serve(config) => SessionService::new(*config).unwrap(),
        _ => unreachable!("the line says serve"),
    };
    let session =
        start_in_process(secured(of_session.clone()), DOMAIN, |core| service.start(core)).await.unwrap();

    let user = peer.sign_up(Role::Customer);
    let person = Tls::load(&TlsConfig { tls_certificate: None, tls_key: None, ..of_user.clone() }).unwrap();
    let channel = |tls: &Tls| {
        let peer = client::Peer::new("--session-url", SESSIONS, &session.url(), None, tls).unwrap();
        SessionServiceClient::new(peer.anonymous())
    };
    let request = LoginRequest {
        email: user.email.clone(),
        password: user.password.clone(),
        ..LoginRequest::default()
    };
    let login = channel(&person).login(request).await.unwrap().into_inner();
    let validate = |tls: &Tls| {
        let mut client = channel(tls);
        let request = Request::new(ValidateSessionRequest { access_token: login.access_token.clone() });
        async move { client.validate_session(request).await }
    };
    let validated = validate(&Tls::load(&of_user).unwrap()).await.unwrap().into_inner();
    assert_eq!(validated.user_id, user.id.to_string());
    assert_eq!(validate(&person).await.unwrap_err().code(), Code::Unauthenticated);
}
