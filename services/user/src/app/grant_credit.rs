//! New credit for a user, by an admin.

use api::user::v1::CreditGranted;
use events::{Aggregate, NewEvent};
use types::{EventId, Fingerprint, Money, PostingId, RequestKey, UserId};

use super::{Answered, App};
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::WalletKey;
use crate::error::{Error, Result};
use crate::storage::{Claim, Tx};

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct GrantCredit {
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) to: UserId,
    pub(crate) amount: Money,
}

impl App {
    /// Grants credit; a repeat gets the entry that the first call made.
    pub(crate) async fn grant_credit(&self, request: GrantCredit) -> Result<Answered<WalletEntry>> {
        let context = (self.clone(), request);
        let granted = self.store.transaction("grant_credit", context, |tx, (app, request)| {
            Box::pin(app.grant_in(tx, request))
        });
        granted.await
    }

    async fn grant_in(&self, tx: &mut Tx, request: &GrantCredit) -> Result<Answered<WalletEntry>> {
        let claim = Claim { key: &request.key, fingerprint: &request.fingerprint };
        if let Some(entry) = tx.posting_replay(claim, Kind::Grant).await? {
            return Ok(Answered::again(entry));
        }
        match tx.user_state_list(&[request.to]).await?.first() {
            None => return Err(Error::UserNotFound(request.to)),
            Some((_, UserState::Deactivated)) => return Err(Error::UserDeactivated(request.to)),
            Some((_, UserState::Active)) => {}
        }
        let key = WalletKey::of(request.to, request.amount);
        let mut wallet = tx.wallet_read(key).await?;
        if !wallet.has_room(request.amount.minor_units) {
            return Err(Error::BalanceLimit(request.to));
        }
        let now = self.clock.now();
        let memo = Memo::new(PostingId::from_uuid(self.ids.next()), request.amount, now);
        let posting = Posting::grant(memo, &mut wallet);
        tx.posting_insert(&posting, Some(claim), Some(key)).await?;
        let event = NewEvent::new(
            EventId::from_uuid(self.ids.next()),
            Aggregate::new("wallet", key.aggregate_id()),
            wallet.event_version + 1,
            &CreditGranted {
                posting_id: posting.id.to_string(),
                user_id: request.to.to_string(),
                amount: Some(request.amount.into()),
            },
            super::headers(&request.key),
            now,
        );
        tx.event_append(&event).await?;
        match posting.credit {
            Side::Wallet(entry) => Ok(Answered::first(entry)),
            Side::System(_) => Err(Error::internal("a grant was credited to a system account")),
        }
    }
}
