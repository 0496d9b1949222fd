//! What payments and refunds have in common when they start: one request is one transfer, for ever.

use events::Headers;
use time::OffsetDateTime;
use types::{Fingerprint, Money, RequestKey, TransferId, UserId};

use super::Coordinator;
use super::waiters::Registration;
use crate::domain::refund::OrderFunds;
use crate::domain::transfer::{Kind, Reason, State, Transfer};
use crate::error::{Error, Result};

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
#[derive(Debug)]
pub(crate) struct Started {
    /// The transfer.
    pub(crate) id: TransferId,
    /// Whether an earlier call with the same request has started it.
    pub(crate) joined: bool,
    /// How far it is.
    pub(super) known: Known,
}

/// What a call knows of a transfer without reading its row.
#[derive(Debug)]
pub(super) enum Known {
    /// It has ended already.
    Ended(Box<Transfer>),
    /// It has just begun, and what moves it from there on is heard.
    New(Registration),
    /// Nothing.
    Nothing,
}

impl Started {
    /// This call has begun it.
    pub(super) const fn new(id: TransferId, waiting: Registration) -> Self {
        Self { id, joined: false, known: Known::New(waiting) }
    }

    /// This call has made it, and it was refused at once.
    pub(super) fn refused(transfer: Transfer) -> Self {
        Self { id: transfer.id, joined: false, known: Known::Ended(Box::new(transfer)) }
    }
}

impl Request {
    /// The transfer that an earlier call with this request started.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] when that call said something else.
    pub(super) fn join(&self, id: TransferId, said: &Fingerprint) -> Result<Started> {
        if !said.same_content(&self.fingerprint) {
            let fields = said.differing_fields(&self.fingerprint);
            return Err(Error::RequestIdReused { method: self.key.method, fields });
        }
        Ok(Started { id, joined: true, known: Known::Nothing })
    }
}

impl Coordinator {
    /// The transfer that this request has started, if it has: found without a lock, so that repeats of a call
    /// never stand in the way of the answers that they wait for.
    pub(super) async fn joined(&self, request: &Request) -> Result<Option<Started>> {
        let first = self.store.transfer_by_request(&request.key).await?;
        first.map(|first| request.join(first.id, &first.fingerprint)).transpose()
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
}

/// A transfer that is refused before anybody was asked for anything: its row is the outcome that every repeat of the
/// request is told. Nobody has heard of it, so no event tells of its end.
pub(super) fn refused(transfer: Transfer, reason: Reason) -> Transfer {
    Transfer {
        state: State::Cancelled,
        reason: Some(reason),
        decided_at: Some(transfer.created_at),
        next_attempt_at: None,
        ..transfer
    }
}

/// Another call was faster; done again, this one finds what that one did.
pub(super) fn overtaken() -> Error {
    Error::Conflict("the order has changed, or another call has the same request_id".into())
}
