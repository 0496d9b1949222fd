//! The use cases: one file each that changes something, `queries.rs` for the rest.
//!
//! A call that changes something has a [`Call`]; repeated, it gives the first [`Answer`] again. Everything is checked in
//! the same order: what became of the request id, then whose the thing is, then its state.

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
use types::{Answer, Call, Clock, IdSource};

use crate::clients::{Users, Wallets};
use crate::domain::{Order, OrderOutcome, OrderRefused};
use crate::error::{Error, Result};
use crate::storage::{Saved, Store};
use crate::transfers::Coordinator;
use known_offers::KnownOffers;

pub(crate) use accounts::ListEntries;
pub(crate) use cancel_order::CancelOrder;
pub(crate) use create_product::CreateProduct;
pub(crate) use transfer_order::TransferOrder;
pub(crate) use transfers::Explanation;

pub(crate) use crate::transfers::RefundOrder;

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

    /// The answer to a call about an order: its own, or that of the call that claimed its request id first.
    async fn first_or_replay(&self, order: Option<Order>, call: &Call) -> Result<Answer<Order>> {
        if let Some(order) = order {
            return Ok(Answer::first(order));
        }
        let saved = self.store.request_fetch(&call.key).await?;
        let saved = saved.ok_or_else(|| Error::internal("a request id was claimed and has no outcome"))?;
        self.replay_order(saved, call).await
    }

    /// Gives the first answer of a call about an order again.
    async fn replay_order(&self, saved: Saved, call: &Call) -> Result<Answer<Order>> {
        match saved.outcome(call)? {
            OrderOutcome::Done { order_id, now } => {
                let order = self.store.order_fetch(order_id).await?;
                let order = order.ok_or_else(|| Error::internal("the order of an outcome does not exist"))?;
                Ok(Answer::replay(order.at(now)))
            }
            OrderOutcome::OutOfStock { product_id, quantity, stock } => {
                let refused = OrderRefused::OutOfStock { product_id, quantity, stock };
                Err(Error::Replayed(Box::new(refused.into())))
            }
        }
    }
}
