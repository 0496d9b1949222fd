//! What payments and refunds have in common when they start: one request is one transfer, for ever.

use events::Headers;
use time::OffsetDateTime;
use types::{Fingerprint, Money, RequestKey, TransferId, UserId};

use super::Coordinator;
use crate::domain::refund::OrderFunds;
use crate::domain::transfer::{Kind, Reason, State, Transfer};
use crate::error::{Error, Result};
use crate::storage::Tx;

/// The call that starts a transfer.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Who asks, and the id that names this intent.
    pub(crate) key: RequestKey,
    /// What the request says.
    pub(crate) fingerprint: Fingerprint,
    /// The trace of the call.
    pub(crate) headers: Headers,
}

/// A transfer that a call has to do with.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    /// The transfer.
    pub(crate) id: TransferId,
    /// Whether an earlier call with the same request has started it.
    pub(crate) joined: bool,
}

impl Request {
    /// The transfer that an earlier call with this request started.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] when that call said something else.
    pub(super) fn join(&self, first: &Transfer) -> Result<Started> {
        if !first.fingerprint.same_content(&self.fingerprint) {
            let fields = first.fingerprint.differing_fields(&self.fingerprint);
            return Err(Error::RequestIdReused { method: self.key.method, fields });
        }
        Ok(Started { id: first.id, joined: true })
    }
}

impl Coordinator {
    /// The transfer that this request has started, if it has: found without a lock, so that repeats of a call
    /// never stand in the way of the answers that they wait for.
    pub(super) async fn joined(&self, request: &Request) -> Result<Option<Started>> {
        let first = self.store.transfer_by_request(&request.key).await?;
        first.map(|first| request.join(&first)).transpose()
    }

    /// A new transfer, in memory.
    pub(super) fn transfer(
        &self,
        request: &Request,
        kind: Kind,
        order: &OrderFunds,
        wallet_user_id: UserId,
        amount: Money,
        now: OffsetDateTime,
    ) -> Transfer {
        let deadline = now + self.config.transfer_deadline;
        Transfer {
            id: self.ids.next().into(),
            key: request.key.clone(),
            fingerprint: request.fingerprint.clone(),
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

    /// Commits a transfer that is refused before anybody was asked for anything: its row is the outcome that
    /// every repeat of the request is told. Nobody has heard of it, so no event tells of its end.
    pub(super) async fn refuse(&self, mut tx: Tx, mut transfer: Transfer, reason: Reason) -> Result<Started> {
        transfer.state = State::Cancelled;
        transfer.reason = Some(reason);
        transfer.decided_at = Some(transfer.created_at);
        transfer.next_attempt_at = None;
        claim(&mut tx, &transfer).await?;
        tx.commit().await?;
        Ok(Started { id: transfer.id, joined: false })
    }
}

/// Inserts a transfer, which claims its request.
pub(super) async fn claim(tx: &mut Tx, transfer: &Transfer) -> Result<()> {
    if tx.transfer_insert(transfer).await? {
        Ok(())
    } else {
        // Only with another order can a request have got here twice. Done again, this finds the first.
        Err(Error::Conflict("another call with this request_id was faster".into()))
    }
}
