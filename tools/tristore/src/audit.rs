//! `tristore audit`: whether credit is conserved, both sides printed. Ends with 1 on drift, and with 2 when the books
//! could not be audited: then nothing is known.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use api::order::v1::audit::Verdict;
use api::order::v1::{Audit, GetAuditRequest, RunAuditRequest};

use tokio::time::timeout;

use crate::client::{Client, Service};
use crate::output::Output;

const DRIFT: u8 = 1;
/// What `tristore audit` ends with when it could not tell.
pub(crate) const UNKNOWN: u8 = 2;
/// Longer than one page of an audit takes, with the wait for the cut in it.
const SILENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Read both books from their first entries, with every chain of hashes.
    #[arg(long)]
    full: bool,
    /// Only tell how the last audit ended, whoever asked for it.
    #[arg(long, conflicts_with = "full")]
    last: bool,
}

pub(crate) async fn run(client: &Client, output: &Output, options: &Options) -> Result<ExitCode> {
    Ok(match audit(client, output, options).await?.verdict() {
        Verdict::Conserved => ExitCode::SUCCESS,
        Verdict::Drift => ExitCode::from(DRIFT),
        Verdict::Unspecified => ExitCode::from(UNKNOWN),
    })
}

async fn audit(client: &Client, output: &Output, options: &Options) -> Result<Audit> {
    let source = Service::Order.name();
    let audit = if options.last {
        let answer = client.audits().get_audit(GetAuditRequest {}).await.context(source)?;
        answer.into_inner().audit.context("no audit has ended yet")?
    } else {
        let request = RunAuditRequest { full: options.full };
        let silent = || format!("{source} says nothing for {SILENCE:?}");
        let mut client = client.audits();
        let steps = timeout(SILENCE, client.run_audit(request)).await.with_context(silent)?;
        let mut steps = steps.context(source)?.into_inner();
        let mut last = None;
        while let Some(step) =
            timeout(SILENCE, steps.message()).await.with_context(silent)?.context(source)?
        {
            last = step.audit.or(last);
        }
        last.context("the audit came to no end")?
    };
    if output.is_json() {
        output.json(source, &audit)?;
    } else {
        print(output, &audit);
    }
    Ok(audit)
}

fn print(output: &Output, audit: &Audit) {
    let Audit { in_flight_count, accounts_count, entries_count, position, .. } = audit;
    let started = audit.start_time.map(|time| time.to_string()).unwrap_or_default();
    let kind = if audit.full { "full audit" } else { "audit" };
    output.line(format_args!(
        "{kind} of {started}, cut at order/{position}: {accounts_count} accounts and wallets with \
         {entries_count} entries read, {in_flight_count} transfers in flight"
    ));
    let rows: Vec<_> = audit
        .lines
        .iter()
        .map(|line| {
            let names = [line.source.clone(), line.account.clone(), line.currency_code.clone()];
            let sums = [line.debit_minor_units, line.credit_minor_units].map(|sum| sum.to_string());
            names.into_iter().chain(sums).collect()
        })
        .collect();
    output.line("");
    output.table(&["source", "account", "currency", "debits", "credits"], &rows);
    let rows: Vec<_> = audit
        .transits
        .iter()
        .map(|transit| {
            let (order, user) = (transit.order_minor_units, transit.user_minor_units);
            let sums = [order, user, order + user, transit.beyond_minor_units];
            let currency = transit.currency_code.clone();
            [currency].into_iter().chain(sums.map(|sum| sum.to_string())).collect()
        })
        .collect();
    output.line("\ntransit, up to the cut:");
    output.table(&["currency", "order-service", "user-service", "drift", "beyond the cut"], &rows);
    for transit in &audit.transits {
        let net = |account: &str| -> i64 {
            let lines = audit.lines.iter();
            let lines =
                lines.filter(|line| line.currency_code == transit.currency_code && line.account == account);
            lines.map(|line| line.credit_minor_units - line.debit_minor_units).sum()
        };
        output.line(format_args!(
            "minted {} {}, in wallets {}, in accounts {}, beyond the cut {}",
            -net("mint"),
            transit.currency_code,
            net("wallets"),
            net("accounts"),
            transit.beyond_minor_units
        ));
    }
    output.line("");
    for finding in &audit.findings {
        let difference = finding
            .difference
            .as_ref()
            .map(|difference| format!(" ({:+} {})", difference.minor_units, difference.currency_code));
        let difference = difference.unwrap_or_default();
        output.line(format_args!(
            "{}: {}: {}{difference}",
            finding.source, finding.subject, finding.description
        ));
    }
    if audit.more_findings_count > 0 {
        output.line(format_args!("and {} more", audit.more_findings_count));
    }
    output.line(if audit.findings.is_empty() { "conserved" } else { "DRIFT" });
}
