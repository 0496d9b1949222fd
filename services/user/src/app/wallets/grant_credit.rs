//! New credit for a user, by an admin.

use types::{Answer, Call, Money, UserId};

use super::credit::Outcome;
use crate::app::App;
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::{CreditRefused, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{Finished, Tx};

/// Who shall have how much.
#[derive(Debug, Clone)]
pub(crate) struct GrantCredit {
    pub(crate) to: UserId,
    pub(crate) amount: Money,
}

impl App {
    /// Grants credit; a repeat gets the entry that the first call made, or its refusal. No credit is made in a currency
    /// that is not in force; this refusal is not kept.
    pub(crate) async fn grant_credit(&self, call: &Call, wish: GrantCredit) -> Result<Answer<WalletEntry>> {
        let granted = self.store.transaction("grant_credit", |tx| self.grant_credit_in(tx, call, &wish));
        self.credit_answer(call, Kind::Grant, granted.await).await
    }

    async fn grant_credit_in(
        &self,
        mut tx: Tx,
        call: &Call,
        wish: &GrantCredit,
    ) -> Result<Finished<Answer<Outcome>>> {
        if let Some(outcome) = self.credit_outcome(&mut tx, call, Kind::Grant).await? {
            return Ok(tx.commit(outcome));
        }
        wish.amount.currency.require_in_force(self.now(), "amount.currency_code")?;
        let wallet_key = WalletKey::of(wish.to, wish.amount);
        let refused = match tx.user_state_list(&[wish.to]).await?.first() {
            None => return self.credit_refuse(tx, call, CreditRefused::UserNotFound(wish.to)),
            Some((_, UserState::Deleted)) => Some(CreditRefused::UserNotFound(wish.to)),
            Some((_, UserState::Deactivated)) => Some(CreditRefused::UserDeactivated(wish.to)),
            Some((_, UserState::Active)) => None,
        };
        let before = tx.wallet_read(wallet_key).await?;
        let has_room = before.has_room(wish.amount.minor_units);
        let full = (!has_room).then_some(CreditRefused::BalanceLimit(wish.to));
        if let Some(refused) = refused.or(full) {
            tx.wallet_claim(wallet_key);
            return self.credit_refuse(tx, call, refused);
        }
        let memo = Memo::new(self.next_id(), wish.amount, self.now());
        let mut wallet = before.clone();
        let posting = Posting::grant(memo, &mut wallet);
        wallet.event_version += 1;
        tx.posting_claim(&posting, call, &[(&before, &wallet)]);
        tx.event_append(&self.credit_granted(&posting, &wallet, call.key.request_id))?;
        match posting.credit {
            Side::Wallet(entry) => Ok(tx.commit(Answer::first(Ok(entry)))),
            Side::System(_) => Err(Error::internal("a grant was credited to a system account")),
        }
    }
}
