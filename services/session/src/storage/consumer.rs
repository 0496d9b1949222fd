//! Marks and parked events of durable consumers whose effects are in this Redis.
//!
//! A mark is not made with its lease, as in a database that lasts: after a flush the beginning of the stream may be
//! pruned, so a worker looks first where the consumer can begin, and until then nobody gets the lease.

use std::time::Duration;

use events::{
    Act, ConsumerId, ConsumerStore, HoldClaim, LeasedMark, Mark, Parked, Position, Resynced, Standing,
    StoreError,
};
use types::EventId;
use uuid::Uuid;

use super::connection::Reply;
use super::messages::parked_read;
use super::{Store, Tx, keys, millis, script};
use crate::error::{Error, Result};

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
        let mut call = script::CONSUMER_ADOPT.key(mark);
        call.arg(&mark_texts(from)[..]).arg(&mark_texts(to)[..]);
        Ok(self.redis.script(&call).await?)
    }

    async fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let [mark, _] = keys::consumer(consumer.name);
        let mut call = script::CONSUMER_HALT.key(mark);
        call.arg(&mark_texts(at)[..]).arg(owner.to_string()).arg(reason);
        Ok(self.redis.script(&call).await?)
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
        let mut call = script::RESYNC_HOLD.key(mark);
        call.arg(reason).arg(millis(duration));
        let Some(mut reply) = self.redis.script::<Option<Reply>>(&call).await? else { return Ok(None) };
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
        let mut call = script::RESYNC_END.key(mark);
        call.arg(&mark_texts(from)[..]).arg(held.unwrap_or_default()).arg(&mark_texts(to)[..]);
        call.arg(done.request_id.to_string()).arg(done.aggregates).arg(done.position);
        Ok(self.redis.script(&call).await?)
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
        let mut call = script::CONSUMER_LEASE.key(mark);
        call.arg(owner.to_string()).arg(millis(duration));
        let Some(mut reply) = self.redis.script::<Option<Reply>>(&call).await? else { return Ok(None) };
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

    /// The time by Redis' clock, in milliseconds since 1970.
    pub(super) async fn now_millis(&self) -> Result<i64> {
        let (seconds, micros): (i64, i64) = self.redis.run(&redis::cmd("TIME")).await?;
        Ok(seconds * 1000 + micros / 1000)
    }

    /// Whether a consumer has a mark. Without one nobody gets its lease.
    pub(crate) async fn mark_exists(&self, name: &str) -> Result<bool> {
        Ok(self.mark_fetch(name).await?.is_some())
    }

    /// Makes the mark of a consumer that has none; `false` when there is one already.
    pub(crate) async fn mark_begin(&self, name: &str, at: &Mark) -> Result<bool> {
        let [mark, _] = keys::consumer(name);
        let mut call = script::CONSUMER_BEGIN.key(mark);
        call.arg(&mark_texts(at)[..]);
        self.redis.script(&call).await
    }

    /// Renews a resync's hold; `false` when the consumer is not held for it any more.
    pub(crate) async fn resync_renew(&self, name: &str, held: &str, duration: Duration) -> Result<bool> {
        let [mark, _] = keys::consumer(name);
        let mut call = script::RESYNC_HOLDS.key(mark);
        call.arg(held).arg(millis(duration));
        self.redis.script(&call).await
    }

    /// How a mark stands; `None` when there is none.
    pub(super) async fn mark_fetch(&self, name: &str) -> Result<Option<MarkState>> {
        let [key, _] = keys::consumer(name);
        let fields = ["epoch", "position", "event_id", "version", "halted"];
        let values: [Option<String>; 5] = self.redis.run(&redis::Cmd::hmget(key, &fields)).await?;
        let [Some(epoch), Some(position), Some(event_id), Some(version), halted] = values else {
            return Ok(None);
        };
        let position = position.parse().map_err(Error::internal)?;
        let mark = mark_read(&epoch, position, &event_id)?;
        Ok(Some(MarkState { mark, version, halted: halted.filter(|reason| !reason.is_empty()) }))
    }

    /// The last act of an operator on a consumer's parked events.
    pub(super) async fn act_fetch(&self, name: &str) -> Result<Option<Act>> {
        let [key, _] = keys::consumer(name);
        let fields = ["act_request", "act_outcome"];
        let values: [Option<String>; 2] = self.redis.run(&redis::Cmd::hmget(key, &fields)).await?;
        let [Some(request_id), Some(outcome)] = values else { return Ok(None) };
        Ok(Some(Act { request_id: request_id.parse().map_err(Error::internal)?, outcome }))
    }

    /// Whether a consumer has parked events.
    pub(super) async fn parked_is_there(&self, name: &str) -> Result<bool> {
        let [_, parked] = keys::consumer(name);
        self.redis.run(&redis::Cmd::exists(parked)).await
    }

    /// A parked event.
    pub(super) async fn parked_fetch(&self, name: &str, id: EventId) -> Result<Option<Parked>> {
        let [_, parked] = keys::consumer(name);
        let value: Option<Vec<u8>> = self.redis.run(&redis::Cmd::hget(parked, id.to_string())).await?;
        value.map(|value| parked_read(&value)).transpose()
    }

    /// All parked events of a consumer, in order. The engine halts a stream before many aggregates have some, but those
    /// that wait behind the first of an aggregate may be many: not for the way of every event.
    pub(super) async fn parked_all(&self, name: &str) -> Result<Vec<Parked>> {
        let [_, parked] = keys::consumer(name);
        let values: Vec<Vec<u8>> = self.redis.run(&redis::Cmd::hvals(parked)).await?;
        let mut parked = values.iter().map(|value| parked_read(value)).collect::<Result<Vec<_>>>()?;
        parked.sort_by_key(|parked| parked.event.position);
        Ok(parked)
    }
}

/// How a mark stands.
pub(super) struct MarkState {
    pub(super) mark: Mark,
    /// What a run of it begins with.
    pub(super) version: String,
    /// Why its consumer stands still.
    pub(super) halted: Option<String>,
}

/// How a mark is kept: an epoch that is not known yet, and the event before the first, are empty.
pub(super) fn mark_texts(mark: &Mark) -> [String; 3] {
    let epoch = if mark.epoch.is_nil() { String::new() } else { mark.epoch.to_string() };
    let event_id = mark.event_id.map(|id| id.to_string()).unwrap_or_default();
    [epoch, mark.position.to_string(), event_id]
}

fn mark_next(reply: &mut Reply) -> Result<Mark> {
    mark_read(&reply.next::<String>()?, reply.next()?, &reply.next::<String>()?)
}

fn mark_read(epoch: &str, position: Position, event_id: &str) -> Result<Mark> {
    Ok(Mark {
        epoch: if epoch.is_empty() {
            Uuid::nil()
        } else {
            Uuid::try_parse(epoch).map_err(Error::internal)?
        },
        position,
        event_id: (!event_id.is_empty()).then(|| event_id.parse()).transpose().map_err(Error::internal)?,
    })
}
