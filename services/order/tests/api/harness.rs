//! A whole order service in this process, with people who may call it.

use std::sync::Arc;
use std::time::Duration;

use api::auth::v1::Role;
use api::common::v1::Money;
use api::order::v1::{
    CreateProductRequest, GetOrderRequest, GetProductRequest, Order, OrderItem, PlaceOrderRequest, Product,
};
use clap::Parser;
use order_service::config::{Config, Pooler, PostgresConfig};
use order_service::{DOMAIN, OrderService, schema};
use runtime::config::ServerConfig;
use runtime::server::{Running, start_in_process};
use sqlx::{Connection as _, PgConnection};
use testkit::client::{Api, Caller};
use testkit::{PoolerSettings, TestPostgres};
use tonic::{Response, Status};
use types::{Clock, SystemClock, SystemIds};
use uuid::Uuid;

use crate::peers::Peers;

/// Nobody listens there: everything but the transport of events must work without Redis.
const NO_REDIS: &str = "redis://127.0.0.1:1";
const TOKEN: &str = "order-0123456789abcdefghijklmnopqrstuv";
const PEER_TOKEN: &str = "user-9876543210zyxwvutsrqponmlkjihgfe";

/// An empty database with the schema, copied from a template.
pub(crate) async fn database() -> TestPostgres {
    let versions = schema::MIGRATOR.iter().map(|migration| i128::from(migration.version)).sum::<i128>();
    let sums: u64 = schema::MIGRATOR
        .iter()
        .flat_map(|migration| migration.checksum.iter())
        .map(|byte| u64::from(*byte))
        .sum();
    let key = format!("order_{versions}_{sums}");
    let migrate = async |url: String| {
        schema::migrate(&PostgresConfig::for_tests(&url)).await?;
        anyhow::Ok(())
    };
    TestPostgres::migrated(&key, migrate).await.unwrap()
}

/// How to reach a database through a pooler that knows no prepared statements.
pub(crate) async fn behind_pooler(database: &TestPostgres) -> PostgresConfig {
    let url = database.url_through_pooler(PoolerSettings::Refused).await.unwrap();
    PostgresConfig { postgres_pooler: Pooler::Transaction, ..PostgresConfig::for_tests(&url) }
}

