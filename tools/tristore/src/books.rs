//! `tristore books`: both ledgers. While transfers run, the two sides may differ by the credit that is on its way. The
//! command then says so instead of reporting drift.

use std::process::ExitCode;

use anyhow::{Context, Result};
use api::conservation::{Book, Books, Line};
use api::{order, user};
use types::Decimal;

use crate::client::Client;
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &Output) -> Result<ExitCode> {
    let (user, order) = (Book::User.service(), Book::Order.service());
    let accounts = client.accounts().get_trial_balance(order::v1::GetTrialBalanceRequest {}).await;
    let accounts = accounts.context(order)?.into_inner();
    let wallets = client.wallets().get_trial_balance(user::v1::GetTrialBalanceRequest {}).await;
    let wallets = wallets.context(user)?.into_inner();
    if output.is_json() {
        output.json(user, &wallets)?;
        output.json(order, &accounts)?;
    }
    let books = Books::new(wallets, accounts);
    let problems = books.problems();
    if !output.is_json() {
        print(output, &books.lines);
        for problem in &problems {
            output.line(problem);
        }
        if problems.is_empty() {
            output.line(match books.unfinished {
                0 => "conserved".to_owned(),
                count => format!("each book balances; {count} transfers are on their way between them"),
            });
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(output: &Output, lines: &[Line]) {
    let rows: Vec<_> = lines
        .iter()
        .map(|line| {
            let numbers = [line.debit, line.credit, line.balance, line.held]
                .map(|minor_units| Decimal::of(&line.currency, minor_units).to_string());
            let names = [line.book.service().to_owned(), line.account.clone(), line.currency.clone()];
            names.into_iter().chain(numbers).collect()
        })
        .collect();
    output.table(&["source", "account", "currency", "debits", "credits", "balances", "held"], &rows);
}
