//! `tristore transfer ...`.

use anyhow::{Context, Result};
use api::order::v1::{CancelTransferRequest, ExplainTransferRequest, RetryTransferRequest, Transfer};
use types::Decimal;
use uuid::Uuid;

use crate::Consent;
use crate::client::{Client, Service};
use crate::output::Output;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows what both services know of a transfer, as a timeline.
    Explain {
        /// The transfer.
        id: String,
    },
    /// Sends the command of the current step once more, with a new budget of attempts.
    Retry {
        /// The transfer.
        id: String,
    },
    /// Decides CANCEL for a transfer that is undecided.
    Cancel {
        /// The transfer.
        id: String,
    },
}

pub(crate) async fn run(client: &Client, output: &Output, consent: Consent, command: Command) -> Result<()> {
    let source = Service::Order.name();
    match command {
        Command::Explain { id } => explain(client, output, id).await,
        Command::Retry { id } => {
            consent.required(&format!("send the command of transfer {id} once more"))?;
            let request = RetryTransferRequest { request_id: Uuid::now_v7().to_string(), transfer_id: id };
            let answer = client.transfers().retry_transfer(request).await.context(source)?.into_inner();
            if output.is_json() { output.json(source, &answer) } else { print(output, answer.transfer) }
        }
        Command::Cancel { id } => {
            consent.required(&format!("cancel transfer {id}"))?;
            let request = CancelTransferRequest { request_id: Uuid::now_v7().to_string(), transfer_id: id };
            let answer = client.transfers().cancel_transfer(request).await.context(source)?.into_inner();
            if output.is_json() { output.json(source, &answer) } else { print(output, answer.transfer) }
        }
    }
}

async fn explain(client: &Client, output: &Output, id: String) -> Result<()> {
    let source = Service::Order.name();
    let request = ExplainTransferRequest { transfer_id: id };
    let answer = client.transfers().explain_transfer(request).await.context(source)?.into_inner();
    if output.is_json() {
        return output.json(source, &answer);
    }
    print(output, answer.transfer)?;
    let rows: Vec<_> = answer
        .steps
        .into_iter()
        .map(|step| {
            let time = step.time.map(|time| time.to_string()).unwrap_or_default();
            vec![time, step.source, step.description, step.event_id, step.trace_id]
        })
        .collect();
    output.line("");
    output.table(&["time", "source", "what", "event", "trace"], &rows);
    if !answer.last_error.is_empty() {
        output.line(format_args!("\nlast error: {}", answer.last_error));
    }
    for source in answer.unreachable_sources {
        output.line(format_args!("\n{source} could not be asked: what it knows is missing above"));
    }
    Ok(())
}

fn print(output: &Output, transfer: Option<Transfer>) -> Result<()> {
    let transfer = transfer.context("the answer has no transfer")?;
    let amount = transfer.amount.clone().unwrap_or_default();
    let rows = [
        ("transfer", transfer.id.clone()),
        ("kind", transfer.kind().as_str_name().to_owned()),
        ("order", transfer.order_id.clone()),
        (
            "amount",
            format!("{} {}", Decimal::of(&amount.currency_code, amount.minor_units), amount.currency_code),
        ),
        ("wallet of", transfer.wallet_user_id.clone()),
        ("account of", transfer.account_owner_id.clone()),
        ("state", transfer.state().as_str_name().to_owned()),
        ("decision", transfer.decision().as_str_name().to_owned()),
        ("reason", transfer.reason.clone()),
        ("needs operator", transfer.needs_operator.to_string()),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output.table(&["", ""], &rows);
    Ok(())
}