/// The service, its database and its peers.
pub(crate) struct Harness {
    pub(crate) service: OrderService,
    pub(crate) peers: Peers,
    pub(crate) database: TestPostgres,
    api: Api,
    server: Running,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
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
        Self::start_by(Arc::new(SystemClock), flags).await
    }

    /// With more flags, and the time from this clock.
    pub(crate) async fn start_by(clock: Arc<dyn Clock>, flags: &[&str]) -> Self {
        let database = database().await;
        let url = database.url().to_owned();
        Self::start_at(database, &url, clock, flags).await
    }

    /// With a pooler between the service and its database; tests look at the database itself.
    pub(crate) async fn start_behind_pooler(flags: &[&str]) -> Self {
        let database = database().await;
        let url = database.url_through_pooler(PoolerSettings::Refused).await.unwrap();
        Self::start_on(database, &url, &[&["--postgres-pooler=transaction"], flags].concat()).await
    }

    /// With another URL of its database, such as one with another login.
    pub(crate) async fn start_on(database: TestPostgres, url: &str, flags: &[&str]) -> Self {
        Self::start_at(database, url, Arc::new(SystemClock), flags).await
    }

    async fn start_at(database: TestPostgres, url: &str, clock: Arc<dyn Clock>, flags: &[&str]) -> Self {
        let peers = Peers::start().await;
        peers.audits.agree_with(database.url());
        let tokens = format!("user-service={PEER_TOKEN}");
        let arguments = [
            "test",
            "--listen=127.0.0.1:0",
            "--service-token",
            TOKEN,
            "--service-tokens",
            &tokens,
            "--postgres-url",
            url,
            "--redis-events-url",
            NO_REDIS,
            "--user-url",
            peers.url(),
            "--session-url",
            peers.url(),
        ];
        let mut config = Arguments::parse_from(arguments.iter().chain(flags)).config;
        config.server =
            ServerConfig { request_deadline: config.server.request_deadline, ..ServerConfig::for_tests() };
        let server_config = config.server.clone();
        let service = OrderService::with_time_and_ids(config, clock, Arc::new(SystemIds)).unwrap();
        let starting = service.clone();
        let server = start_in_process(server_config, DOMAIN, move |core| starting.start(core)).await.unwrap();
        let api = Api::new(peers.url(), &server.url(), peers.url()).unwrap();
        Self { service, peers, database, api, server }
    }

    /// Stops the service as SIGTERM does; what it worked with is left.
    pub(crate) async fn stop(self) -> (TestPostgres, Peers) {
        self.server.stop().await;
        (self.database, self.peers)
    }

    /// Somebody new, whom both peers know.
    pub(crate) fn person(&self, role: Role) -> Person {
        let (id, token) = self.peers.sign_up(role);
        Person { id: id.to_string(), caller: self.api.bearer(&token).unwrap() }
    }

    /// Calls as the service of this name does.
    pub(crate) fn peer_service(&self) -> Caller {
        self.api.bearer(PEER_TOKEN).unwrap()
    }

    pub(crate) fn nobody(&self) -> Caller {
        self.api.anyone()
    }

    /// Where the service is.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// A connection of the test's own, for looking at rows and holding locks.
    pub(crate) async fn sql(&self) -> PgConnection {
        PgConnection::connect(self.database.url()).await.unwrap()
    }

    /// The single number that a query gives.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.sql().await).await.unwrap()
    }

    /// How many events of a type are in the outbox.
    pub(crate) async fn events(&self, event_type: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE type = $1")
            .bind(event_type)
            .fetch_one(&mut self.sql().await)
            .await
            .unwrap()
    }

    /// What must be so after every test.
    pub(crate) async fn assert_stock_adds_up(&self, product: &Product) {
        let query =
            "SELECT coalesce(sum(quantity), 0)::bigint FROM order_items JOIN orders ON orders.id = order_id
                     WHERE product_id = $1::uuid AND state <> 'cancelled'";
        let sold: i64 = sqlx::query_scalar(query)
            .bind(Uuid::parse_str(&product.id).unwrap())
            .fetch_one(&mut self.sql().await)
            .await
            .unwrap();
        let left = self.nobody_in_particular().product(&product.id).await.stock;
        assert_eq!(left + sold, product.stock, "{left} left, {sold} sold");
    }

    fn nobody_in_particular(&self) -> Person {
        self.person(Role::Customer)
    }
}

pub(crate) fn eur(minor_units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), minor_units }
}

pub(crate) fn request_id() -> String {
    Uuid::new_v4().to_string()
}

pub(crate) fn item(product: &Product, quantity: i64) -> OrderItem {
    OrderItem { product_id: product.id.clone(), quantity, ..OrderItem::default() }
}

pub(crate) fn placing(items: Vec<OrderItem>) -> PlaceOrderRequest {
    PlaceOrderRequest { request_id: request_id(), items }
}

/// Whether the answer is one that was given before.
pub(crate) fn is_replay<T>(response: &Response<T>) -> bool {
    response.metadata().get("idempotent-replay").is_some_and(|value| value == "true")
}

pub(crate) const WITHIN: Duration = Duration::from_secs(10);

impl Person {
    pub(crate) async fn sell(&self, price: Money, stock: i64) -> Product {
        let request = CreateProductRequest {
            request_id: request_id(),
            name: "Tea".to_owned(),
            unit_price: Some(price),
            stock,
        };
        self.caller.catalog().create_product(request).await.unwrap().into_inner().product.unwrap()
    }

    pub(crate) async fn place(&self, request: PlaceOrderRequest) -> Result<Order, Status> {
        Ok(self.caller.orders().place_order(request).await?.into_inner().order.unwrap())
    }

    pub(crate) async fn buy(&self, product: &Product, quantity: i64) -> Order {
        self.place(placing(vec![item(product, quantity)])).await.unwrap()
    }

    pub(crate) async fn order(&self, id: &str) -> Result<Order, Status> {
        let request = GetOrderRequest { order_id: id.to_owned() };
        Ok(self.caller.orders().get_order(request).await?.into_inner().order.unwrap())
    }

    pub(crate) async fn product(&self, id: &str) -> Product {
        let request = GetProductRequest { product_id: id.to_owned() };
        self.caller.catalog().get_product(request).await.unwrap().into_inner().product.unwrap()
    }
}
