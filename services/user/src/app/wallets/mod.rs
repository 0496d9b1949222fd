//! Wallets: what moves credit has a file of its own; reading wallets, their books, holds, and the sums over all of it is
//! here.

mod acts;
mod credit;
mod grant_credit;
mod send_credit;

use auth::Person;
use time::OffsetDateTime;
use types::{Role, TransferId, UserId};

pub(crate) use acts::ActOnWallet;
pub(crate) use grant_credit::GrantCredit;
pub(crate) use send_credit::SendCredit;

use super::App;
use crate::domain::ledger::{Kind, TrialBalanceLine, WalletEntry};
use crate::domain::user::UserRefused;
use crate::domain::wallet::{HoldNotFound, Wallet, WalletKey};
use crate::error::Result;
use crate::storage::{HoldHistory, StoredHold};

/// A page of a wallet's book.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListWalletEntries {
    pub(crate) wallet: WalletKey,
    /// Of this kind only.
    pub(crate) kind: Option<Kind>,
    /// From this time on.
    pub(crate) start: Option<OffsetDateTime>,
    /// Before this time.
    pub(crate) end: Option<OffsetDateTime>,
    /// The sequence that the page before ended with.
    pub(crate) below: Option<i64>,
    pub(crate) size: u32,
}

/// What a page shows.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Newest first, and one more if there is a next page.
    pub(crate) entries: Vec<WalletEntry>,
    /// The balances at both ends of the time, whatever kind is listed.
    pub(crate) opening: i64,
    pub(crate) closing: i64,
}

impl App {
    /// A wallet. One that nothing ever touched reads as empty, if something may begin in its currency.
    pub(crate) async fn get_wallet(&self, caller: Person, wish: WalletKey) -> Result<Wallet> {
        self.require_visible(caller, wish.owner).await?;
        if let Some(wallet) = self.store.wallet_fetch(wish).await? {
            return Ok(wallet);
        }
        wish.currency.require_in_force(self.now(), "currency_code")?;
        Ok(Wallet::empty(wish))
    }

    /// A page of a wallet's entries, with the balances of the time that they are of. Both ends are read before the
    /// entries, which are there by then and never change: what is shown adds up.
    pub(crate) async fn list_wallet_entries(
        &self,
        caller: Person,
        wish: ListWalletEntries,
    ) -> Result<Statement> {
        let ListWalletEntries { wallet, kind, start, end, below, size } = wish;
        self.require_visible(caller, wallet.owner).await?;
        let [opening, closing] = self.store.wallet_span(wallet, start, end).await?;
        let below = below.unwrap_or(i64::MAX).min(closing.sequence + 1);
        let limit = i64::from(size) + 1;
        let entries = self.store.wallet_entry_list(wallet, kind, opening.sequence, below, limit).await?;
        Ok(Statement { entries, opening: opening.balance, closing: closing.balance })
    }

    /// What this service reserved for a transfer, and what is known of that.
    pub(crate) async fn get_hold(&self, transfer_id: TransferId) -> Result<(StoredHold, HoldHistory)> {
        let hold = self.store.hold_fetch(transfer_id).await?.ok_or(HoldNotFound(transfer_id))?;
        Ok((hold, self.store.hold_history(transfer_id).await?))
    }

    /// Sums the book in one snapshot.
    pub(crate) async fn get_trial_balance(&self) -> Result<Vec<TrialBalanceLine>> {
        self.store.snapshot().await?.trial_balance().await
    }

    /// Another's wallet looks like that of a user who does not exist, but to admins.
    async fn require_visible(&self, caller: Person, owner: UserId) -> Result<()> {
        let is_visible = caller.user_id == owner
            || (caller.role == Role::Admin && self.store.user_fetch(owner).await?.is_some());
        if is_visible { Ok(()) } else { Err(UserRefused::NotFound(owner).into()) }
    }
}
