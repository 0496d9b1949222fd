//! `floor`: bare tonic servers, to measure the services against. Each answers some calls of a service, with codec
//! and routing only, by the best statement that was found, sent through the bare driver. Callers have no identity,
//! nothing is checked, logged or retried, and no call has a time limit. No service may work like this, and none can be
//! cheaper.
#![expect(clippy::print_stdout, reason = "a bench waits for the address")]

mod change;
mod order;
mod posts;
mod relations;
mod serve;
mod session;
mod user;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tonic::service::Routes;

use serve::Calls;

/// A bare server that answers some calls of one service, for measuring. It does not check its callers or their input.
#[derive(Debug, Parser)]
#[command(name = "floor", version)]
struct Cli {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Single-threaded runtimes.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[command(subcommand)]
    service: Service,
}

/// Which service's calls.
#[derive(Debug, Clone, Subcommand)]
enum Service {
    /// `ValidateSession` and `Login`.
    Session(session::Options),
    /// `GetUser` and `VerifyPassword`; `GetPost`, `ListPosts` and `TransferPost`;
    /// `FollowUser`, `LikePost` and what undoes them.
    User(user::Options),
    /// `GetOrder` and `PlaceOrder`.
    Order(order::Options),
}

fn main() -> ExitCode {
    load::exit_code("floor", run(Cli::parse()).map(|()| ExitCode::SUCCESS))
}

fn run(cli: Cli) -> Result<()> {
    let (address, sockets) = serve::bind(cli.listen, cli.threads)?;
    println!("{address}");
    match cli.service {
        Service::Session(options) => serve::run(sockets, move || {
            let sessions = session::Sessions::connect(options.clone());
            async { Ok(Routes::new(Calls(sessions.await?))) }
        }),
        Service::User(options) => serve::run(sockets, move || {
            let options = options.clone();
            async move {
                let database = options.connect().await?;
                let (users, posts) = (user::Users::of(&database), posts::Posts::of(&database));
                let relations = relations::Relations::of(&database);
                Ok(Routes::new(Calls(users)).add_service(Calls(posts)).add_service(Calls(relations)))
            }
        }),
        Service::Order(options) => serve::run(sockets, move || {
            let orders = order::Orders::connect(options.clone());
            async { Ok(Routes::new(Calls(orders.await?))) }
        }),
    }
}
