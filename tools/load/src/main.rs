//! `load`: drives calls at a running system, and prints rate, times and what they cost.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use load::backlog::Backlog;
use load::calls::{Bearer, Caller, Service, Target, connect};
use load::events_way::Way;
use load::hand_over::{HandOvers, Owner};
use load::pay::Payments;
use load::relate::{End, Relations};
use load::round::{Plan, Tally, Watch};
use load::seed::Seed;
use load::{backlog, drive, events_way, exit_code, seed};
use measurement::Round;
use secrecy::{ExposeSecret as _, SecretString};

/// Drives calls at a running Tristore: in a closed loop, or at a fixed rate.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Cli {
    /// The token of the calls: an access token, or a service's token. Without one, the calls have no identity.
    #[arg(long, env = "TRISTORE_TOKEN", hide_env_values = true, default_value = "")]
    token: SecretString,
    #[command(flatten)]
    plan: Plan,
    /// Calls under way at once, in a closed loop.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    /// Calls a second, whatever comes back. [default: a closed loop]
    #[arg(long)]
    rate: Option<f64>,
    /// User service.
    #[arg(long, env = "USER_URL", default_value = "http://localhost:50051")]
    user_url: String,
    /// Order service.
    #[arg(long, env = "ORDER_URL", default_value = "http://localhost:50052")]
    order_url: String,
    /// Session service.
    #[arg(long, env = "SESSION_URL", default_value = "http://localhost:50053")]
    session_url: String,
    /// PEM file with the authorities of services at https://.
    #[arg(long, env = "TLS_CA", value_name = "PATH")]
    tls_ca: Option<PathBuf>,
    /// The service that empty calls go to.
    #[arg(long, default_value = "user")]
    service: Service,
    /// How the result is printed.
    #[arg(long, default_value = "text")]
    output: Output,
    #[command(subcommand)]
    work: Work,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
enum Work {
    #[command(flatten)]
    Call(Target),
    /// `order.v1.TransferService/PayOrder`, for orders that are placed first.
    Pay {
        /// Access tokens of customers who have enough credit.
        #[arg(long, required = true)]
        customer_token: Vec<String>,
        /// The products to order.
        #[arg(long, required = true)]
        product_id: Vec<String>,
        /// How many orders to place: more than can be paid in the time.
        #[arg(long, default_value_t = 2000)]
        orders: usize,
    },
    /// `user.v1.PostService/TransferPost`, of posts that two people each hand to and fro.
    HandOver {
        /// Access tokens of the people, the two of a post side by side.
        #[arg(long, required = true)]
        owner_token: Vec<String>,
        /// Their ids, in the same order.
        #[arg(long, required = true)]
        owner_id: Vec<String>,
        /// The posts, one for each call in flight.
        #[arg(long, required = true)]
        post_id: Vec<String>,
    },
    /// `user.v1.RelationService/FollowUser` and `UnfollowUser` in turn, or `LikePost` and `UnlikePost`.
    Relate {
        /// Access tokens of people, one for each call in flight.
        #[arg(long, required = true)]
        person_token: Vec<String>,
        /// The users to follow. The people share them, if there are fewer.
        #[arg(long, required_unless_present = "post_id", conflicts_with = "post_id")]
        user_id: Vec<String>,
        /// The posts to like, in the same way.
        #[arg(long)]
        post_id: Vec<String>,
    },
    /// The way of an event, from the commit in order service's database until user service has applied it. Writes
    /// orders straight into that database, so it is not for a system that is in use.
    EventsWay(Way),
    /// How long a backlog of events takes to be applied in user service's database. Writes as `events-way` does.
    Backlog(Backlog),
    /// Users and posts, written straight into user service's database; its calls are the batches. Nobody hears of them, so
    /// it is not for a system that is in use.
    Seed(Seed),
    /// No calls: only watches processes.
    Idle,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    exit_code("load", measure(&Cli::parse()).await)
}

async fn measure(cli: &Cli) -> Result<ExitCode> {
    let round = run(cli).await?;
    let text = match cli.output {
        Output::Text => round.lines().join("\n"),
        Output::Json => serde_json::to_string(&round)?,
    };
    writeln!(stdout(), "{text}").context("printing the result")?;
    let is_good = round.is_clean() || matches!(cli.work, Work::Idle);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(cli: &Cli) -> Result<Round> {
    let authorities = cli.tls_ca.as_ref().map(std::fs::read_to_string).transpose().context("--tls-ca")?;
    let authorities = authorities.as_deref();
    match &cli.work {
        Work::Call(target) => {
            let url = match target.service().unwrap_or(cli.service) {
                Service::User => &cli.user_url,
                Service::Order => &cli.order_url,
                Service::Session => &cli.session_url,
            };
            let connection = connect(url, authorities, Bearer::new(cli.token.expose_secret())?).await?;
            drive(cli, Caller::new(target.clone(), connection)?).await
        }
        Work::Pay { customer_token, product_id, orders } => {
            let mut customers = Vec::new();
            for token in customer_token {
                customers.push(connect(&cli.order_url, authorities, Bearer::new(token)?).await?);
            }
            drive(cli, Payments::prepare(customers, product_id, *orders).await?).await
        }
        Work::HandOver { owner_token, owner_id, post_id } => {
            let mut owners = Vec::new();
            for (token, user_id) in owner_token.iter().zip(owner_id) {
                let connection = connect(&cli.user_url, authorities, Bearer::new(token)?).await?;
                owners.push(Owner { user_id: user_id.clone(), connection });
            }
            drive(cli, HandOvers::prepare(owners, post_id).await?).await
        }
        Work::Relate { person_token, user_id, post_id } => {
            let mut people = Vec::new();
            for token in person_token {
                people.push(connect(&cli.user_url, authorities, Bearer::new(token)?).await?);
            }
            let (users, posts) =
                (user_id.iter().cloned().map(End::User), post_id.iter().cloned().map(End::Post));
            drive(cli, Relations::prepare(people, &users.chain(posts).collect::<Vec<_>>()).await?).await
        }
        Work::EventsWay(way) => events_way::run(&cli.plan, way).await,
        Work::Backlog(backlog) => backlog::run(&cli.plan, backlog).await,
        Work::Seed(seed) => seed::run(&cli.plan, seed).await,
        Work::Idle => {
            tokio::time::sleep(cli.plan.warm_up).await;
            let watch = Watch::begin(&cli.plan.watch)?;
            tokio::time::sleep(cli.plan.duration).await;
            Ok(watch.end()?.with(&Tally::default()))
        }
    }
}

async fn drive(cli: &Cli, call: impl drive::Call) -> Result<Round> {
    let in_flight = usize::from(cli.in_flight);
    match cli.rate {
        Some(rate) => drive::fixed_rate(&cli.plan, rate, in_flight, call).await,
        None => drive::closed_loop(&cli.plan, in_flight, call).await,
    }
}
