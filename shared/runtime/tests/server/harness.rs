//! A catalog whose products are behaviours, behind the whole server.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use api::common::v1::ErrorReason;
use api::order::v1::catalog_service_client::CatalogServiceClient;
use api::order::v1::catalog_service_server::{CatalogService, CatalogServiceServer};
use api::order::v1::{
    CreateProductRequest, CreateProductResponse, GetProductRequest, GetProductResponse, Product,
    UpdateProductRequest, UpdateProductResponse,
};
use api::refusal::Refusal;
use auth::token::AccessToken;
use auth::{
    AuthLayer, Person, PolicyTable, Principal, ServiceTokens, SessionVerifier, Verified, VerifyError,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::config::ServerConfig;
use runtime::deadline::Deadline;
use runtime::health::Readiness;
use runtime::server::{Core, Running, Service, UnaryLayer, start_in_process};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use types::{Role, SessionId, UserId};
use uuid::Uuid;

pub(crate) const DOMAIN: &str = "test.tristore";
/// The token of order service.
pub(crate) const SERVICE_TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0aa";
pub(crate) const GET: &str = "/order.v1.CatalogService/GetProduct";
/// A streaming method that sends back what it gets; only [`Harness::start_with_layers`] has it.
pub(crate) const ECHO: &str = "/order.v1.TransferService/WatchTransfer";
/// Long enough to never pass, short enough to end a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a handler saw of its last request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) metadata: MetadataMap,
    pub(crate) principal: Principal,
    pub(crate) remaining: Option<Duration>,
    pub(crate) traceparent: Option<String>,
}

/// Shared by the handler and the test.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// A permit for every call that began to wait.
    pub(crate) waiting: Arc<Semaphore>,
    /// A permit lets one of them go on.
    pub(crate) go_on: Arc<Semaphore>,
    /// A permit for every handler that was dropped in the middle.
    pub(crate) dropped: Arc<Semaphore>,
    pub(crate) seen: Arc<Mutex<Option<Seen>>>,
    /// How many calls there were.
    pub(crate) calls: Arc<AtomicUsize>,
    /// The other ends of the connections that they came over.
    pub(crate) callers: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Default for Stage {
    fn default() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self {
            waiting: none(),
            go_on: none(),
            dropped: none(),
            seen: Arc::default(),
            calls: Arc::default(),
            callers: Arc::default(),
        }
    }
}

impl Stage {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The service of this stage.
    pub(crate) fn catalog(&self) -> CatalogServiceServer<impl CatalogService> {
        CatalogServiceServer::new(Catalog(self.clone()))
    }
}

#[derive(Debug)]
pub(crate) struct Catalog(pub(crate) Stage);

/// Tells that it was dropped.
struct Alarm(Arc<Semaphore>);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_product(
        &self,
        _: Request<CreateProductRequest>,
    ) -> Result<Response<CreateProductResponse>, Status> {
        Ok(Response::new(CreateProductResponse::default()))
    }

    async fn update_product(
        &self,
        _: Request<UpdateProductRequest>,
    ) -> Result<Response<UpdateProductResponse>, Status> {
        Ok(Response::new(UpdateProductResponse::default()))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<GetProductResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.0.callers.lock().unwrap().extend(request.remote_addr());
        *self.0.seen.lock().unwrap() = Some(Seen {
            metadata: request.metadata().clone(),
            principal: Principal::of(&request),
            remaining: request.extensions().get::<Deadline>().map(|deadline| deadline.remaining()),
            traceparent: runtime::telemetry::current_traceparent(),
        });
        let id = request.into_inner().product_id;
        match id.as_str() {
            "panic" => panic!("a panic that a test asked for"),
            "wait" => {
                let alarm = Alarm(Arc::clone(&self.0.dropped));
                self.0.waiting.add_permits(1);
                self.0.go_on.acquire().await.unwrap().forget();
                std::mem::forget(alarm);
            }
            "careless" => return Err(Status::internal("connect to postgres://app:s3cret@db failed")),
            "refused" => {
                let reason = ErrorReason::VersionMismatch;
                return Err(Refusal::new(Code::Aborted, &reason, "changed since").into_status());
            }
            _ => {}
        }
        let id = if id == "long" { "x".repeat(api::codec::MESSAGE_SIZE_LIMIT) } else { id };
        Ok(Response::new(GetProductResponse { product: Some(Product { id, ..Product::default() }) }))
    }
}

/// Knows nothing of messages.
#[derive(Debug, Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "order.v1.TransferService";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(http::Response::new(request.into_body())))
    }
}

/// Everybody with a token is a customer.
#[derive(Debug, Clone)]
pub(crate) struct Everybody;

