//! The effects of consumer `user.statistics`: users' sums of their orders. A run of events is added up first and
//! written with one command, in the order of the users' ids.

use std::collections::BTreeMap;

use events::{ConsumerId, EffectError, Effects, Event};
use types::UserId;

use super::events::{OrderChange, order_change};
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
