//! New credit for a user, by an admin.

use types::{Money, UserId};

use super::credit::{Moved, told};
use super::{Answer, App, Idempotency};
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::{CreditRefused, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{Claim, Tx};

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct GrantCredit {
    pub(crate) idempotency: Idempotency,
    pub(crate) to: UserId,
    pub(crate) amount: Money,
}

impl App {
    /// Grants credit; a repeat gets the entry that the first call made, or its refusal.
    pub(crate) async fn grant_credit(&self, request: GrantCredit) -> Result<Answer<WalletEntry>> {
        let granted = self.store.transaction("grant_credit", (self, &request), |tx, (app, request)| {
            Box::pin(app.grant_credit_in(tx, request))
        });
        let granted = self.or_first_outcome(granted.await, &request.idempotency, Kind::Grant).await;
        told(granted?)
    }

    async fn grant_credit_in(&self, tx: &mut Tx, request: &GrantCredit) -> Result<Moved> {
        let Idempotency { key, fingerprint } = &request.idempotency;
        if let Some(moved) = self.credit_outcome(tx, &request.idempotency, Kind::Grant).await? {
            return Ok(moved);
        }
        let wallet_key = WalletKey::of(request.to, request.amount);
        let refused = match tx.user_state_list(&[request.to]).await?.first() {
            None => {
                let refused = CreditRefused::UserNotFound(request.to);
                return self.credit_refuse(tx, &request.idempotency, refused);
            }
            Some((_, UserState::Deactivated)) => Some(CreditRefused::UserDeactivated(request.to)),
            Some((_, UserState::Active)) => None,
        };
        let before = tx.wallet_read(wallet_key).await?;
        let has_room = before.has_room(request.amount.minor_units);
        let full = (!has_room).then_some(CreditRefused::BalanceLimit(request.to));
        if let Some(refused) = refused.or(full) {
            tx.wallet_claim(wallet_key);
            return self.credit_refuse(tx, &request.idempotency, refused);
        }
        let memo = Memo::new(self.next_id(), request.amount, self.now());
        let mut wallet = before.clone();
        let posting = Posting::grant(memo, &mut wallet);
        wallet.event_version += 1;
        tx.posting_claim(&posting, Claim { key, fingerprint }, &[(&before, &wallet)]);
        tx.event_append(&self.credit_granted(&posting, &wallet, key.request_id))?;
        match posting.credit {
            Side::Wallet(entry) => Ok(Ok(Answer::first(entry))),
            Side::System(_) => Err(Error::internal("a grant was credited to a system account")),
        }
    }
}
