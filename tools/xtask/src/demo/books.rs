//! Both ledgers side by side, and the proof that nothing was made or lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::conservation::{Book, Books};
use api::{order, user};
use testkit::wait_until;

use super::people::Cast;
use super::script::{Script, euros};

/// Prints both books and checks them.
pub(crate) async fn balance(script: &mut Script, cast: &Cast) -> Result<()> {
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
        "minted {minted}, in wallets {in_wallets}, in accounts {in_accounts}"
    );
    script.saw(format!(
        "minted {} = in wallets {} + in accounts {}",
        euros(minted),
        euros(in_wallets),
        euros(in_accounts)
    ))?;
    script.proves("each book balances, the two transit accounts cancel out, nothing was made or lost")
}

async fn read(cast: &Cast) -> Result<Books> {
    let admin = &cast.admin.caller;
    let accounts = admin.accounts().get_trial_balance(order::v1::GetTrialBalanceRequest {}).await;
    let accounts = accounts.context("order service's book")?.into_inner();
    let wallets = admin.wallets().get_trial_balance(user::v1::GetTrialBalanceRequest {}).await;
    Ok(Books::new(wallets.context("user service's book")?.into_inner(), accounts))
}
