//! Merchants' accounts and the book that they are in.

use types::Role;

use super::{App, Caller};
use crate::domain::account::{Account, AccountKey, Entry};
use crate::error::{Error, Result};
use crate::storage::TrialBalance;

impl App {
    /// An account, for its owner or an admin; one without entries is empty.
    pub(crate) async fn account(&self, caller: Caller, key: AccountKey) -> Result<Account> {
        require_visible(caller, key)?;
        self.store.account_fetch(key).await
    }

    /// At most `limit` entries of an account below a sequence, newest first, and whether there are more.
    pub(crate) async fn account_entries(
        &self,
        caller: Caller,
        key: AccountKey,
        below: Option<i64>,
        limit: u32,
    ) -> Result<(Vec<Entry>, bool)> {
        require_visible(caller, key)?;
        let mut entries = self.store.entries_list(key, below.unwrap_or(i64::MAX), limit + 1).await?;
        let more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        Ok((entries, more))
    }

    /// The sums of the book.
    pub(crate) async fn trial_balance(&self) -> Result<TrialBalance> {
        self.store.trial_balance().await
    }
}

fn require_visible(caller: Caller, key: AccountKey) -> Result<()> {
    if caller.user_id == key.owner_id || caller.role == Role::Admin {
        Ok(())
    } else {
        Err(Error::AccountNotFound(key.owner_id))
    }
}
