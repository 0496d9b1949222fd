//! `tristore`: shows an operator the state of a running system, and makes the few changes that an operator may make.

mod audit;
mod books;
mod client;
mod consumers;
mod doctor;
mod output;
mod parked;
mod streams;
mod transfer;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use client::{Client, Endpoints};
use output::Output;
use runtime::doctor::Format;

/// Inspects a running Tristore and repairs it. Only reads unless --yes-change-state is given.
#[derive(Debug, Parser)]
#[command(name = "tristore", version)]
struct Cli {
    #[command(flatten)]
    endpoints: Endpoints,
    /// How data is printed: in columns and lines for people, or as the services' answers in protobuf's JSON form, one a line.
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Format,
    /// Really make changes; without it, a command that changes something only says what it would do.
    #[arg(long, global = true)]
    yes_change_state: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the head of every stream.
    Streams,
    /// Transfers of credit between the services.
    #[command(subcommand)]
    Transfer(transfer::Command),
    /// Events that a consumer could not apply.
    #[command(subcommand)]
    Parked(parked::Command),
    /// Shows the position of every consumer, and why it is halted if it is.
    Consumers,
    /// Makes a halted consumer go on, rebuilt from its producer's snapshot where that is possible.
    Resync(consumers::Resync),
    /// Checks what the running services see of each other: peers, tokens, versions, clocks, streams, consumers. Exits with 1
    /// when something has failed.
    Doctor,
    /// Shows both ledgers side by side; fails when credit is not conserved.
    Books,
    /// Compares both books at a cut, while traffic runs. Exits with 1 on drift, with 2 when it could not audit them.
    Audit(audit::Options),
}

/// Whether the operator has agreed to a change.
#[derive(Debug, Clone, Copy)]
struct Consent(bool);

impl Consent {
    /// Stops a changing command that was not confirmed.
    fn required(self, what: &str) -> Result<()> {
        ensure!(self.0, "this would {what}; repeat it with --yes-change-state");
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let failure = match cli.command {
        // 1 would mean that there is drift.
        Command::Audit(_) => ExitCode::from(audit::UNKNOWN),
        _ => ExitCode::FAILURE,
    };
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            failure
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let client = Client::new(cli.endpoints)?;
    let output = Output::new(cli.output);
    let consent = Consent(cli.yes_change_state);
    let mut code = ExitCode::SUCCESS;
    match cli.command {
        Command::Streams => streams::run(&client, &output).await?,
        Command::Transfer(command) => transfer::run(&client, &output, consent, command).await?,
        Command::Parked(command) => parked::run(&client, &output, consent, command).await?,
        Command::Consumers => consumers::run(&client, &output).await?,
        Command::Resync(what) => consumers::resync(&client, &output, consent, what).await?,
        Command::Doctor => code = doctor::run(&client, &output).await?,
        Command::Books => code = books::run(&client, &output).await?,
        Command::Audit(options) => code = audit::run(&client, &output, &options).await?,
    }
    output.end()?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_change_needs_consent() {
        assert!(Consent(true).required("change it").is_ok());
        let refused = Consent(false).required("change it").unwrap_err().to_string();
        assert_eq!(refused, "this would change it; repeat it with --yes-change-state");
    }
}
