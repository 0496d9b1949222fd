//! A whole user service in this process, on a database of its own, with people who may call it. Session service is a
//! few lines over real gRPC: it knows which token is whose, which is what this service asks it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use api::auth::v1::Role;
use api::common::v1::ErrorReason as Common;
use api::order::v1::order_service_server::{self, OrderServiceServer};
use api::refusal::Refusal;
use api::session::v1::session_service_server::{self, SessionService, SessionServiceServer};
use api::session::v1::*;
use api::user::v1::*;
use auth::token::AccessToken;
use bson::{Document, doc};
use clap::Parser;
use events::service::EventServer;
use mongodb::Database;
use runtime::config::ServerConfig;
use runtime::server::start_in_process;
use testkit::client::{Api, Caller, request_id};
use testkit::{MongoUrls, TestMongo, stand_in, wait_until};
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;
use types::{Clock, SystemClock, SystemIds, UserId};
use user_service::config::MongoConfig;
use user_service::storage::{Shared, Store};
use user_service::{Config, UserService};
use uuid::Uuid;

use crate::holdings_peer::Holdings;
use crate::order_stream::OrderStream;

/// Nobody listens there: everything but the transport of events must work without Redis.
const NO_REDIS: &str = "redis://127.0.0.1:1";
const TOKEN: &str = "user-0123456789abcdefghijklmnopqrstuvw";
const PEER_TOKEN: &str = "peer-9876543210zyxwvutsrqponmlkjihgfed";
const ORDER_TOKEN: &str = "order-5555543210zyxwvutsrqponmlkjihgfe";

/// A collection of the service that has no validator, for documents of tests: the service may write in no other.
pub(crate) const UNCHECKED: &str = "worker_lease";
/// A password that every rule accepts.
pub(crate) const PASSWORD: &str = "an evening in the garden";

/// The service, its database and who may call it.
pub(crate) struct Harness {
    pub(crate) database: Database,
    /// Order service's stream.
    pub(crate) orders: OrderStream,
    /// What order service tells of users.
    pub(crate) holdings: Holdings,
    url: String,
    sessions: Sessions,
    api: Api,
    // Ended in this order: first whoever uses the database, then the database.
    server: Server,
    _mongo: Option<TestMongo>,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) caller: Caller,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more flags.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let mongo = TestMongo::create().await.unwrap();
        let harness = Self::start_on(mongo.urls(), mongo.url(), flags).await;
        Self { _mongo: Some(mongo), ..harness }
    }

    /// With the time from this clock. Where calls are repeated it must be ahead of the machine's: by its own clock MongoDB
    /// deletes answers that are kept for thirty days.
    pub(crate) async fn start_by(clock: Arc<dyn Clock>) -> Self {
        let mongo = TestMongo::create().await.unwrap();
        let harness = Self::start_on_by(clock, mongo.urls(), mongo.url(), &[]).await;
        Self { _mongo: Some(mongo), ..harness }
    }

    /// On a database that the caller keeps, which the service reaches by `url`.
    pub(crate) async fn start_on(urls: &MongoUrls, url: &str, flags: &[&str]) -> Self {
        Self::start_on_by(Arc::new(SystemClock), urls, url, flags).await
    }

    /// The same, with the time from this clock.
    pub(crate) async fn start_on_by(
        clock: Arc<dyn Clock>,
        urls: &MongoUrls,
        url: &str,
        flags: &[&str],
    ) -> Self {
        user_service::migrate(&mongo_config(&urls.migrate)).await.unwrap();
        let (sessions, orders) = (Sessions::default(), OrderStream::default());
        let holdings = Holdings::default();
        let peer = Peer::bind(sessions.clone(), orders.clone(), holdings.clone());
        let peer_url = peer.url();
        let config = config_for(url, &peer_url, flags);
        let server = Server::start(config, clock, peer).await;
        let api = Api::new(&server.url, &peer_url, &peer_url).unwrap();
        let database = database(urls).await;
        Self { database, orders, holdings, url: url.to_owned(), sessions, api, server, _mongo: None }
    }

    /// Where the service is.
    pub(crate) fn service_url(&self) -> String {
        self.server.url.clone()
    }

    /// Where the database is.
    pub(crate) fn mongo_config(&self) -> MongoConfig {
        mongo_config(&self.url)
    }

    pub(crate) fn nobody(&self) -> Caller {
        self.api.anyone()
    }

    /// Calls as session service does.
    pub(crate) fn session_service(&self) -> Caller {
        self.api.bearer(PEER_TOKEN).unwrap()
    }

    /// Calls as order service does.
    pub(crate) fn order_service(&self) -> Caller {
        self.api.bearer(ORDER_TOKEN).unwrap()
    }

    /// Somebody who signs up and logs in.
    pub(crate) async fn customer(&self) -> Person {
        let email = format!("{}@example.com", Uuid::new_v4().simple());
        let request = sign_up(&email);
        // On a busy machine the server may be late: what is unknown is asked again, as a client does.
        let signed_up = wait_until(Duration::from_secs(30), "a sign-up", async || {
            self.sign_up(request.clone()).await.map_err(|status| format!("{status:?}"))
        });
        let user = signed_up.await.unwrap().into_inner().user.unwrap();
        self.log_in(&user.id, &email, Role::Customer)
    }

    /// Somebody who may do everything.
    pub(crate) async fn admin(&self) -> Person {
        let person = self.customer().await;
        let id = bson::Uuid::parse_str(&person.id).unwrap();
        let users = self.database.collection::<Document>("user");
        users.update_one(doc! { "_id": id }, doc! { "$set": { "role": "admin" } }).await.unwrap();
        self.log_in(&person.id, &person.email, Role::Admin)
    }

    /// A session of somebody, with this role.
    pub(crate) fn log_in(&self, id: &str, email: &str, role: Role) -> Person {
        let token = self.sessions.open(id.parse().unwrap(), role);
        Person { id: id.to_owned(), email: email.to_owned(), caller: self.api.bearer(&token).unwrap() }
    }

    pub(crate) async fn sign_up(
        &self,
        request: CreateUserRequest,
    ) -> Result<Response<CreateUserResponse>, Status> {
        self.nobody().users().create_user(request).await
    }

    /// A user as an admin or a service sees one.
    pub(crate) async fn user(&self, id: &str) -> User {
        let request = GetUserRequest { user_id: id.to_owned(), read_mask: None };
        self.session_service().users().get_user(request).await.unwrap().into_inner().user.unwrap()
    }

    /// How many documents are like this.
    pub(crate) async fn count(&self, collection: &str, filter: Document) -> u64 {
        self.database.collection::<Document>(collection).count_documents(filter).await.unwrap()
    }

    /// How many events of a type are in the outbox.
    pub(crate) async fn events(&self, event_type: &str) -> u64 {
        self.count("outbox", doc! { "type": event_type }).await
    }
}

