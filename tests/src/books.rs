//! The conservation check of transfers.md, over the APIs: at rest nothing was made and nothing lost.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{order, user};
use testkit::wait_until;

use crate::System;

/// Net credits by account and currency.
type Book = BTreeMap<(String, String), Line>;

#[derive(Debug, Default)]
struct Line {
    net: i64,
    balance: i64,
    held: i64,
}

impl System {
    /// Waits until no transfer runs and checks both books.
    ///
    /// # Errors
    /// When they do not balance in time, with what is wrong.
    pub async fn books_balance(&self) -> Result<()> {
        wait_until(
            Duration::from_secs(30),
            "both books to be quiet and balanced",
            async || self.check_books().await.map_err(|error| format!("{error:#}")),
        )
        .await
    }

    async fn check_books(&self) -> Result<()> {
        let (wallets, accounts) = self.read_books().await?;
        for (name, book) in [("user service", &wallets), ("order service", &accounts)] {
            for ((account, currency), line) in book {
                ensure!(line.held == 0, "{name}: {account} holds {} {currency}", line.held);
                let own = account == "wallets" || account == "accounts";
                ensure!(
                    !own || line.balance == line.net,
                    "{name}: {account} shows {} {currency}, its entries sum to {}",
                    line.balance,
                    line.net
                );
            }
        }
        let currencies = wallets
            .keys()
            .chain(accounts.keys())
            .map(|(_, currency)| currency);
        for currency in currencies {
            let of = |book: &Book, account: &str| {
                book.get(&(account.to_owned(), currency.clone()))
                    .map_or(0, |line| line.net)
            };
            let sum = |book: &Book| -> i64 {
                book.iter()
                    .filter(|((_, own), _)| own == currency)
                    .map(|(_, line)| line.net)
                    .sum()
            };
            ensure!(
                sum(&wallets) == 0,
                "user service's book is off by {} {currency}",
                sum(&wallets)
            );
            ensure!(
                sum(&accounts) == 0,
                "order service's book is off by {} {currency}",
                sum(&accounts)
            );
            let transit = of(&wallets, "transit") + of(&accounts, "transit");
            ensure!(transit == 0, "{transit} {currency} are in transit");
            let (minted, owned) = (
                -of(&wallets, "mint"),
                of(&wallets, "wallets") + of(&accounts, "accounts"),
            );
            ensure!(minted == owned, "minted {minted} {currency}, owned {owned}");
        }
        Ok(())
    }

    async fn read_books(&self) -> Result<(Book, Book)> {
        let admin = &self.admin.caller;
        let wallets = admin
            .wallets()
            .get_trial_balance(user::v1::GetTrialBalanceRequest {})
            .await;
        let accounts = admin
            .accounts()
            .get_trial_balance(order::v1::GetTrialBalanceRequest {})
            .await;
        let accounts = accounts.context("order service's book")?.into_inner();
        ensure!(
            accounts.unfinished_count == 0,
            "{} transfers are not finished",
            accounts.unfinished_count
        );
        let mut books = (Book::new(), Book::new());
        for line in wallets.context("user service's book")?.into_inner().lines {
            let net = line.credit_minor_units - line.debit_minor_units;
            let (balance, held) = (line.balance_minor_units, line.held_minor_units);
            books
                .0
                .insert((line.account, line.currency_code), Line { net, balance, held });
        }
        for line in accounts.lines {
            let net = line.credit_minor_units - line.debit_minor_units;
            let (balance, held) = (line.balance_minor_units, line.held_minor_units);
            books
                .1
                .insert((line.account, line.currency_code), Line { net, balance, held });
        }
        Ok(books)
    }
}
