//! The use cases: one file each that changes something, `queries.rs` for the rest.
//!
//! A changing call is named by its [`Call`]; repeated, it gives the first [`Answer`] again. The order of checks is
//! everywhere: what became of the request id, then whose the thing is, then its state.

mod accounts;
mod cancel_order;
mod create_product;
mod customers;
mod events;
mod known_offers;
mod pay_order;
mod place_order;
mod queries;
mod refund_order;
mod statistics;
mod transfer_order;
mod transfers;

use std::sync::Arc;

use time::OffsetDateTime;
use types::{Clock, Fingerprint, IdSource, RequestKey, Role, UserId};

use crate::clients::{Users, Wallets};
use crate::domain::{Order, OrderOutcome};
use crate::error::{Error, Result};
use crate::storage::{Recorded, Store};
use crate::transfers::Coordinator;
use known_offers::KnownOffers;

pub(crate) use cancel_order::CancelOrder;
pub(crate) use create_product::CreateProduct;
pub(crate) use refund_order::RefundOrder;
pub(crate) use transfer_order::TransferOrder;
pub(crate) use transfers::Explanation;

/// The use cases with all that they need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    users: Users,
    wallets: Wallets,
    transfers: Coordinator,
    known_offers: KnownOffers,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

/// Which changing call it is, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
}

/// The answer to a changing call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    /// It is the first answer, given again.
    pub(crate) is_replay: bool,
}

impl<T> Answer<T> {
    fn first(value: T) -> Self {
        Self { value, is_replay: false }
    }

    fn replay(value: T) -> Self {
        Self { value, is_replay: true }
    }
}

impl App {
    /// The use cases on this database, asking this user service.
    #[must_use]
    pub(crate) fn new(
        store: Store,
        (users, wallets): (Users, Wallets),
        transfers: Coordinator,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { store, users, wallets, transfers, known_offers: KnownOffers::default(), clock, ids }
    }

    /// The present time as PostgreSQL can keep it: an answer is the same when it is rebuilt from there.
    pub(crate) fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_microsecond(now.microsecond()).unwrap_or(now)
    }

    pub(crate) fn new_id<T: From<uuid::Uuid>>(&self) -> T {
        self.ids.next().into()
    }

    /// Gives the first answer of a call about an order again.
    async fn replay_order(&self, recorded: Recorded, call: &Call) -> Result<Answer<Order>> {
        match recorded.outcome(&call.key, &call.fingerprint)? {
            OrderOutcome::Done { order_id, now } => {
                let order = self.store.order_fetch(order_id).await?;
                let order = order.ok_or_else(|| Error::internal("a recorded order does not exist"))?;
                Ok(Answer::replay(order.at(now)))
            }
            OrderOutcome::OutOfStock { product_id, quantity, stock } => {
                Err(Error::Replayed(Box::new(Error::OutOfStock { product_id, quantity, stock })))
            }
        }
    }

    /// The answer of the call that claimed a request id first, which has ended.
    async fn replay_order_of_first(&self, call: &Call) -> Result<Answer<Order>> {
        let recorded = self.store.request_find(&call.key).await?;
        let recorded =
            recorded.ok_or_else(|| Error::internal("a request id was claimed and is not recorded"))?;
        self.replay_order(recorded, call).await
    }
}
