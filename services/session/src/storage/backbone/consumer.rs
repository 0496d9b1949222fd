//! What the engine of durable consumers needs of this Redis: leases, halts and resyncs of a consumer's mark.
//!
//! In PostgreSQL and MongoDB the first lease makes the mark. Redis can lose the mark to a flush, when the producer may
//! have pruned the beginning of its stream. So a worker finds out where the consumer can begin and makes the mark
//! ([`Store::mark_begin`]); until then nobody gets the lease.

use std::time::Duration;

use events::{
    ConsumerId, ConsumerStore, HoldClaim, LeasedMark, Mark, Parked, Position, Resynced, Standing, StoreError,
};
use uuid::Uuid;

use super::marks::{MarkState, mark_next, mark_texts};
use crate::error::{Error, Result};
use crate::storage::driver::{Reply, millis};
use crate::storage::{Store, Tx, keys, scripts};

impl ConsumerStore for Store {
    type Tx = Tx;

    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx::new(self.clone()))
    }

    async fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<LeasedMark>, StoreError> {
        Ok(self.consumer_lease(consumer.name, owner, duration).await?)
    }

    async fn mark_adopt(&self, consumer: ConsumerId, from: &Mark, to: &Mark) -> Result<bool, StoreError> {
        let [mark, _] = keys::consumer(consumer.name);
        let mut script = scripts::CONSUMER_ADOPT.key(mark);
        script.arg(&mark_texts(from)[..]).arg(&mark_texts(to)[..]);
        Ok(self.redis.script(&script).await?)
    }

    async fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let [mark, _] = keys::consumer(consumer.name);
        let mut script = scripts::CONSUMER_HALT.key(mark);
        script.arg(&mark_texts(at)[..]).arg(owner.to_string()).arg(reason);
        Ok(self.redis.script(&script).await?)
    }

    async fn standing(&self, consumer: ConsumerId) -> Result<Option<Standing>, StoreError> {
        Ok(self.consumer_standing(consumer.name).await?)
    }

    async fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> Result<Option<HoldClaim>, StoreError> {
        let [mark, _] = keys::consumer(consumer.name);
        let mut script = scripts::RESYNC_HOLD.key(mark);
        script.arg(reason).arg(millis(duration));
        let Some(mut reply) = self.redis.script::<Option<Reply>>(&script).await? else { return Ok(None) };
        if reply.next()? {
            return Ok(Some(HoldClaim::Held(mark_next(&mut reply)?)));
        }
        Ok(Some(HoldClaim::Taken(reply.next()?)))
    }

    async fn resync_end(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
        held: Option<&str>,
        done: &Resynced,
    ) -> Result<bool, StoreError> {
        let [mark, _] = keys::consumer(consumer.name);
        let mut script = scripts::RESYNC_END.key(mark);
        script.arg(&mark_texts(from)[..]).arg(held.unwrap_or_default()).arg(&mark_texts(to)[..]);
        script.arg(done.request_id.to_string()).arg(done.aggregates).arg(done.position);
        Ok(self.redis.script(&script).await?)
    }

    async fn parked_list(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        let mut parked = self.parked_all(consumer).await?;
        parked.retain(|parked| parked.event.position > after);
        parked.truncate(limit);
        Ok(parked)
    }
}

impl Store {
    async fn consumer_lease(
        &self,
        name: &str,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<LeasedMark>> {
        let [mark, _] = keys::consumer(name);
        let mut script = scripts::CONSUMER_LEASE.key(mark);
        script.arg(owner.to_string()).arg(millis(duration));
        let Some(mut reply) = self.redis.script::<Option<Reply>>(&script).await? else { return Ok(None) };
        let mark = mark_next(&mut reply)?;
        let fence = reply.next()?;
        let halted: String = reply.next()?;
        Ok(Some(LeasedMark { mark, fence, halted: (!halted.is_empty()).then_some(halted) }))
    }

    async fn consumer_standing(&self, name: &str) -> Result<Option<Standing>> {
        let Some(MarkState { mark, halted, .. }) = self.mark_fetch(name).await? else { return Ok(None) };
        let [key, _] = keys::consumer(name);
        let fields = ["hold_until", "resync_request", "resync_aggregates", "resync_position"];
        let values: [Option<String>; 4] = self.redis.run(&redis::Cmd::hmget(key, &fields)).await?;
        let [hold_until, request_id, aggregates, position] = values;
        let resynced = match (request_id, aggregates, position) {
            (Some(request_id), Some(aggregates), Some(position)) => Some(Resynced {
                request_id: Uuid::try_parse(&request_id).map_err(Error::internal)?,
                aggregates: aggregates.parse().map_err(Error::internal)?,
                position: position.parse().map_err(Error::internal)?,
            }),
            _ => None,
        };
        let held = match hold_until {
            Some(until) => until.parse::<i64>().map_err(Error::internal)? > self.now_millis().await?,
            None => false,
        };
        Ok(Some(Standing { mark, halted, held, resynced }))
    }
}
