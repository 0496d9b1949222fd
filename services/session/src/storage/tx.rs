//! The transaction of a durable consumer's run. The effects are scripts that take hold at once and may be repeated;
//! only the mark and the parked events wait for the commit, which is one compare-and-set. A run that dies before its
//! commit is done again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use events::{
    Act, Aggregate, ConsumerId, ConsumerTx, Event, LockedMark, Mark, Parked, Position, Skip, StoreError,
};
use types::{EventId, Failure};

use super::backbone::{MarkState, mark_texts, parked_write};
use super::driver::time_of;
use super::{Store, keys, scripts};
use crate::error::Result;

/// How many dropped events are recorded. The oldest records are removed, so that they do not fill Redis.
const SKIPS_MAX: usize = 1000;

/// A run in progress. When it is dropped, the mark and the parked events stay as they were.
pub struct Tx {
    store: Store,
    new_mark: Option<NewMark>,
    /// The events that the run parks, and those that it removes (`None`).
    changes: BTreeMap<EventId, Option<Parked>>,
    /// The outcome of an operator's request.
    act: Option<Act>,
    /// What is recorded of an event that an operator dropped.
    skipped: String,
}

/// The mark that the commit writes.
struct NewMark {
    consumer: &'static str,
    /// The version of the mark when the run began. Every commit changes it, so of two runs that began with the same one
    /// only one is committed.
    version: String,
    mark: Mark,
}

impl Tx {
    pub(super) fn new(store: Store) -> Self {
        Self { store, new_mark: None, changes: BTreeMap::new(), act: None, skipped: String::new() }
    }

    /// The store, where effects take hold at once.
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
        let Some(NewMark { consumer, version, mark }) = self.new_mark else {
            debug_assert!(self.changes.is_empty(), "a run locks its mark before it writes");
            return Ok(());
        };
        let mut script = scripts::CONSUMER_COMMIT.key(&keys::consumer(consumer)[..]);
        script.key(keys::skips(consumer));
        let removed = self.changes.iter().filter(|(_, parked)| parked.is_none());
        let (request_id, outcome) = match &self.act {
            Some(act) => (act.request_id.to_string(), act.outcome.as_str()),
            None => (String::new(), ""),
        };
        script.arg(version).arg(&mark_texts(&mark)[..]).arg(request_id).arg(outcome);
        script.arg(&self.skipped).arg(SKIPS_MAX);
        script.arg(removed.clone().count());
        for (id, _) in removed {
            script.arg(id.to_string());
        }
        for (id, parked) in &self.changes {
            if let Some(parked) = parked {
                script.arg(id.to_string()).arg(parked_write(consumer, parked));
            }
        }
        if self.store.redis.script(&script).await? {
            Ok(())
        } else {
            Err(Failure::contention("another run of this consumer was committed first").into())
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
        // A consumer that is halted after this look gets another version, and then the commit fails.
        if mark != *from || halted.is_some() {
            return Ok(false);
        }
        self.new_mark = Some(NewMark { consumer: consumer.name, version, mark: *to });
        Ok(true)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<LockedMark>, StoreError> {
        let Some(found) = self.store.mark_fetch(consumer.name).await? else { return Ok(None) };
        let MarkState { mark, version, halted } = found;
        self.new_mark = Some(NewMark { consumer: consumer.name, version, mark });
        Ok(Some(LockedMark { mark, halted }))
    }

    async fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> Result<bool, StoreError> {
        // A hold that another takes after this look changes the version, and then the commit fails.
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
        // An event that is parked again keeps its time: it has waited since then.
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
        // The justification comes last, since it may have several lines.
        self.skipped = format!("{event_id}\n{position}\n{request_id}\n{caller}\n{justification}");
        Ok(())
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.commit_all().await?)
    }

    async fn rollback(self) {}
}
