//! Reads a product from order service, as often as wanted, and prints what the answers were.
//!
//! `TRISTORE_ORDER_URL` is such as `http://order-service:50052`, `TRISTORE_TOKEN` an access token. Arguments: the id of a
//! product, and how many calls. It reads no service config: the channel of a `Peer` does by itself what that asks for.

use std::collections::BTreeMap;

use anyhow::Context as _;
use api::order::v1::GetProductRequest;
use api::order::v1::catalog_service_client::CatalogServiceClient;
use clap::Parser as _;
use runtime::client::{Peer, RetryPolicy, retry_unavailable};
use runtime::tls::Tls;
use secrecy::SecretString;

#[derive(clap::Parser)]
struct Args {
    #[arg(long, env = "TRISTORE_ORDER_URL")]
    order_url: String,
    #[arg(long, env = "TRISTORE_TOKEN", hide_env_values = true)]
    token: SecretString,
    product_id: String,
    calls: u32,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "it is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let Args { order_url, token, product_id, calls } = Args::try_parse().context("the arguments")?;
    let catalog = Peer::new("--order-url", "order.v1.CatalogService", &order_url, Some(&token), &Tls::off())?;
    let policy = RetryPolicy::default();
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..calls {
        // It has no side effects, so it may be repeated.
        let answer = retry_unavailable(&policy, || {
            let mut client = CatalogServiceClient::new(catalog.channel());
            let request = GetProductRequest { product_id: product_id.clone() };
            async move { client.get_product(request).await }
        });
        let answer = match answer.await {
            Ok(_) => "OK".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        };
        *answers.entry(answer).or_default() += 1;
    }
    println!("{answers:?}");
    Ok(())
}
