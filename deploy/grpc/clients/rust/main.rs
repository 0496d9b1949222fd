//! Reads a product from order service and buys it now and then, as often as wanted, and prints what the answers were.
//!
//! `TRISTORE_ORDER_URL` is such as `http://order-service:50052`, `TRISTORE_TOKEN` an access token. With `https://`, `TLS_CA` is a file
//! with the authorities to trust and `TLS_PEER_IDS` says what the server's certificate must name, as
//! `order-service=spiffe://...`. Arguments: the id of a product, how many calls, and how many of them a second; without that,
//! one after the other. It reads no service config: the channel of a `Peer` does by itself what that asks for.

use std::collections::BTreeMap;
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
use secrecy::SecretString;
use tonic::Status;
use uuid::Uuid;

#[derive(clap::Parser)]
struct Args {
    #[arg(long, env = "TRISTORE_ORDER_URL")]
    order_url: String,
    #[arg(long, env = "TRISTORE_TOKEN", hide_env_values = true)]
    token: SecretString,
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
}

impl Client {
    /// All of them may be repeated: one has no side effects, and by the request id the service knows a repeat of the others.
    async fn call(&self, number: u32) -> Result<(), Status> {
        let policy = RetryPolicy::default();
        if !number.is_multiple_of(BUYS) {
            let request = GetProductRequest { product_id: self.product_id.clone() };
            let read = || {
                let (mut client, request) =
                    (CatalogServiceClient::new(self.order.channel()), request.clone());
                async move { client.get_product(request).await }
            };
            return retry_unavailable(&policy, read).await.map(drop);
        }
        let item = OrderItem { product_id: self.product_id.clone(), quantity: 1, ..OrderItem::default() };
        let request = PlaceOrderRequest { request_id: Uuid::new_v4().to_string(), items: vec![item] };
        let place = || {
            let (mut client, request) = (OrderServiceClient::new(self.order.channel()), request.clone());
            async move { client.place_order(request).await }
        };
        let order = retry_unavailable(&policy, place).await?.into_inner().order.unwrap_or_default();
        let request = PayOrderRequest { request_id: Uuid::new_v4().to_string(), order_id: order.id };
        let pay = || {
            let (mut client, request) = (TransferServiceClient::new(self.order.channel()), request.clone());
            async move { client.pay_order(request).await }
        };
        retry_unavailable(&policy, pay).await.map(drop)
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "it is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let Args { order_url, token, tls, product_id, calls, rate } =
        Args::try_parse().context("the arguments")?;
    let tls = Tls::load(&tls)?;
    let order = Peer::new("--order-url", "order.v1.OrderService", &order_url, Some(&token), &tls)?;
    let client = Client { order, product_id };
    let (began, last) = (tokio::time::Instant::now(), AtomicU32::new(0));
    let caller = async || {
        let mut answers: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let number = last.fetch_add(1, Ordering::Relaxed) + 1;
            if number > calls {
                return answers;
            }
            if let Some(rate) = rate {
                tokio::time::sleep_until(began + Duration::from_secs(1) * number / rate).await;
            }
            let answer = match client.call(number).await {
                Ok(()) => "OK".to_owned(),
                Err(status) => format!("{:?}: {}", status.code(), status.message()),
            };
            *answers.entry(answer).or_default() += 1;
        }
    };
    let at_once = if rate.is_some() { 16 } else { 1 };
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for (answer, count) in join_all((0..at_once).map(|_| caller())).await.into_iter().flatten() {
        *answers.entry(answer).or_default() += count;
    }
    println!("{answers:?}");
    Ok(())
}
