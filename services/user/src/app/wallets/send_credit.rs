//! Credit from the caller's wallet to another user's, in one transaction.

use auth::Person;
use time::OffsetDateTime;
use types::{Answer, Call, Money, UserId};

use super::credit::Outcome;
use crate::app::App;
use crate::domain::ledger::{Kind, Memo, Posting, Side, WalletEntry};
use crate::domain::user::UserState;
use crate::domain::wallet::{CreditRefused, Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{Finished, Tx};

/// Who shall be sent how much.
#[derive(Debug, Clone)]
pub(crate) struct SendCredit {
    /// Somebody else than the caller.
    pub(crate) to: UserId,
    pub(crate) amount: Money,
}

impl App {
    /// Sends credit of the caller; a repeat gets the entry that the first call made, or its refusal.
    pub(crate) async fn send_credit(
        &self,
        call: &Call,
        caller: Person,
        wish: SendCredit,
    ) -> Result<Answer<WalletEntry>> {
        let sent = self.store.transaction("send_credit", |tx| self.send_credit_in(tx, call, caller, &wish));
        self.credit_answer(call, Kind::Send, sent.await).await
    }

    async fn send_credit_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &SendCredit,
    ) -> Result<Finished<Answer<Outcome>>> {
        if let Some(outcome) = self.credit_outcome(&mut tx, call, Kind::Send).await? {
            return Ok(tx.commit(outcome));
        }
        let states = tx.user_state_list(&[caller.user_id, wish.to]).await?;
        let keys = [WalletKey::of(caller.user_id, wish.amount), WalletKey::of(wish.to, wish.amount)];
        let before = tx.wallet_pair(keys).await?;
        let [mut from, mut to] = before.clone();
        let now = self.now();
        if let Err(refused) = may_send(wish.amount, &states, &from, &to, now) {
            tx.wallet_claim(from.key);
            return self.credit_refuse(tx, call, refused);
        }
        from.count_spent(wish.amount.minor_units, now);
        let memo = Memo::new(self.next_id(), wish.amount, now);
        let posting = Posting::send(memo, &mut from, &mut to);
        from.event_version += 1;
        let mut moved = [(&before[0], &from), (&before[1], &to)];
        moved.sort_unstable_by_key(|(wallet, _)| wallet.key);
        tx.posting_claim(&posting, call, &moved);
        tx.event_append(&self.credit_sent(&posting, &from, to.key.owner, call.key.request_id))?;
        match posting.debit {
            Side::Wallet(entry) => Ok(tx.commit(Answer::first(Ok(entry)))),
            Side::System(_) => Err(Error::internal("a sending was debited to a system account")),
        }
    }
}

fn may_send(
    amount: Money,
    states: &[(UserId, UserState)],
    from: &Wallet,
    to: &Wallet,
    now: OffsetDateTime,
) -> Result<(), CreditRefused> {
    for user in [from.key.owner, to.key.owner] {
        match states.iter().find(|(id, _)| *id == user) {
            None | Some((_, UserState::Deleted)) => return Err(CreditRefused::UserNotFound(user)),
            Some((_, UserState::Deactivated)) => return Err(CreditRefused::UserDeactivated(user)),
            Some((_, UserState::Active)) => {}
        }
    }
    if let Some(bar) = from.bar(amount.minor_units, now) {
        return Err(CreditRefused::barred(from, bar));
    }
    if !to.has_room(amount.minor_units) {
        return Err(CreditRefused::BalanceLimit(to.key.owner));
    }
    Ok(())
}
