//! `load`: calls a running system in a closed loop and prints rate and times.
#![expect(clippy::print_stdout, reason = "the result is printed")]

mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::order::v1::order_service_client::OrderServiceClient;
use api::order::v1::{OrderItem, PlaceOrderRequest};
use api::user::v1::GetUserRequest;
use api::user::v1::user_service_client::UserServiceClient;
use clap::{Parser, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

use tally::Tally;

/// Calls a running Tristore in a closed loop.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Cli {
    /// Whose calls they are: an access token.
    #[arg(long, env = "TRISTORE_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// Calls under way at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    /// For how long.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// User service.
    #[arg(long, env = "USER_URL", default_value = "http://localhost:50051")]
    user_url: String,
    /// Order service.
    #[arg(long, env = "ORDER_URL", default_value = "http://localhost:50052")]
    order_url: String,
    #[command(subcommand)]
    call: Call,
}

/// Which call.
#[derive(Debug, Clone, Subcommand)]
enum Call {
    /// `user.v1.UserService/GetUser`.
    GetUser {
        /// Whom.
        #[arg(long)]
        user_id: String,
    },
    /// `order.v1.OrderService/PlaceOrder`, one item, a new order each time.
    PlaceOrder {
        /// What.
        #[arg(long)]
        product_id: String,
    },
}

/// Adds the token to each call.
#[derive(Debug, Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Call {
    async fn once(&self, channel: &Channel, bearer: &Bearer) -> Result<(), Status> {
        match self {
            Self::GetUser { user_id } => {
                let mut client = UserServiceClient::with_interceptor(channel.clone(), bearer.clone());
                client.get_user(GetUserRequest { user_id: user_id.clone() }).await.map(drop)
            }
            Self::PlaceOrder { product_id } => {
                let mut client = OrderServiceClient::with_interceptor(channel.clone(), bearer.clone());
                let item = OrderItem { product_id: product_id.clone(), quantity: 1, ..OrderItem::default() };
                let request = PlaceOrderRequest { request_id: Uuid::new_v4().to_string(), items: vec![item] };
                client.place_order(request).await.map(drop)
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let url = match cli.call {
        Call::GetUser { .. } => &cli.user_url,
        Call::PlaceOrder { .. } => &cli.order_url,
    };
    let endpoint = Endpoint::from_shared(url.clone()).with_context(|| format!("{url} is no URL"))?;
    let channel = endpoint.connect().await.with_context(|| format!("connecting to {url}"))?;
    let bearer = format!("Bearer {}", cli.token.expose_secret()).parse().context("a token")?;
    let tally = run(&channel, &Bearer(bearer), &cli.call, cli.in_flight, cli.duration).await?;
    for line in tally.lines(cli.duration) {
        println!("{line}");
    }
    Ok(if tally.all_answered() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(
    channel: &Channel,
    bearer: &Bearer,
    call: &Call,
    in_flight: u16,
    duration: Duration,
) -> Result<Tally> {
    let end = Instant::now() + duration;
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (channel, bearer, call) = (channel.clone(), bearer.clone(), call.clone());
        callers.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < end {
                let began = Instant::now();
                let answer = call.once(&channel, &bearer).await;
                tally.count(answer.err().map(|status| status.code()), began.elapsed());
            }
            tally
        });
    }
    let mut sum = Tally::default();
    while let Some(tally) = callers.join_next().await {
        sum.add(tally?);
    }
    Ok(sum)
}