impl SessionVerifier for Everybody {
    async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
        let person = Person {
            user_id: UserId::from_uuid(Uuid::from_u128(1)),
            role: Role::Customer,
            session_id: SessionId::from_uuid(Uuid::from_u128(2)),
        };
        Ok(Verified { person, expires_at: time::OffsetDateTime::UNIX_EPOCH })
    }
}

pub(crate) struct Harness {
    pub(crate) server: Running,
    pub(crate) stage: Stage,
    pub(crate) channel: Channel,
    pub(crate) token: String,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(ServerConfig::for_tests(), Readiness::always(), |_| {}).await
    }

    pub(crate) async fn start_with(
        config: ServerConfig,
        ready: Readiness,
        workers: impl FnOnce(&Core),
    ) -> Self {
        Self::launch(config, ready, workers, &["order.v1.CatalogService"], Vec::new()).await
    }

    pub(crate) async fn start_with_layers(layers: Vec<Arc<dyn UnaryLayer>>) -> Self {
        let services = ["order.v1.CatalogService", Echo::NAME];
        Self::launch(ServerConfig::for_tests(), Readiness::always(), |_| {}, &services, layers).await
    }

    async fn launch(
        config: ServerConfig,
        ready: Readiness,
        workers: impl FnOnce(&Core),
        services: &[&str],
        layers: Vec<Arc<dyn UnaryLayer>>,
    ) -> Self {
        let stage = Stage::default();
        let catalog = stage.catalog();
        let server = start_in_process(config, DOMAIN, async |core| {
            workers(&core);
            let policies = PolicyTable::for_services(services)?;
            let tokens = ServiceTokens::parse(&format!("order-service={SERVICE_TOKEN}").into())?;
            let auth = AuthLayer::new(policies, tokens, Everybody);
            Ok(Service { routes: Routes::new(catalog).add_service(Echo), auth, layers, ready })
        });
        let server = server.await.unwrap();
        let channel = connect(&server).await;
        let token = format!("Bearer {}", AccessToken::generate(0).expose());
        Self { server, stage, channel, token }
    }

    /// Gets a product, that is: has the handler behave.
    pub(crate) async fn get(
        &self,
        product_id: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Product, Status> {
        let request = self.request(product_id, headers);
        let answer = CatalogServiceClient::new(self.channel.clone()).get_product(request).await?;
        Ok(answer.into_inner().product.unwrap())
    }

    pub(crate) fn request(
        &self,
        product_id: &str,
        headers: &[(&'static str, &str)],
    ) -> Request<GetProductRequest> {
        let mut request = Request::new(GetProductRequest { product_id: product_id.to_owned() });
        request.metadata_mut().insert("authorization", self.token.parse().unwrap());
        for (name, value) in headers {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    /// Sends bytes as they are, with their frame if they have one.
    pub(crate) async fn send(&self, path: &str, headers: &[(&str, &str)], bytes: &[u8]) -> Status {
        let response = self.post(path, headers, Full::new(Bytes::copy_from_slice(bytes))).await;
        assert_eq!(response.status(), 200);
        if let Some(status) = Status::from_header_map(response.headers()) {
            return status;
        }
        let collected = response.into_body().collect().await.unwrap();
        Status::from_header_map(collected.trailers().unwrap()).unwrap()
    }

    /// Posts over a connection of its own, by a client that adds nothing and enforces nothing.
    pub(crate) async fn post<B>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: B,
    ) -> http::Response<hyper::body::Incoming>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let stream = TcpStream::connect(self.server.addr).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
        tokio::spawn(connection);
        let mut request = http::Request::post(format!("{}{path}", self.server.url()))
            .header("te", "trailers")
            .header("authorization", &self.token);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(body).unwrap()).await.unwrap()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.stage.seen.lock().unwrap().clone().expect("a handler was called")
    }
}

pub(crate) async fn connect(server: &Running) -> Channel {
    Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap()
}

/// Waits for the permit that a handler gives.
pub(crate) async fn take(permits: &Semaphore) {
    tokio::time::timeout(PATIENCE, permits.acquire()).await.expect("the handler came here").unwrap().forget();
}

/// Code and reason of an error that is complete; whatever it is, it has the domain and a trace id.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let details: ErrorDetails = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    let request = details.request_info().unwrap_or_else(|| panic!("no RequestInfo: {status:?}"));
    assert_eq!(info.domain, DOMAIN);
    assert_eq!(request.request_id.len(), 32);
    (status.code(), info.reason.clone())
}

/// A message in its frame.
pub(crate) fn frame(flag: u8, length: u32, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flag];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes
}
