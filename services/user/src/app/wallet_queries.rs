//! Reading wallets, their books, holds, and the sums over all of it.

use types::{Currency, TransferId, UserId};

use super::App;
use crate::domain::ledger::{TrialBalanceLine, WalletEntry};
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{HoldHistory, StoredHold};

/// Who wants to see whose wallet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalletView {
    /// The caller.
    pub(crate) viewer: UserId,
    /// Whether the caller may see everybody's.
    pub(crate) viewer_is_admin: bool,
    /// Whose wallet.
    pub(crate) owner: UserId,
    /// Of which currency.
    pub(crate) currency: Currency,
}

impl WalletView {
    fn key(&self) -> WalletKey {
        WalletKey { owner: self.owner, currency: self.currency }
    }
}

impl App {
    /// A wallet; one that nothing ever touched reads as empty.
    pub(crate) async fn get_wallet(&self, view: WalletView) -> Result<Wallet> {
        self.require_visible(view).await?;
        let wallet = self.store.wallet_fetch(view.key()).await?;
        Ok(wallet.unwrap_or_else(|| Wallet::empty(view.key())))
    }

    /// At most `limit` entries below a sequence, newest first.
    pub(crate) async fn list_wallet_entries(
        &self,
        view: WalletView,
        below: Option<i64>,
        limit: i64,
    ) -> Result<Vec<WalletEntry>> {
        self.require_visible(view).await?;
        self.store.wallet_entry_list(view.key(), below, limit).await
    }

    /// What this service reserved for a transfer, and what is known of that.
    pub(crate) async fn get_hold(&self, transfer_id: TransferId) -> Result<(StoredHold, HoldHistory)> {
        let hold = self.store.hold_fetch(transfer_id).await?.ok_or(Error::HoldNotFound(transfer_id))?;
        Ok((hold, self.store.hold_history(transfer_id).await?))
    }

    /// Sums the book in one snapshot.
    pub(crate) async fn get_trial_balance(&self) -> Result<Vec<TrialBalanceLine>> {
        let sums = self.store.transaction("get_trial_balance", (), |tx, ()| Box::pin(tx.trial_balance()));
        sums.await
    }

    /// Another's wallet looks like that of a user who does not exist.
    async fn require_visible(&self, view: WalletView) -> Result<()> {
        if view.viewer == view.owner {
            return Ok(());
        }
        if view.viewer_is_admin && self.store.user_fetch(view.owner).await?.is_some() {
            return Ok(());
        }
        Err(Error::UserNotFound(view.owner))
    }
}
