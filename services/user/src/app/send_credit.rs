//! Credit from the caller's wallet to another user's, in one transaction.

use types::{Money, UserId};

use super::credit::{Moved, told};
use super::{Answer, App, Idempotency};
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::{CreditRefused, Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{Claim, Tx};

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
        let sent = self.or_first_outcome(sent.await, &request.idempotency, Kind::Send).await;
        told(sent?)
    }

    async fn send_credit_in(&self, tx: &mut Tx, request: &SendCredit) -> Result<Moved> {
        let Idempotency { key, fingerprint } = &request.idempotency;
        if let Some(moved) = self.credit_outcome(tx, &request.idempotency, Kind::Send).await? {
            return Ok(moved);
        }
        let states = tx.user_state_list(&[request.from, request.to]).await?;
        let keys = [WalletKey::of(request.from, request.amount), WalletKey::of(request.to, request.amount)];
        let before = tx.wallet_pair(keys).await?;
        let [mut from, mut to] = before.clone();
        if let Err(refused) = may_send(request, &states, &from, &to) {
            tx.wallet_claim(from.key);
            return self.credit_refuse(tx, &request.idempotency, refused);
        }
        let memo = Memo::new(self.next_id(), request.amount, self.now());
        let posting = Posting::send(memo, &mut from, &mut to);
        from.event_version += 1;
        let mut moved = [(&before[0], &from), (&before[1], &to)];
        moved.sort_unstable_by_key(|(wallet, _)| wallet.key);
        tx.posting_claim(&posting, Claim { key, fingerprint }, &moved);
        tx.event_append(&self.credit_sent(&posting, &from, to.key.owner, key.request_id))?;
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
) -> Result<(), CreditRefused> {
    for user in [request.from, request.to] {
        match states.iter().find(|(id, _)| *id == user) {
            None => return Err(CreditRefused::UserNotFound(user)),
            Some((_, UserState::Deactivated)) => return Err(CreditRefused::UserDeactivated(user)),
            Some((_, UserState::Active)) => {}
        }
    }
    if !from.covers(request.amount.minor_units) {
        let available = Money::new(request.amount.currency, from.available());
        return Err(CreditRefused::InsufficientCredit { owner: request.from, available });
    }
    if !to.has_room(request.amount.minor_units) {
        return Err(CreditRefused::BalanceLimit(request.to));
    }
    Ok(())
}
