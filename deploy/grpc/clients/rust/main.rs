//! Reads a product from order service and buys it now and then, as often as wanted, and prints as JSON what the answers were.
//! Each failed call is told on standard error when it fails.
//!
//! `TRISTORE_ORDER_URL` is such as `http://order-service:50052`, `TRISTORE_TOKEN` an access token, or `TRISTORE_TOKEN_FILE` a file
//! with one, which may change. With `https://`, `TLS_CA` is a file with the authorities to trust and `TLS_PEER_IDS` says what the
//! server's certificate must name, as `order-service=spiffe://...`. Arguments: the id of a product, how many calls, where 0 means
//! until it is told to end (SIGTERM), and how many of them a second; without that, one after the other. It reads no service
//! config: the channel of a `Peer` does by itself what that asks for. With `TRISTORE_NO_SERVICE_CONFIG` it repeats no call.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use api::order::v1::catalog_service_client::CatalogServiceClient;
use api::order::v1::order_service_client::OrderServiceClient;
use api::order::v1::transfer_service_client::TransferServiceClient;
use api::order::v1::{GetProductRequest, OrderItem, PayOrderRequest, PlaceOrderRequest};
use clap::Parser as _;
use futures_util::future::join_all;
use runtime::client::{Peer, RetryPolicy, retry_unavailable};
use runtime::config::TlsConfig;
use runtime::tls::Tls;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use uuid::Uuid;

#[derive(clap::Parser)]
struct Args {
    #[arg(long, env = "TRISTORE_ORDER_URL")]
    order_url: String,
    #[arg(long, env = "TRISTORE_TOKEN", hide_env_values = true, required_unless_present = "token_file")]
    token: Option<SecretString>,
    #[arg(long, env = "TRISTORE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    #[arg(long, env = "TRISTORE_NO_SERVICE_CONFIG", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    no_service_config: Option<String>,
    #[command(flatten)]
    tls: TlsConfig,
    product_id: String,
    calls: u32,
    rate: Option<u32>,
}

/// Of so many calls one buys.
const BUYS: u32 = 10;

struct Client {
    /// It leads to all that order service serves.
    order: Peer,
    product_id: String,
    token: Option<SecretString>,
    token_file: Option<PathBuf>,
    policy: RetryPolicy,
}

impl Client {
    /// All of them may be repeated: one has no side effects, and by the request id the service knows a repeat of the others.
    async fn call(&self, number: u32) -> Result<(), Status> {
        let policy = &self.policy;
        if !number.is_multiple_of(BUYS) {
            let message = GetProductRequest { product_id: self.product_id.clone() };
            let read = async || {
                let mut client = CatalogServiceClient::new(self.order.channel());
                client.get_product(self.authorized(message.clone()).await?).await
            };
            return retry_unavailable(policy, read).await.map(drop);
        }
        let item = OrderItem { product_id: self.product_id.clone(), quantity: 1, ..OrderItem::default() };
        let message = PlaceOrderRequest { request_id: Uuid::new_v4().to_string(), items: vec![item] };
        let place = async || {
            let mut client = OrderServiceClient::new(self.order.channel());
            client.place_order(self.authorized(message.clone()).await?).await
        };
        let order = retry_unavailable(policy, place).await?.into_inner().order.unwrap_or_default();
        let message = PayOrderRequest { request_id: Uuid::new_v4().to_string(), order_id: order.id };
        let pay = async || {
            let mut client = TransferServiceClient::new(self.order.channel());
            client.pay_order(self.authorized(message.clone()).await?).await
        };
        retry_unavailable(policy, pay).await.map(drop)
    }

    async fn authorized<T>(&self, message: T) -> Result<Request<T>, Status> {
        let token = match &self.token_file {
            None => self.token.clone().unwrap_or_default(),
            Some(file) => match tokio::fs::read_to_string(file).await {
                Ok(text) => text.into(),
                Err(error) => return Err(Status::unauthenticated(format!("{}: {error}", file.display()))),
            },
        };
        let header = format!("Bearer {}", token.expose_secret()).parse();
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", header.map_err(|_| Status::unauthenticated("no token"))?);
        Ok(request)
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let args = Args::try_parse().context("the arguments")?;
    let Args { order_url, token, token_file, tls, product_id, calls, rate, no_service_config } = args;
    let tls = Tls::load(&tls)?;
    let order = Peer::new("--order-url", "order.v1.OrderService", &order_url, None, &tls)?;
    let attempts_max = if no_service_config.is_some() { 1 } else { RetryPolicy::default().attempts_max };
    let policy = RetryPolicy { attempts_max, ..RetryPolicy::default() };
    let client = Client { order, product_id, token, token_file, policy };
    let ended = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, ended) = (signal(kind)?, ended.clone());
        #[expect(clippy::disallowed_methods, reason = "there is no server, and it ends with the program")]
        tokio::spawn(async move { signals.recv().await.map(|()| ended.cancel()) });
    }
    let (began, last) = (tokio::time::Instant::now(), AtomicU32::new(0));
    let caller = async || {
        let mut answers: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let number = last.fetch_add(1, Ordering::Relaxed) + 1;
            if calls > 0 && number > calls || ended.is_cancelled() {
                return answers;
            }
            if let Some(rate) = rate {
                let turn = tokio::time::sleep_until(began + Duration::from_secs(1) * number / rate);
                if ended.run_until_cancelled(turn).await.is_none() {
                    return answers;
                }
            }
            let answer = match client.call(number).await {
                Ok(()) => "OK".to_owned(),
                Err(status) => {
                    let answer = format!("{:?}: {}", status.code(), status.message());
                    eprintln!("failed: {answer}");
                    answer
                }
            };
            *answers.entry(answer).or_default() += 1;
        }
    };
    let at_once = if rate.is_some() { 16 } else { 1 };
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for (answer, count) in join_all((0..at_once).map(|_| caller())).await.into_iter().flatten() {
        *answers.entry(answer).or_default() += count;
    }
    println!("{}", serde_json::to_string(&answers)?);
    Ok(())
}
