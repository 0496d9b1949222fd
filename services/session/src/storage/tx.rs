//! A consumer's run. Its effects are scripts that take hold at once and may be repeated; only the mark and the
//! parked events wait for the commit, which is one compare-and-set. A run that dies before it is done again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use events::{
    Act, Aggregate, ConsumerId, ConsumerTx, Event, LockedMark, Mark, Parked, Position, Skip, StoreError,
};
use types::{EventId, Failure};

use super::consumer::{MarkState, mark_texts};
use super::messages::parked_write;
use super::{Store, keys, script, time_of};
use crate::error::Result;

/// How many dropped events are recorded: the oldest go, so that nobody fills Redis with them.
const SKIPS_MAX: usize = 1000;

/// A run in progress. Dropping it forgets what it would have written of mark and parked events.
pub struct Tx {
    store: Store,
    begun: Option<Begun>,
    /// What the run parks, and what it removes.
    changes: BTreeMap<EventId, Option<Parked>>,
    /// What an operator's request came to.
    act: Option<Act>,
    /// What is recorded of an event that an operator dropped.
    skipped: String,
}

struct Begun {
    consumer: &'static str,
    /// Changed by every commit: two runs that began with the same one cannot both end.
    version: String,
    mark: Mark,
}

impl Tx {
    pub(super) fn new(store: Store) -> Self {
        Self { store, begun: None, changes: BTreeMap::new(), act: None, skipped: String::new() }
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

    /// A parked event as this run sees it.
    async fn parked_one(&self, consumer: ConsumerId, id: EventId) -> Result<Option<Parked>> {
        match self.changes.get(&id) {
            Some(change) => Ok(change.clone()),
            None => self.store.parked_fetch(consumer.name, id).await,
        }
    }

    async fn commit_all(self) -> Result<()> {
        let Some(Begun { consumer, version, mark }) = self.begun else {
            debug_assert!(self.changes.is_empty(), "a run locks its mark before it writes");
            return Ok(());
        };
        let mut call = script::CONSUMER_COMMIT.key(&keys::consumer(consumer)[..]);
        call.key(keys::skips(consumer));
        let removed = self.changes.iter().filter(|(_, parked)| parked.is_none());
        let (request_id, outcome) = match &self.act {
            Some(act) => (act.request_id.to_string(), act.outcome.as_str()),
            None => (String::new(), ""),
        };
        call.arg(version).arg(&mark_texts(&mark)[..]).arg(request_id).arg(outcome);
        call.arg(&self.skipped).arg(SKIPS_MAX);
        call.arg(removed.clone().count());
        for (id, _) in removed {
            call.arg(id.to_string());
        }
        for (id, parked) in &self.changes {
            if let Some(parked) = parked {
                call.arg(id.to_string()).arg(parked_write(consumer, parked));
            }
        }
        if self.store.redis.script(&call).await? {
            Ok(())
        } else {
            Err(Failure::contention("another run of this consumer ended first").into())
        }
    }
}

impl ConsumerTx for Tx {
    async fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> Result<bool, StoreError> {
        let Some(found) = self.store.mark_fetch(consumer.name).await? else { return Ok(false) };
        let MarkState { mark, version, halted } = found;
        // Halted after this look, its version is another: the run does not end.
        if mark != *from || halted.is_some() {
            return Ok(false);
        }
        self.begun = Some(Begun { consumer: consumer.name, version, mark: *to });
        Ok(true)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<LockedMark>, StoreError> {
        let Some(found) = self.store.mark_fetch(consumer.name).await? else { return Ok(None) };
        let MarkState { mark, version, halted } = found;
        self.begun = Some(Begun { consumer: consumer.name, version, mark });
        Ok(Some(LockedMark { mark, halted }))
    }

    async fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> Result<bool, StoreError> {
        // Taken from us after this look, its version is another: the run does not end.
        let locked = self.mark_lock(consumer).await?;
        if locked.and_then(|locked| locked.halted).as_deref() != Some(held) {
            return Ok(false);
        }
        Ok(self.store.resync_renew(consumer.name, held, duration).await?)
    }

    async fn parked_any(&mut self, consumer: ConsumerId) -> Result<bool, StoreError> {
        Ok(self.changes.values().any(Option::is_some) || self.store.parked_is_there(consumer.name).await?)
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
        // Parked again it keeps its time: that is when it began to wait.
        let parked_at = match self.parked_one(consumer, event.new.id).await? {
            Some(before) => before.parked_at,
            None => time_of(self.store.now_millis().await?)?,
        };
        let parked = Parked { event: event.clone(), attempts, error: error.to_owned(), parked_at };
        self.changes.insert(event.new.id, Some(parked));
        Ok(())
    }

    async fn parked_first(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Option<(Parked, usize)>, StoreError> {
        let mut parked = self.parked(consumer).await?.into_iter();
        let first = parked.find(|parked| parked.event.new.aggregate == *aggregate);
        let behind = parked.filter(|parked| parked.event.new.aggregate == *aggregate).count();
        Ok(first.map(|first| (first, behind)))
    }

    async fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>, StoreError> {
        let parked = self.parked_one(consumer, event_id).await?;
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

    async fn skip_record(
        &mut self,
        _consumer: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> Result<(), StoreError> {
        let Skip { event_id, request_id, caller, justification } = skip;
        // The justification may have several lines, so it is the last.
        self.skipped = format!("{event_id}\n{position}\n{request_id}\n{caller}\n{justification}");
        Ok(())
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.commit_all().await?)
    }

    async fn rollback(self) {}
}
