//! Credit from the caller's wallet to another user's, in one transaction.
//!
//! A refusal is an outcome too and is kept for ever. It leaves no posting, so its row and the posting of a
//! concurrent call with the same request id would not conflict by themselves. Both write the sender's wallet,
//! and look for both rows in the snapshot that they write on: of two such calls one conflicts, tries again, and
//! finds what the other left.

use api::user::v1::CreditSent;
use events::{Aggregate, NewEvent};
use types::{EventId, Fingerprint, Money, PostingId, RequestKey, UserId};

use super::{Answered, App};
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::{SendRefused, Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{Claim, Keep, Outcome, Tx};

/// What is asked for. The two users are not the same.
#[derive(Debug, Clone)]
pub(crate) struct SendCredit {
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) from: UserId,
    pub(crate) to: UserId,
    pub(crate) amount: Money,
}

impl SendCredit {
    fn claim(&self) -> Claim<'_> {
        Claim { key: &self.key, fingerprint: &self.fingerprint }
    }
}

impl App {
    /// Sends credit; a repeat gets the entry that the first call made, or its refusal.
    pub(crate) async fn send_credit(&self, request: SendCredit) -> Result<Answered<WalletEntry>> {
        let context = (self.clone(), request);
        let sent = self.store.transaction("send_credit", context, |tx, (app, request)| {
            Box::pin(app.send_in(tx, request))
        });
        Ok(sent.await??)
    }

    /// The inner error is an outcome that commits.
    async fn send_in(
        &self,
        tx: &mut Tx,
        request: &SendCredit,
    ) -> Result<Result<Answered<WalletEntry>, SendRefused>> {
        if let Some(entry) = tx.posting_replay(request.claim(), Kind::Send).await? {
            return Ok(Ok(Answered::again(entry)));
        }
        if let Some(saved) = tx.request_fetch(&request.key).await? {
            return match saved.replay(&request.key, &request.fingerprint)? {
                Outcome::SendRefused(refused) => Ok(Err(refused)),
                other => Err(Error::internal(format!("a sending was answered with {other:?}"))),
            };
        }
        let states = tx.user_state_list(&[request.from, request.to]).await?;
        let keys = [WalletKey::of(request.from, request.amount), WalletKey::of(request.to, request.amount)];
        let [mut from, mut to] = tx.wallet_pair(keys).await?;
        if let Err(refused) = may_send(request, &states, &from, &to) {
            tx.wallet_claim(from.key).await?;
            let outcome = Outcome::SendRefused(refused);
            let now = self.clock.now();
            tx.request_insert(&request.key, &request.fingerprint, &outcome, now, Keep::Forever).await?;
            return Ok(Err(refused));
        }
        self.post(tx, request, &mut from, &mut to).await.map(Ok)
    }

    async fn post(
        &self,
        tx: &mut Tx,
        request: &SendCredit,
        from: &mut Wallet,
        to: &mut Wallet,
    ) -> Result<Answered<WalletEntry>> {
        let now = self.clock.now();
        let memo = Memo::new(PostingId::from_uuid(self.ids.next()), request.amount, now);
        let posting = Posting::send(memo, from, to);
        tx.posting_insert(&posting, Some(request.claim()), Some(from.key)).await?;
        let event = NewEvent::new(
            EventId::from_uuid(self.ids.next()),
            Aggregate::new("wallet", from.key.aggregate_id()),
            from.event_version + 1,
            &CreditSent {
                posting_id: posting.id.to_string(),
                from_user_id: request.from.to_string(),
                to_user_id: request.to.to_string(),
                amount: Some(request.amount.into()),
            },
            super::headers(&request.key),
            now,
        );
        tx.event_append(&event).await?;
        match posting.debit {
            Side::Wallet(entry) => Ok(Answered::first(entry)),
            Side::System(_) => Err(Error::internal("a sending was debited to a system account")),
        }
    }
}

fn may_send(
    request: &SendCredit,
    states: &[(UserId, UserState)],
    from: &Wallet,
    to: &Wallet,
) -> Result<(), SendRefused> {
    for user in [request.from, request.to] {
        match states.iter().find(|(id, _)| *id == user) {
            None => return Err(SendRefused::UserNotFound(user)),
            Some((_, UserState::Deactivated)) => return Err(SendRefused::UserDeactivated(user)),
            Some((_, UserState::Active)) => {}
        }
    }
    if !from.covers(request.amount.minor_units) {
        let available = Money::new(request.amount.currency, from.available());
        return Err(SendRefused::InsufficientCredit { owner: request.from, available });
    }
    if !to.has_room(request.amount.minor_units) {
        return Err(SendRefused::BalanceLimit(request.to));
    }
    Ok(())
}
