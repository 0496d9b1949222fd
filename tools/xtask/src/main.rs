//! `cargo xtask`: sets up, runs and checks the project from one command.

mod bench;
mod book_lines;
mod check;
mod demo;
mod deploy;
mod doctor;
mod down;
mod env;
mod grpcurl_lines;
mod local;
mod manifests;
mod observe;
mod out;
mod program;
mod service_config;
mod sweep;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use api::causes::Causes;
use clap::{Parser, Subcommand};

/// Sets up, runs and checks the project. Every command works on a fresh Debian or Ubuntu with Rust.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Args),
    Demo(demo::Args),
    Down(down::Args),
    Env(env::Args),
    Test(test::Args),
    Bench(bench::Args),
    Sweep(sweep::Args),
    Observe(observe::Args),
    Check(check::Args),
    Deploy(deploy::Args),
    Doctor(doctor::Args),
    Tools(tools::Args),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // On the heap: some commands hold a whole system.
    match Box::pin(run(Cli::parse().command)).await {
        Ok(code) => code,
        Err(error) => {
            // With the whole chain of causes, since nothing else reports it.
            eprintln!("error: {}", Causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Down(args) => down::run(args).await,
        Command::Env(args) => env::run(args).await,
        Command::Test(args) => test::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Sweep(args) => sweep::run(args).await,
        Command::Observe(args) => observe::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Deploy(args) => deploy::run(args).await,
        Command::Doctor(args) => doctor::run(&args),
        Command::Tools(args) => tools::run(args).await,
    }
}
