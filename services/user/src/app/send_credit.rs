//! Credit from the caller's wallet to another user's, in one transaction.
//!
//! A refusal is an outcome too and is kept for ever. It leaves no posting, so its row and the posting of a
//! concurrent call with the same request id would not conflict by themselves. Both write the sender's wallet,
//! and look for both rows in the snapshot that they write on: of two such calls one conflicts, tries again, and
//! finds what the other left.

use types::{Money, UserId};

use super::{Answer, App, Idempotency};
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::{SendRefused, Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{Claim, Keep, Outcome, Tx};

/// What is asked for. The two users are not the same.
#[derive(Debug, Clone)]
pub(crate) struct SendCredit {
    pub(crate) idempotency: Idempotency,
    pub(crate) from: UserId,
    pub(crate) to: UserId,
    pub(crate) amount: Money,
}

impl App {
    /// Sends credit; a repeat gets the entry that the first call made, or its refusal.
    pub(crate) async fn send_credit(&self, request: SendCredit) -> Result<Answer<WalletEntry>> {
        let sent = self.store.transaction("send_credit", (self, &request), |tx, (app, request)| {
            Box::pin(app.send_credit_in(tx, request))
        });
        Ok(sent.await??)
    }

    /// The inner error is an outcome that commits.
    async fn send_credit_in(
        &self,
        tx: &mut Tx,
        request: &SendCredit,
    ) -> Result<Result<Answer<WalletEntry>, SendRefused>> {
        let Idempotency { key, fingerprint } = &request.idempotency;
        let claim = Claim { key, fingerprint };
        if let Some(entry) = tx.posting_replay(claim, Kind::Send).await? {
            return Ok(Ok(Answer::again(entry)));
        }
        if let Some(saved) = tx.request_fetch(key).await? {
            return saved.replay(key, fingerprint)?.into_send_refused().map(Err);
        }
        let states = tx.user_state_list(&[request.from, request.to]).await?;
        let keys = [WalletKey::of(request.from, request.amount), WalletKey::of(request.to, request.amount)];
        let before = tx.wallet_pair(keys).await?;
        let [mut from, mut to] = before.clone();
        if let Err(refused) = may_send(request, &states, &from, &to) {
            tx.wallet_claim(from.key).await?;
            let outcome = Outcome::SendRefused(refused);
            tx.request_insert(key, fingerprint, &outcome, self.now(), Keep::Forever).await?;
            return Ok(Err(refused));
        }
        let memo = Memo::new(self.next_id(), request.amount, self.now());
        let posting = Posting::send(memo, &mut from, &mut to);
        from.event_version += 1;
        let mut moved = [(&before[0], &from), (&before[1], &to)];
        moved.sort_unstable_by_key(|(wallet, _)| wallet.key);
        tx.posting_insert(&posting, claim, &moved).await?;
        let event = self.credit_sent(&posting, &from, to.key.owner, key.request_id);
        tx.event_append(&event).await?;
        match posting.debit {
            Side::Wallet(entry) => Ok(Ok(Answer::first(entry))),
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
