//! What payments and refunds have in common when they start: one request is one transfer, for ever.

use time::OffsetDateTime;
use types::{Call, Fingerprint, Money, TransferId, UserId};

use super::Coordinator;
use super::waiters::Registration;
use crate::domain::order_funds::OrderFunds;
use crate::domain::transfer::{Kind, Reason, State, Transfer};
use crate::error::{Error, Result};

/// The transfer of a call that is about to wait for its end.
#[derive(Debug)]
pub(super) enum Started {
    /// This call has begun it, and hears what moves it from there on.
    Begun(Registration),
    /// This call has made it, and it was refused at once.
    Refused(Box<Transfer>),
    /// An earlier call with the same request has begun it.
    Earlier(TransferId),
}

impl Started {
    /// The transfer that an earlier call with this request has begun.
    ///
    /// # Errors
    /// [`types::Failure::RequestIdReused`] when that call said something else.
    pub(super) fn earlier(call: &Call, (id, first): (TransferId, Fingerprint)) -> Result<Self> {
        call.require_same(&first)?;
        Ok(Self::Earlier(id))
    }
}

impl Coordinator {
    /// The transfer that an earlier call with this request has begun: found without a lock, so that repeats of a call
    /// never stand in the way of the answers that they wait for.
    pub(super) async fn earlier(&self, call: &Call) -> Result<Option<Started>> {
        let first = self.store.transfer_by_request(&call.key).await?;
        first.map(|first| Started::earlier(call, first)).transpose()
    }

    /// A new transfer, in memory.
    pub(super) fn transfer(
        &self,
        call: &Call,
        kind: Kind,
        order: &OrderFunds,
        wallet_user_id: UserId,
        amount: Money,
        now: OffsetDateTime,
    ) -> Transfer {
        let deadline = now + self.config.transfer_deadline;
        Transfer {
            id: self.ids.next().into(),
            principal: call.key.principal.clone(),
            kind,
            order_id: order.id,
            wallet_user_id,
            account_owner_id: order.seller_id,
            amount,
            state: State::Reserving,
            reason: None,
            deadline,
            decided_at: None,
            created_at: now,
            updated_at: now,
            needs_operator: false,
            last_error: String::new(),
            next_attempt_at: Some(deadline),
            attempts: 0,
            event_version: 0,
            version: 1,
            order_then: None,
        }
    }
}

/// A transfer that is refused before the wallet's owner was asked: its row is the outcome that repeats of the request are
/// answered with. No event has told of its beginning, so none tells of its end.
pub(super) fn refused(transfer: Transfer, reason: Reason) -> Transfer {
    Transfer {
        state: State::Cancelled,
        reason: Some(reason),
        decided_at: Some(transfer.created_at),
        next_attempt_at: None,
        ..transfer
    }
}

/// Another call was faster. Tried again, this call finds what that one did.
pub(super) fn overtaken() -> Error {
    Error::contention("the order has changed, or another call has the same request_id")
}
