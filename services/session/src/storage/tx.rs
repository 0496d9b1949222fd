//! A consumer's run. Its effects are scripts that take hold at once and may be repeated; only the mark and the
//! parked events wait for the commit, which is one compare-and-set. A run that dies before it is done again.

use std::collections::{BTreeMap, HashSet};

use events::{Act, Aggregate, ConsumerId, ConsumerTx, Event, Mark, Parked, StoreError};
use types::EventId;

use super::consumer::mark_texts;
use super::messages::parked_write;
use super::{Store, keys, script, time_of};
use crate::error::{Error, Result};

/// A run in progress. Dropping it forgets what it would have written of mark and parked events.
pub struct Tx {
    store: Store,
    begun: Option<Begun>,
    /// What the run parks, and what it removes.
    changes: BTreeMap<EventId, Option<Parked>>,
    /// What an operator's request came to.
    act: Option<Act>,
}

struct Begun {
    consumer: &'static str,
    /// Changed by every commit: two runs that began with the same one cannot both end.
    version: String,
    mark: Mark,
}

impl Tx {
    pub(super) fn new(store: Store) -> Self {
        Self { store, begun: None, changes: BTreeMap::new(), act: None }
    }

    /// Where effects are written, at once.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The parked events as this run sees them.
    async fn parked(&self, consumer: ConsumerId) -> Result<Vec<Parked>> {
        let mut parked = self.store.parked_all(consumer.name).await?;
        parked.retain(|parked| !self.changes.contains_key(&parked.event.new.id));
        parked.extend(self.changes.values().flatten().cloned());
        parked.sort_by_key(|parked| parked.event.position);
        Ok(parked)
    }

    async fn commit_all(self) -> Result<()> {
        let Some(Begun { consumer, version, mark }) = self.begun else {
            debug_assert!(self.changes.is_empty(), "a run locks its mark before it writes");
            return Ok(());
        };
        let mut call = script::CONSUMER_COMMIT.key(&keys::consumer(consumer)[..]);
        let removed = self.changes.iter().filter(|(_, parked)| parked.is_none());
        let (request_id, outcome) = match &self.act {
            Some(act) => (act.request_id.to_string(), act.outcome.as_str()),
            None => (String::new(), ""),
        };
        call.arg(version).arg(&mark_texts(&mark)[..]).arg(request_id).arg(outcome);
        call.arg(removed.clone().count());
        for (id, _) in removed {
            call.arg(id.to_string());
        }
        for (id, parked) in &self.changes {
            if let Some(parked) = parked {
                call.arg(id.to_string()).arg(parked_write(consumer, parked));
            }
        }
        if self.store.redis.script(&call).await? { Ok(()) } else { Err(Error::Contention) }
    }
}

impl ConsumerTx for Tx {
    async fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> Result<bool, StoreError> {
        let Some((mark, version)) = self.store.mark_fetch(consumer.name).await? else { return Ok(false) };
        // Halted after this look, its version is another: the run does not end.
        if mark != *from || self.store.mark_is_halted(consumer.name).await? {
            return Ok(false);
        }
        self.begun = Some(Begun { consumer: consumer.name, version, mark: *to });
        Ok(true)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<Mark>, StoreError> {
        let Some((mark, version)) = self.store.mark_fetch(consumer.name).await? else { return Ok(None) };
        self.begun = Some(Begun { consumer: consumer.name, version, mark });
        Ok(Some(mark))
    }

    async fn parked_among(
        &mut self,
        consumer: ConsumerId,
        aggregates: &[Aggregate],
    ) -> Result<HashSet<Aggregate>, StoreError> {
        let parked = self.parked(consumer).await?.into_iter().map(|parked| parked.event.new.aggregate);
        Ok(parked.filter(|aggregate| aggregates.contains(aggregate)).collect())
    }

    async fn parked_aggregate_count(&mut self, consumer: ConsumerId) -> Result<u64, StoreError> {
        let parked = self.parked(consumer).await?;
        let aggregates: HashSet<_> = parked.iter().map(|parked| &parked.event.new.aggregate).collect();
        Ok(aggregates.len() as u64)
    }

    async fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<(), StoreError> {
        let (seconds, micros): (i64, i64) = self.store.redis.run(&redis::cmd("TIME")).await?;
        let parked_at = time_of(seconds * 1000 + micros / 1000)?;
        // Parked again it keeps its time: that is when it began to wait.
        let before =
            self.parked(consumer).await?.into_iter().find(|parked| parked.event.new.id == event.new.id);
        let parked_at = before.map_or(parked_at, |parked| parked.parked_at);
        let parked = Parked { event: event.clone(), attempts, error: error.to_owned(), parked_at };
        self.changes.insert(event.new.id, Some(parked));
        Ok(())
    }

    async fn parked_of(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Vec<Parked>, StoreError> {
        let mut parked = self.parked(consumer).await?;
        parked.retain(|parked| parked.event.new.aggregate == *aggregate);
        Ok(parked)
    }

    async fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>, StoreError> {
        let parked = self.parked(consumer).await?.into_iter().find(|parked| parked.event.new.id == event_id);
        if parked.is_some() {
            self.changes.insert(event_id, None);
        }
        Ok(parked)
    }

    async fn act(&mut self, consumer: ConsumerId) -> Result<Option<Act>, StoreError> {
        if self.act.is_some() {
            return Ok(self.act.clone());
        }
        Ok(self.store.act_fetch(consumer.name).await?)
    }

    async fn act_keep(&mut self, _consumer: ConsumerId, act: &Act) -> Result<(), StoreError> {
        self.act = Some(act.clone());
        Ok(())
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.commit_all().await?)
    }

    async fn rollback(self) {}
}
