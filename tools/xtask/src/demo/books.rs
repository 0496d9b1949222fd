//! Shows both ledgers side by side, proves that no credit was made or lost, and compares with the databases themselves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::conservation::{Book, Books};
use api::{order, user};
use testkit::{Stack, programs, wait_until};
use tokio::process::Command;

use super::people::Cast;
use super::script::{Script, euros};
use crate::book_lines::{BookLines, rows, rows_of};
use crate::tools;

/// Prints both books and checks them.
pub(crate) async fn balance(script: &mut Script, cast: &Cast) -> Result<Books> {
    script.step("Both books")?;
    let books = wait_until(Duration::from_secs(10), "both books to be quiet and to balance", async || {
        let books = read(cast).await.map_err(|error| format!("{error:#}"))?;
        let problems = books.problems_at_rest();
        if problems.is_empty() { Ok(books) } else { Err(problems.join("; ")) }
    })
    .await?;
    ensure!(books.currencies().contains("EUR"), "the books are empty");
    for book in [Book::User, Book::Order] {
        let name = book.service();
        script.saw(format!(
            "{name:<16} {:>15} {:>15} {:>15} {:>12}",
            "debits", "credits", "balances", "held"
        ))?;
        for line in books.lines.iter().filter(|line| line.book == book && line.currency == "EUR") {
            let [debit, credit, balance, held] =
                [line.debit, line.credit, line.balance, line.held].map(euros);
            script
                .saw(format!("  {:<14} {debit:>15} {credit:>15} {balance:>15} {held:>12}", line.account))?;
        }
    }
    let net = |account| books.net("EUR", None, Some(account));
    let (minted, in_wallets, in_accounts) = (-net("mint"), net("wallets"), net("accounts"));
    ensure!(
        minted == in_wallets + in_accounts,
        "minted {}, in wallets {}, in accounts {}",
        euros(minted),
        euros(in_wallets),
        euros(in_accounts)
    );
    script.saw(format!(
        "minted {} = in wallets {} + in accounts {}",
        euros(minted),
        euros(in_wallets),
        euros(in_accounts)
    ))?;
    script.proves("each book balances, the two transit accounts cancel out, nothing was made or lost")?;
    Ok(books)
}

/// Reads each book straight from its database, with the command lines that `up` prints.
pub(crate) async fn agree(script: &mut Script, stack: &Stack, books: &Books) -> Result<()> {
    script.step("Both books once more, by psql and mongosh instead of the services")?;
    let lines = BookLines::of(stack).await?;
    asked(script, &lines.order, &rows_of(books, Book::Order)).await?;
    if programs::tool("mongosh").is_none() {
        script.saw("not asked: MongoDB, because mongosh is missing (`cargo xtask tools` installs it)")?;
        return script.proves("PostgreSQL has the figures that order service tells");
    }
    asked(script, &lines.user, &rows_of(books, Book::User)).await?;
    script.proves("each database has the figures that its service tells")
}

async fn asked(script: &Script, line: &str, expected: &[String]) -> Result<()> {
    script.saw(format!("$ {line}"))?;
    let line = format!("PATH=\"$PATH\"{}\n{line}", tools::path_of_missing(&["mongosh", "psql"]));
    let output = Command::from(testkit::shell()).args(["-c", &line]).kill_on_drop(true).output().await?;
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "it ended with {}: {printed}{said}", output.status);
    for row in printed.lines().filter(|row| !row.trim().is_empty()) {
        script.saw(format!("  {row}"))?;
    }
    let told = rows(&printed);
    ensure!(told == expected, "the database has {told:?}, the service reports {expected:?}");
    Ok(())
}

async fn read(cast: &Cast) -> Result<Books> {
    let admin = &cast.admin.caller;
    let accounts = admin.accounts().get_trial_balance(order::v1::GetTrialBalanceRequest {}).await;
    let accounts = accounts.context("order service's book")?.into_inner();
    let wallets = admin.wallets().get_trial_balance(user::v1::GetTrialBalanceRequest {}).await;
    Ok(Books::new(wallets.context("user service's book")?.into_inner(), accounts))
}
