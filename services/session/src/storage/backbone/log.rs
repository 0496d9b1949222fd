//! The sixteen event streams, as `EventService` and the relay read them. They have no sequencer: the script that
//! appends an event gives it its position. They are trimmed by length, whoever still needs the events, so durable
//! consumers cannot register.

use events::{Event, EventLog, Head, Position, Resolved, StoreError};
use redis::streams::StreamRangeReply;
use types::EventId;
use uuid::Uuid;

use super::events as entries;
use crate::domain::Partition;
use crate::error::{Error, Result};
use crate::storage::driver::Reply;
use crate::storage::{Store, keys, scripts};

/// How far the clocks of Redis and of a replica may be apart when an event is searched by its id.
const SKEW_MAX_MS: i64 = 60_000;
/// How many entries a search for an event by its id reads at once.
const RESOLVE_PAGE: usize = 500;

impl EventLog for Store {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        let Some(partition) = Partition::of_stream(stream) else { return Ok(None) };
        Ok(Some(self.stream_head(partition).await?))
    }

    async fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let Some(partition) = Partition::of_stream(stream) else { return Ok(Vec::new()) };
        Ok(self.stream_read(partition, after, limit).await?)
    }

    async fn event_id_at(&self, stream: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        let Some(partition) = Partition::of_stream(stream) else { return Ok(None) };
        let event = self.stream_read(partition, position.saturating_sub(1), 1).await?.pop();
        Ok(event.filter(|event| event.position == position).map(|event| event.new.id))
    }

    async fn resolve(&self, event_id: EventId) -> Result<Resolved, StoreError> {
        for partition in Partition::all() {
            if let Some(position) = self.stream_find(partition, event_id).await? {
                let stream = partition.stream();
                let epoch = self.stream_head(partition).await?.epoch;
                return Ok(Resolved::At { stream, epoch, position });
            }
        }
        Ok(Resolved::Unknown)
    }

    async fn acknowledge(
        &self,
        _stream: &str,
        _consumer: &str,
        _epoch: Uuid,
        _position: Position,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }
}

impl Store {
    async fn stream_head(&self, partition: Partition) -> Result<Head> {
        let mut script = scripts::STREAM_HEAD.key(keys::stream(partition));
        script.key(keys::events(partition)).arg(Uuid::new_v4().to_string());
        let mut reply: Reply = self.redis.script(&script).await?;
        let epoch: String = reply.next()?;
        let position = reply.next()?;
        let last: String = reply.next()?;
        Ok(Head {
            stream: partition.stream(),
            epoch: Uuid::try_parse(&epoch).map_err(Error::internal)?,
            position,
            event_id: (!last.is_empty()).then(|| last.parse()).transpose().map_err(Error::internal)?,
            oldest: reply.next()?,
        })
    }

    async fn stream_read(&self, partition: Partition, after: Position, limit: usize) -> Result<Vec<Event>> {
        let mut script = scripts::STREAM_READ.key(keys::stream(partition));
        script.key(keys::events(partition)).arg(format!("{}-0", after.max(0))).arg(limit);
        let mut reply: Reply = self.redis.script(&script).await?;
        let epoch: String = reply.next()?;
        let entries: StreamRangeReply = reply.next()?;
        if epoch.is_empty() {
            return Ok(Vec::new());
        }
        let epoch = Uuid::try_parse(&epoch).map_err(Error::internal)?;
        entries.ids.into_iter().map(|entry| entries::event(partition, epoch, entry)).collect()
    }

    /// When the oldest event was appended that a stream still has, in milliseconds of Unix time; the largest number when
    /// it has none.
    async fn oldest_time(&self, partition: Partition) -> Result<i64> {
        let oldest = redis::Cmd::xrange_count(keys::events(partition), "-", "+", 1);
        let oldest: StreamRangeReply = self.redis.run(&oldest).await?;
        oldest.ids.into_iter().next().map_or(Ok(i64::MAX), |entry| Ok(entries::id_and_time(entry)?.1))
    }

    /// Searches an event by its id, from the newest one back to those that are certainly older than the id.
    async fn stream_find(&self, partition: Partition, event_id: EventId) -> Result<Option<Position>> {
        let Some(made_at) = event_id.uuid().get_timestamp() else { return Ok(None) };
        let (seconds, nanos) = made_at.to_unix();
        let made_at = seconds.cast_signed().saturating_mul(1000) + i64::from(nanos / 1_000_000);
        let mut end = "+".to_owned();
        loop {
            let page = redis::Cmd::xrevrange_count(keys::events(partition), &end, "-", RESOLVE_PAGE);
            let page: StreamRangeReply = self.redis.run(&page).await?;
            let full = page.ids.len() == RESOLVE_PAGE;
            let is_first = end == "+";
            for entry in page.ids {
                let position = entries::position(&entry)?;
                let (id, at) = entries::id_and_time(entry)?;
                if id == event_id {
                    return Ok(Some(position));
                }
                if at < made_at - SKEW_MAX_MS {
                    return Ok(None);
                }
                end = format!("({position}-0");
            }
            // The time in an id is the caller's word: one before everything that is kept must not have all of it read.
            if !full || is_first && made_at + SKEW_MAX_MS < self.oldest_time(partition).await? {
                return Ok(None);
            }
        }
    }
}