/// The settings of a service on this database.
pub(crate) fn config_for(url: &str, peer_url: &str, flags: &[&str]) -> Config {
    let tokens = format!("session-service={PEER_TOKEN},order-service={ORDER_TOKEN}");
    let arguments = [
        "test",
        "--listen=127.0.0.1:0",
        "--service-token",
        TOKEN,
        "--service-tokens",
        &tokens,
        "--mongodb-url",
        url,
        "--redis-events-url",
        NO_REDIS,
        "--session-url",
        peer_url,
        "--order-url",
        peer_url,
        "--argon2-passes=1",
    ];
    let cheap = ["--argon2-memory-kib=64"];
    let is_cheap = !flags.iter().any(|flag| flag.starts_with("--argon2"));
    let flags = flags.iter().chain(if is_cheap { &cheap[..] } else { &[] });
    let mut config = Arguments::parse_from(arguments.iter().chain(flags)).config;
    config.server =
        ServerConfig { request_deadline: config.server.request_deadline, ..ServerConfig::for_tests() };
    config
}

pub(crate) fn mongo_config(url: &str) -> MongoConfig {
    MongoConfig::for_tests(url)
}

/// The database as who may do everything.
pub(crate) async fn database(urls: &MongoUrls) -> Database {
    mongodb::Client::with_uri_str(&urls.admin).await.unwrap().database(&urls.database)
}

/// The store of a service on a database that has been migrated for it.
pub(crate) async fn migrated(urls: &MongoUrls) -> Store {
    user_service::migrate(&mongo_config(&urls.migrate)).await.unwrap();
    Store::connect(&mongo_config(&urls.runtime), Shared::default()).await.unwrap()
}

/// A request that nothing is wrong with.
pub(crate) fn sign_up(email: &str) -> CreateUserRequest {
    CreateUserRequest {
        request_id: request_id(),
        email: email.to_owned(),
        display_name: "Ann".to_owned(),
        password: PASSWORD.to_owned(),
    }
}

/// Whether the answer is one that was given before.
pub(crate) fn is_replay<T>(response: &Response<T>) -> bool {
    response.metadata().get("idempotent-replay").is_some_and(|value| value == "true")
}

