//! Merchants' accounts and the book that they are in.

use auth::Person;
use types::Role;

use super::App;
use crate::domain::AccountRefused;
use crate::domain::account::{Account, AccountKey, Entry};
use crate::error::Result;
use crate::storage::TrialBalance;

/// A page of an account's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListEntries {
    pub(crate) key: AccountKey,
    /// Only entries with a lower sequence.
    pub(crate) below: Option<i64>,
    pub(crate) size: u32,
}

impl App {
    /// An account, for its owner or an admin. One that nothing ever touched is empty, if something may begin in its
    /// currency.
    pub(crate) async fn get_account(&self, caller: Person, key: AccountKey) -> Result<Account> {
        require_visible(caller, key)?;
        if let Some(account) = self.store.account_fetch(key).await? {
            return Ok(account);
        }
        key.currency.require_in_force(self.now(), "currency_code")?;
        Ok(Account::empty(key))
    }

    /// A page of an account's entries, newest first, and whether there are more; for its owner or an admin.
    pub(crate) async fn list_account_entries(
        &self,
        caller: Person,
        wish: ListEntries,
    ) -> Result<(Vec<Entry>, bool)> {
        let ListEntries { key, below, size } = wish;
        require_visible(caller, key)?;
        let mut entries = self.store.entries_list(key, below.unwrap_or(i64::MAX), size + 1).await?;
        let more = entries.len() > size as usize;
        entries.truncate(size as usize);
        Ok((entries, more))
    }

    /// The sums of the book.
    pub(crate) async fn get_trial_balance(&self) -> Result<TrialBalance> {
        self.store.trial_balance().await
    }
}

fn require_visible(caller: Person, key: AccountKey) -> Result<(), AccountRefused> {
    if caller.user_id == key.owner_id || caller.role == Role::Admin {
        Ok(())
    } else {
        Err(AccountRefused::NotFound(key.owner_id))
    }
}
