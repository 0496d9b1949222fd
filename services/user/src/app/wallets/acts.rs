//! What admins do to wallets: freezing, unfreezing and limiting differ in a word, and are one use case. Each writes the
//! wallet, so a payment that has not committed meets a conflict, and is decided anew on what the act has left.

use types::{Answer, Call, Keep};

use crate::app::{App, or_first_answer};
use crate::domain::spending::Act;
use crate::domain::user::UserRefused;
use crate::domain::user_change::What;
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What shall be done to which wallet, and why.
#[derive(Debug, Clone)]
pub(crate) struct ActOnWallet {
    pub(crate) wallet: WalletKey,
    pub(crate) act: Act,
    pub(crate) justification: String,
}

impl App {
    /// Does it, for an admin; a repeat gets the wallet as the first call left it.
    pub(crate) async fn act_on_wallet(&self, call: &Call, wish: &ActOnWallet) -> Result<Answer<Wallet>> {
        let action = match wish.act {
            Act::Freeze => "freeze_wallet",
            Act::Unfreeze => "unfreeze_wallet",
            Act::SetLimits(_) => "set_wallet_limits",
        };
        let acted = self.store.transaction("act_on_wallet", |tx| self.act_on_wallet_in(tx, call, wish));
        let answer = or_first_answer(acted.await, || self.first_answer(call)).await?;
        if !answer.is_replay {
            tracing::info!(
                audit = true,
                action,
                caller = call.key.principal,
                request_id = %call.key.request_id,
                wallet = wish.wallet.aggregate_id(),
                justification = wish.justification,
                "an admin has changed what may leave a wallet"
            );
        }
        Ok(answer)
    }

    async fn act_on_wallet_in(
        &self,
        mut tx: Tx,
        call: &Call,
        wish: &ActOnWallet,
    ) -> Result<Finished<Answer<Wallet>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let (now, owner) = (self.now(), wish.wallet.owner);
        let user = tx.user_fetch(owner).await?.ok_or(UserRefused::NotFound(owner))?;
        let before = tx.wallet_read(wish.wallet).await?;
        if !before.is_stored {
            wish.wallet.currency.require_in_force(now, "currency_code")?;
        }
        let wallet = before.after(wish.act)?;
        tx.wallet_update(&before, &wallet);
        tx.wallet_act_insert(self.next_id(), call, wish.wallet, wish.act, &wish.justification, now);
        let currency = wish.wallet.currency;
        let what = match wish.act {
            Act::Freeze => What::WalletFrozen(currency),
            Act::Unfreeze => What::WalletUnfrozen(currency),
            Act::SetLimits(_) => What::WalletLimits(currency),
        };
        let mut recorded = user.clone();
        self.record(&mut tx, call, &mut recorded, what)?;
        tx.user_record_update(&user, &recorded)?;
        tx.event_append(&self.wallet_acted_on(&wallet, wish.act, call.key.request_id))?;
        tx.request_insert(call, &wallet, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(wallet)))
    }
}
