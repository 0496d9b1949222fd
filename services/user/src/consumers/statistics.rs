//! The effects of consumer `user.statistics`: users' sums of their orders. A run of events is added up first and
//! written with one command, in the order of the users' ids.

use std::collections::BTreeMap;

use api::order::v1::{OrderCancelled, OrderPaid, OrderPlaced, OrderTransferred};
use events::{ConsumerId, EffectError, Effects, Event};
use prost::{Message, Name};
use types::UserId;

use crate::domain::user::OrderStatistics;
use crate::storage::Tx;

/// The consumer.
pub(crate) const CONSUMER: ConsumerId = ConsumerId { name: "user.statistics", stream: "order" };

/// The effects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statistics;

impl Effects<Tx> for Statistics {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let sums = add_up(run)?;
        tx.statistics_add(sums.into_iter()).await?;
        Ok(())
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(order_change(event), Ok(None))
    }
}

fn add_up(run: &[Event]) -> Result<BTreeMap<UserId, OrderStatistics>, EffectError> {
    let mut sums: BTreeMap<UserId, OrderStatistics> = BTreeMap::new();
    for event in run {
        match order_change(event)? {
            None => {}
            Some(OrderChange::Placed { customer }) => {
                let sums = sums.entry(customer).or_default();
                sums.placed_count += 1;
                sums.owned_count += 1;
            }
            Some(OrderChange::Paid { customer }) => sums.entry(customer).or_default().paid_count += 1,
            Some(OrderChange::Cancelled { customer }) => {
                let sums = sums.entry(customer).or_default();
                sums.cancelled_count += 1;
                sums.owned_count -= 1;
            }
            Some(OrderChange::HandedOver { from, to }) => {
                sums.entry(from).or_default().owned_count -= 1;
                sums.entry(to).or_default().owned_count += 1;
            }
        }
    }
    Ok(sums)
}

/// What an order's event means for the users' sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderChange {
    Placed { customer: UserId },
    Paid { customer: UserId },
    Cancelled { customer: UserId },
    HandedOver { from: UserId, to: UserId },
}

/// Reads an event; `None` when it is of a type that changes no sum.
fn order_change(event: &Event) -> Result<Option<OrderChange>, EffectError> {
    if let Some(placed) = read::<OrderPlaced>(event)? {
        return Ok(Some(OrderChange::Placed { customer: user(&placed.customer_id)? }));
    }
    if let Some(paid) = read::<OrderPaid>(event)? {
        return Ok(Some(OrderChange::Paid { customer: user(&paid.customer_id)? }));
    }
    if let Some(cancelled) = read::<OrderCancelled>(event)? {
        return Ok(Some(OrderChange::Cancelled { customer: user(&cancelled.customer_id)? }));
    }
    if let Some(handed) = read::<OrderTransferred>(event)? {
        let (from, to) = (user(&handed.from_user_id)?, user(&handed.to_user_id)?);
        return Ok(Some(OrderChange::HandedOver { from, to }));
    }
    Ok(None)
}

fn read<M: Message + Name + Default>(event: &Event) -> Result<Option<M>, EffectError> {
    event.decode::<M>().transpose().map_err(|error| EffectError::Permanent(error.into()))
}

fn user(text: &str) -> Result<UserId, EffectError> {
    text.parse().map_err(|_| EffectError::Permanent(format!("{text:?} is not a user's id").into()))
}
