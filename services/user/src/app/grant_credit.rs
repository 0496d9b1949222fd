//! New credit for a user, by an admin.

use types::{Money, UserId};

use super::{Answer, App, Idempotency};
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::WalletKey;
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
    /// Grants credit; a repeat gets the entry that the first call made.
    pub(crate) async fn grant_credit(&self, request: GrantCredit) -> Result<Answer<WalletEntry>> {
        self.store
            .transaction("grant_credit", (self, &request), |tx, (app, request)| {
                Box::pin(app.grant_credit_in(tx, request))
            })
            .await
    }

    async fn grant_credit_in(&self, tx: &mut Tx, request: &GrantCredit) -> Result<Answer<WalletEntry>> {
        let Idempotency { key, fingerprint } = &request.idempotency;
        let claim = Claim { key, fingerprint };
        if let Some(entry) = tx.posting_replay(claim, Kind::Grant).await? {
            return Ok(Answer::again(entry));
        }
        match tx.user_state_list(&[request.to]).await?.first() {
            None => return Err(Error::UserNotFound(request.to)),
            Some((_, UserState::Deactivated)) => return Err(Error::UserDeactivated(request.to)),
            Some((_, UserState::Active)) => {}
        }
        let before = tx.wallet_read(WalletKey::of(request.to, request.amount)).await?;
        if !before.has_room(request.amount.minor_units) {
            return Err(Error::BalanceLimit(request.to));
        }
        let memo = Memo::new(self.next_id(), request.amount, self.now());
        let mut wallet = before.clone();
        let posting = Posting::grant(memo, &mut wallet);
        wallet.event_version += 1;
        tx.posting_insert(&posting, claim, &[(&before, &wallet)]).await?;
        let event = self.credit_granted(&posting, &wallet, key.request_id);
        tx.event_append(&event).await?;
        match posting.credit {
            Side::Wallet(entry) => Ok(Answer::first(entry)),
            Side::System(_) => Err(Error::internal("a grant was credited to a system account")),
        }
    }
}
