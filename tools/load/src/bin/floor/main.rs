//! `floor`: bare tonic servers, to measure the services against. They answer one or two calls of a service each, with
//! no layer but codec and routing, and one statement sent through the bare driver, the best that was found. Nobody is
//! asked who they are, nothing is checked, nothing is logged, nothing is retried, and no call has a time limit: no
//! service may be like this, and none can be cheaper.
#![expect(clippy::print_stdout, reason = "a bench waits for the address")]

mod order;
mod serve;
mod session;
mod user;

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// A bare server that answers some calls of one service. For measuring: it checks nothing and nobody.
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
    /// `GetUser` and `VerifyPassword`.
    User(user::Options),
    /// `GetOrder` and `PlaceOrder`.
    Order(order::Options),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let (address, sockets) = serve::bind(cli.listen, cli.threads)?;
    println!("{address}");
    match cli.service {
        Service::Session(options) => serve::run(sockets, move || session::Sessions::connect(options.clone())),
        Service::User(options) => serve::run(sockets, move || user::Users::connect(options.clone())),
        Service::Order(options) => serve::run(sockets, move || order::Orders::connect(options.clone())),
    }
}
