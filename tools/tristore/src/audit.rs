//! `tristore audit`: shows both books and whether credit is conserved. Exits with 1 on drift, and with 2 when the books
//! could not be audited, so that nothing is known.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use api::common::v1::Money;
use api::order::v1::audit::Verdict;
use api::order::v1::{Audit, AuditFailure, GetAuditRequest, GetAuditResponse, RunAuditRequest};
use tokio::time::timeout;
use types::Decimal;

use crate::client::{Client, Service};
use crate::output::Output;

const DRIFT: u8 = 1;
/// The exit code when the books could not be audited.
pub(crate) const UNKNOWN: u8 = 2;
/// Longer than one step of an audit takes, including the wait for the cut.
const SILENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Read both books from their first entries, with every chain of hashes.
    #[arg(long)]
    full: bool,
    /// Run no audit: show the result of the last one, whoever ran it, its age, and whether an audit has failed since.
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
    let mut known = None;
    let audit = if options.last {
        let answer = client.audits().get_audit(GetAuditRequest {}).await.context(source)?.into_inner();
        let failed = answer.failure.as_ref().map(|failure| format!(": {}", failed(failure)));
        let none = || format!("no audit has ended yet{}", failed.unwrap_or_default());
        let audit = answer.audit.clone().with_context(none)?;
        known = Some(answer);
        audit
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
    match known {
        Some(known) if output.is_json() => output.json(source, &known)?,
        None if output.is_json() => output.json(source, &audit)?,
        known => {
            print(output, &audit);
            if let Some(known) = known {
                print_age(output, &known);
            }
            output.line(if audit.findings.is_empty() { "conserved" } else { "DRIFT" });
        }
    }
    Ok(audit)
}

/// Prints how old the verdict is, since an old one says little about now.
fn print_age(output: &Output, known: &GetAuditResponse) {
    let age: Duration = known.age_duration.and_then(|age| age.try_into().ok()).unwrap_or_default();
    let full = known.full_start_time.map_or_else(|| "never".to_owned(), |time| time.to_string());
    let age = Duration::from_secs(age.as_secs());
    output.line(format_args!("ended {age:?} ago; last full audit that ended: {full}"));
    if let Some(failure) = &known.failure {
        output.line(failed(failure));
    }
}

fn failed(failure: &AuditFailure) -> String {
    let at = failure.fail_time.map(|time| time.to_string()).unwrap_or_default();
    let full = if failure.full { "; no full one has ended since one failed" } else { "" };
    format!("an audit failed at {at}: {}{full}", failure.description)
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
            let sums = [line.debit_minor_units, line.credit_minor_units]
                .map(|sum| Decimal::of(&line.currency_code, sum).to_string());
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
            let sums = sums.map(|sum| Decimal::of(&currency, sum).to_string());
            [currency].into_iter().chain(sums).collect()
        })
        .collect();
    output.line("\ntransit, up to the cut:");
    output.table(&["currency", "order-service", "user-service", "drift", "beyond the cut"], &rows);
    for transit in &audit.transits {
        let currency = transit.currency_code.as_str();
        let shown = |minor_units| Decimal::of(currency, minor_units);
        let net = |account: &str| -> i64 {
            let lines = audit.lines.iter();
            let lines = lines.filter(|line| line.currency_code == currency && line.account == account);
            lines.map(|line| line.credit_minor_units - line.debit_minor_units).sum()
        };
        output.line(format_args!(
            "minted {} {currency}, in wallets {}, in accounts {}, beyond the cut {}",
            shown(-net("mint")),
            shown(net("wallets")),
            shown(net("accounts")),
            shown(transit.beyond_minor_units)
        ));
    }
    output.line("");
    for finding in &audit.findings {
        let difference = finding.difference.as_ref().map(|Money { currency_code, minor_units }| {
            format!(" ({:+} {currency_code})", Decimal::of(currency_code, *minor_units))
        });
        let difference = difference.unwrap_or_default();
        output.line(format_args!(
            "{}: {}: {}{difference}",
            finding.source, finding.subject, finding.description
        ));
    }
    if audit.more_findings_count > 0 {
        output.line(format_args!("and {} more", audit.more_findings_count));
    }
}
