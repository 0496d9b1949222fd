//! Both ledgers side by side, and the proof that nothing was made or lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{order, user};
use testkit::wait_until;

use super::people::Cast;
use super::script::{Script, euros};

/// One line of either book.
#[derive(Debug, PartialEq)]
struct Line {
    account: String,
    currency: String,
    debit: i64,
    credit: i64,
    balance: i64,
    held: i64,
}

/// Prints both books and checks them.
pub(crate) async fn balance(script: &mut Script, cast: &Cast) -> Result<()> {
    script.step("Both books")?;
    let (wallets, accounts) = wait_until(Duration::from_secs(10), "both books to be quiet", async || {
        let (wallets, accounts) = read(cast).await.map_err(|error| format!("{error:#}"))?;
        check(&wallets, &accounts).map(|()| (wallets, accounts)).map_err(|error| error.to_string())
    })
    .await?;
    for (book, lines) in [("user service, MongoDB", &wallets), ("order service, PostgreSQL", &accounts)] {
        script.saw(format!(
            "{book:<28} {:>16} {:>16} {:>16} {:>12}",
            "debits", "credits", "balances", "held"
        ))?;
        for line in lines.iter().filter(|line| line.currency == "EUR") {
            let Line { account, debit, credit, balance, held, .. } = line;
            script.saw(format!(
                "  {account:<26} {:>16} {:>16} {:>16} {:>12}",
                euros(*debit),
                euros(*credit),
                euros(*balance),
                euros(*held)
            ))?;
        }
    }
    let sum = |lines: &[Line], account: &str| -> i64 {
        lines.iter().filter(|line| line.account == account).map(|line| line.credit - line.debit).sum()
    };
    let (minted, in_wallets, in_accounts) =
        (-sum(&wallets, "mint"), sum(&wallets, "wallets"), sum(&accounts, "accounts"));
    script.saw(format!(
        "minted {} = in wallets {} + in accounts {}",
        euros(minted),
        euros(in_wallets),
        euros(in_accounts)
    ))?;
    script.proves("each book balances, the two transit accounts cancel out, nothing was made or lost")
}

async fn read(cast: &Cast) -> Result<(Vec<Line>, Vec<Line>)> {
    let wallets = cast.admin.caller.wallets().get_trial_balance(user::v1::GetTrialBalanceRequest {});
    let accounts = cast.admin.caller.accounts().get_trial_balance(order::v1::GetTrialBalanceRequest {});
    let wallets = wallets.await.context("the book of user service")?.into_inner().lines;
    let accounts = accounts.await.context("the book of order service")?.into_inner();
    ensure!(accounts.unfinished_count == 0, "{} transfers are not finished", accounts.unfinished_count);
    let wallets = wallets.into_iter().map(|line| Line {
        account: line.account,
        currency: line.currency_code,
        debit: line.debit_minor_units,
        credit: line.credit_minor_units,
        balance: line.balance_minor_units,
        held: line.held_minor_units,
    });
    let accounts = accounts.lines.into_iter().map(|line| Line {
        account: line.account,
        currency: line.currency_code,
        debit: line.debit_minor_units,
        credit: line.credit_minor_units,
        balance: line.balance_minor_units,
        held: line.held_minor_units,
    });
    Ok((wallets.collect(), accounts.collect()))
}

/// The invariants of a quiet system, for each currency.
fn check(wallets: &[Line], accounts: &[Line]) -> Result<()> {
    let mut currencies: Vec<&str> = wallets.iter().chain(accounts).map(|line| line.currency.as_str()).collect();
    currencies.sort_unstable();
    currencies.dedup();
    ensure!(!currencies.is_empty(), "the books are empty");
    for currency in currencies {
        let net = |lines: &[Line], account: Option<&str>| -> i64 {
            let of = |line: &&Line| line.currency == currency && account.is_none_or(|name| line.account == name);
            lines.iter().filter(of).map(|line| line.credit - line.debit).sum()
        };
        for (book, lines) in [("user service", wallets), ("order service", accounts)] {
            ensure!(net(lines, None) == 0, "{book}: debits and credits in {currency} differ");
            for line in lines.iter().filter(|line| line.currency == currency) {
                let own = line.account == "wallets" || line.account == "accounts";
                ensure!(
                    !own || line.balance == line.credit - line.debit,
                    "{book}: the balances in {currency} are not the sum of their entries: {line:?}"
                );
                ensure!(line.held == 0, "{book}: {} {currency} are still held", line.held);
            }
        }
        let in_flight = net(wallets, Some("transit")) + net(accounts, Some("transit"));
        ensure!(in_flight == 0, "{in_flight} {currency} are in transit");
        let minted = -net(wallets, Some("mint"));
        let owned = net(wallets, Some("wallets")) + net(accounts, Some("accounts"));
        ensure!(minted == owned, "minted {minted} {currency}, owned {owned}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(account: &str, debit: i64, credit: i64) -> Line {
        let own = account == "wallets" || account == "accounts";
        Line {
            account: account.to_owned(),
            currency: "EUR".to_owned(),
            debit,
            credit,
            balance: if own { credit - debit } else { 0 },
            held: 0,
        }
    }

    /// Ten minted, four of them paid.
    fn quiet() -> (Vec<Line>, Vec<Line>) {
        (
            vec![line("mint", 10, 0), line("transit", 0, 4), line("wallets", 4, 10)],
            vec![line("accounts", 0, 4), line("transit", 4, 0)],
        )
    }

    #[test]
    fn a_quiet_system_conserves() {
        let (wallets, accounts) = quiet();
        check(&wallets, &accounts).unwrap();
    }

    #[test]
    fn a_drift_of_one_cent_is_seen() {
        let drifts: [fn(&mut Vec<Line>, &mut Vec<Line>); 5] = [
            |wallets, _| wallets[2].credit += 1,
            |wallets, _| wallets[2].balance += 1,
            |_, accounts| accounts[0].held = 1,
            |_, accounts| {
                accounts[0].credit += 1;
                accounts[0].balance += 1;
                accounts[1].debit += 1;
            },
            |wallets, accounts| {
                wallets.clear();
                accounts.clear();
            },
        ];
        for (number, drift) in drifts.into_iter().enumerate() {
            let (mut wallets, mut accounts) = quiet();
            drift(&mut wallets, &mut accounts);
            assert!(check(&wallets, &accounts).is_err(), "drift {number} goes unseen");
        }
    }
}