/// An error as a client switches on it: code, reason, and what the details are about.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String, Vec<String>) {
    let status = outcome.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has a reason").clone();
    assert_eq!(info.domain, "user.tristore");
    assert!(details.request_info().is_some_and(|info| !info.request_id.is_empty()));
    let mut subjects: Vec<String> = Vec::new();
    if let Some(bad) = details.bad_request() {
        subjects.extend(
            bad.field_violations.iter().map(|violation| format!("{} {}", violation.field, violation.reason)),
        );
    }
    if let Some(resource) = details.resource_info() {
        subjects.push(format!("{} {}", resource.resource_type, resource.resource_name));
    }
    if let Some(failure) = details.precondition_failure() {
        subjects.extend(failure.violations.iter().map(|violation| violation.subject.clone()));
    }
    (status.code(), info.reason, subjects)
}

/// What [`refusal`] gives for one subject, or none.
pub(crate) fn refused(code: Code, reason: &str, subjects: &[&str]) -> (Code, String, Vec<String>) {
    (code, reason.to_owned(), subjects.iter().map(|subject| (*subject).to_owned()).collect())
}

/// The service and its peers, on a thread of their own as a process has one. Ended in order: a worker that is cut off
/// in the middle of a transaction leaves it open, and the drop of a test's database waits for that, with everybody
/// else's statements behind it.
struct Server {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    async fn start(config: Config, clock: Arc<dyn Clock>, peer: Peer) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, starts) = oneshot::channel();
        let serve = async move {
            let server_config = config.server.clone();
            let service = UserService::new(config, clock, Arc::new(SystemIds)).unwrap();
            let peers = peer.serve();
            let start = move |core| service.start(core);
            let server = start_in_process(server_config, UserService::domain(), start);
            tokio::pin!(peers);
            let server = tokio::select! {
                server = server => server.unwrap(),
                () = &mut peers => unreachable!("the peers serve for ever"),
            };
            started.send(server.url()).unwrap();
            tokio::select! {
                _ = stopped => {}
                () = &mut peers => {}
            }
            tokio::select! {
                () = server.stop() => {}
                () = &mut peers => {}
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // What it logs is the test's.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let serve = move || tracing::dispatcher::with_default(&log, || runtime.block_on(serve));
        let thread = std::thread::spawn(serve);
        let url = starts.await.expect("the service starts");
        Self { url, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread is gone already if the service failed; then the test says so.
        let _gone = self.stop.take().map(|stop| stop.send(()));
        let _failed = self.thread.take().map(JoinHandle::join);
    }
}

/// Session and order service as this service sees them, on one port.
struct Peer {
    listener: std::net::TcpListener,
    sessions: Sessions,
    orders: OrderStream,
    holdings: Holdings,
}

impl Peer {
    fn bind(sessions: Sessions, orders: OrderStream, holdings: Holdings) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, sessions, orders, holdings }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    async fn serve(self) {
        let listener = tokio::net::TcpListener::from_std(self.listener).unwrap();
        let events = EventServer::new(self.orders, CancellationToken::new());
        let health =
            stand_in(&[session_service_server::SERVICE_NAME, order_service_server::SERVICE_NAME]).await;
        tonic::transport::Server::builder()
            .add_service(health)
            .add_service(SessionServiceServer::new(self.sessions))
            .add_service(OrderServiceServer::new(self.holdings))
            .add_service(events.into_service())
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    }
}

/// Who is logged in, by token.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, (UserId, Role)>>>);

impl Sessions {
    fn open(&self, user_id: UserId, role: Role) -> String {
        let token = AccessToken::generate(0).expose().to_owned();
        self.0.lock().unwrap().insert(token.clone(), (user_id, role));
        token
    }
}

fn not_imitated<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not imitated"))
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn validate_session(
        &self,
        request: Request<ValidateSessionRequest>,
    ) -> Result<Response<ValidateSessionResponse>, Status> {
        let token = request.into_inner().access_token;
        let Some((user_id, role)) = self.0.lock().unwrap().get(&token).copied() else {
            let reason = Common::InvalidCredentials;
            return Err(Refusal::new(Code::Unauthenticated, &reason, "no").into_status());
        };
        let expires = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        Ok(Response::new(ValidateSessionResponse {
            session_id: Uuid::now_v7().to_string(),
            user_id: user_id.to_string(),
            role: role.into(),
            access_expire_time: Some(expires.into()),
        }))
    }

    async fn login(&self, _: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        not_imitated()
    }

    async fn refresh_session(
        &self,
        _: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        not_imitated()
    }

    async fn list_sessions(
        &self,
        _: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        not_imitated()
    }

    async fn revoke_session(
        &self,
        _: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        not_imitated()
    }

    async fn revoke_all_sessions(
        &self,
        _: Request<RevokeAllSessionsRequest>,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        not_imitated()
    }
}
