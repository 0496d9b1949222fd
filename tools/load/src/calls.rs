//! The calls that can be driven, as their users make them.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use api::order::v1::order_service_client::OrderServiceClient;
use api::order::v1::{GetOrderRequest, OrderItem, PlaceOrderRequest};
use api::session::v1::session_service_client::SessionServiceClient;
use api::session::v1::{LoginRequest, ValidateSessionRequest};
use api::user::v1::post_service_client::PostServiceClient;
use api::user::v1::user_service_client::UserServiceClient;
use api::user::v1::{GetUserRequest, ListPostsRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use crate::drive;

/// Which call.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Target {
    /// `grpc.health.v1.Health/Check`: no database, and no identity.
    Empty,
    /// `session.v1.SessionService/ValidateSession`; the token of the call must be a service's.
    ValidateSession {
        /// The tokens to validate. Each call in flight has one of its own if there are enough.
        #[arg(long, required = true)]
        access_token: Vec<String>,
    },
    /// `session.v1.SessionService/Login`.
    Login {
        /// The addresses to log in with. None is used by two calls at a time, so there must be as many as calls in
        /// flight.
        #[arg(long, required = true)]
        email: Vec<String>,
        /// The password of all of them.
        #[arg(long)]
        password: String,
    },
    /// `user.v1.UserService/GetUser`.
    GetUser {
        /// The users to read.
        #[arg(long, required = true)]
        user_id: Vec<String>,
    },
    /// `user.v1.PostService/ListPosts`: the first page of all posts.
    ListPosts {
        /// Posts on a page.
        #[arg(long, default_value_t = 50)]
        page_size: i32,
    },
    /// `order.v1.OrderService/GetOrder`.
    GetOrder {
        /// The orders to read.
        #[arg(long, required = true)]
        order_id: Vec<String>,
    },
    /// `order.v1.OrderService/PlaceOrder`: a new order each time.
    PlaceOrder {
        /// The products to choose from, all of one seller.
        #[arg(long, required = true)]
        product_id: Vec<String>,
        /// The number of different products in an order.
        #[arg(long, default_value_t = 3)]
        items: usize,
    },
}

/// Which service the calls go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// User service.
    User,
    /// Order service.
    Order,
    /// Session service.
    Session,
}

impl Target {
    /// The service that the call goes to; `None` for an empty call, which can go to each.
    #[must_use]
    pub fn service(&self) -> Option<Service> {
        match self {
            Self::Empty => None,
            Self::ValidateSession { .. } | Self::Login { .. } => Some(Service::Session),
            Self::GetUser { .. } | Self::ListPosts { .. } => Some(Service::User),
            Self::GetOrder { .. } | Self::PlaceOrder { .. } => Some(Service::Order),
        }
    }
}

/// Adds the token to each call, if there is one.
#[derive(Debug, Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Calls with this token; without one when it is empty.
    ///
    /// # Errors
    /// When it cannot be sent in a header.
    pub fn new(token: &str) -> Result<Self> {
        let value = (!token.is_empty()).then(|| format!("Bearer {token}").parse().context("a token"));
        Ok(Self(value.transpose()?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A connection whose calls carry a token.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Connects, to `https://` with these authorities in PEM.
///
/// # Errors
/// When nobody listens there, or it is not who is meant.
pub async fn connect(url: &str, authorities: Option<&str>, bearer: Bearer) -> Result<Connection> {
    let mut endpoint = Endpoint::from_shared(url.to_owned()).with_context(|| format!("{url} is no URL"))?;
    if let Some(authorities) = authorities {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
        endpoint = endpoint.tls_config(tls).context("reading the authorities")?;
    }
    let channel = endpoint.connect().await.with_context(|| format!("connecting to {url}"))?;
    Ok(InterceptedService::new(channel, bearer))
}

/// Calls one target over one connection.
#[derive(Debug, Clone)]
pub struct Caller {
    target: Arc<Target>,
    connection: Connection,
}

impl Caller {
    /// Calls `target` over `connection`.
    ///
    /// # Errors
    /// When an order wants more products than there are.
    pub fn new(target: Target, connection: Connection) -> Result<Self> {
        if let Target::PlaceOrder { product_id, items } = &target {
            ensure!(
                product_id.len() >= *items,
                "an order of {items} products needs at least that many to choose from"
            );
        }
        Ok(Self { target: Arc::new(target), connection })
    }
}

/// The item of a list that belongs to a lane.
fn of(list: &[String], lane: usize) -> String {
    list[lane % list.len()].clone()
}

impl drive::Call for Caller {
    async fn call(&self, lane: usize) -> Result<(), Status> {
        let connection = self.connection.clone();
        match &*self.target {
            Target::Empty => {
                HealthClient::new(connection).check(HealthCheckRequest::default()).await.map(drop)
            }
            Target::ValidateSession { access_token } => {
                let request = ValidateSessionRequest { access_token: of(access_token, lane) };
                SessionServiceClient::new(connection).validate_session(request).await.map(drop)
            }
            Target::Login { email, password } => {
                let request = LoginRequest {
                    email: of(email, lane),
                    password: password.clone(),
                    client_name: "load".to_owned(),
                };
                SessionServiceClient::new(connection).login(request).await.map(drop)
            }
            Target::GetUser { user_id } => {
                let request = GetUserRequest { user_id: of(user_id, lane), read_mask: None };
                UserServiceClient::new(connection).get_user(request).await.map(drop)
            }
            Target::ListPosts { page_size } => {
                let request = ListPostsRequest { page_size: *page_size, ..ListPostsRequest::default() };
                PostServiceClient::new(connection).list_posts(request).await.map(drop)
            }
            Target::GetOrder { order_id } => {
                let request = GetOrderRequest { order_id: of(order_id, lane) };
                OrderServiceClient::new(connection).get_order(request).await.map(drop)
            }
            Target::PlaceOrder { product_id, items } => {
                place_order(&connection, product_id, *items).await.map(drop)
            }
        }
    }
}

/// Places an order of some of these products, and returns its id.
pub(crate) async fn place_order(
    connection: &Connection,
    product_ids: &[String],
    items: usize,
) -> Result<String, Status> {
    let first = fastrand::usize(..product_ids.len());
    let items = (first..first + items).map(|at| OrderItem {
        product_id: of(product_ids, at),
        quantity: 1,
        ..OrderItem::default()
    });
    let request = PlaceOrderRequest { request_id: Uuid::new_v4().to_string(), items: items.collect() };
    let answer = OrderServiceClient::new(connection.clone()).place_order(request).await?.into_inner();
    answer.order.map(|order| order.id).ok_or_else(|| Status::internal("an answer without an order"))
}
