//! The conservation check over the APIs: at rest nothing was made and nothing lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::conservation::Books;
use api::{order, user};
use testkit::wait_until;

use crate::System;

impl System {
    /// Waits until no transfer runs and both books balance.
    ///
    /// # Errors
    /// When they do not in time, with what is wrong.
    pub async fn books_balance(&self) -> Result<()> {
        wait_until(Duration::from_secs(30), "both books to be quiet and balanced", async || {
            self.check_books().await.map_err(|error| format!("{error:#}"))
        })
        .await
    }

    /// Both books as they are.
    ///
    /// # Errors
    /// When a service does not answer.
    pub async fn books(&self) -> Result<Books> {
        let admin = &self.admin.caller;
        let accounts = admin.accounts().get_trial_balance(order::v1::GetTrialBalanceRequest {}).await;
        let accounts = accounts.context("order service's book")?.into_inner();
        let wallets = admin.wallets().get_trial_balance(user::v1::GetTrialBalanceRequest {}).await;
        Ok(Books::new(wallets.context("user service's book")?.into_inner(), accounts))
    }

    async fn check_books(&self) -> Result<()> {
        let problems = self.books().await?.problems_at_rest();
        ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(())
    }
}
