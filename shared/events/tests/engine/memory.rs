//! A model of a database that does what the store traits promise, in the simplest form. The engine's own tests run over
//! it, because no real server could be put through thousands of disorders. The services' tests run the conformance
//! suites over their real databases.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use events::{
    Act, Aggregate, ConsumerId, ConsumerStore, ConsumerTx, Event, EventLog, Head, HoldClaim, Lease,
    LeasedMark, LockedMark, Mark, NewEvent, OutboxStore, Parked, Position, Resolved, Resynced, Silent, Skip,
    Stamp, Standing, StoreError,
};
use time::OffsetDateTime;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::Instant;
use types::EventId;
use uuid::Uuid;

/// A producer's database.
#[derive(Clone)]
pub(crate) struct MemoryOutbox {
    state: Arc<Mutex<Outbox>>,
    appended: Arc<Notify>,
}

#[derive(Clone)]
struct Outbox {
    stream: String,
    epoch: Uuid,
    server: u32,
    stamped_on: u32,
    pending: Vec<NewEvent>,
    /// `events[n]` is at position n+1; pruned ones are `None`.
    events: Vec<Option<(NewEvent, Instant)>>,
    ids: Vec<EventId>,
    owner: Uuid,
    lease_until: Instant,
    fence: i64,
    published_through: Position,
    acknowledged: HashMap<String, Acknowledged>,
    /// How often events were read.
    reads: u32,
    /// How many steps of a sequencer there were.
    stamps: u32,
    /// Whether it counts events as published that are only stamped.
    is_hasty: bool,
}

/// What a registered consumer has acknowledged.
#[derive(Clone, Copy)]
struct Acknowledged {
    epoch: Uuid,
    position: Position,
    at: Instant,
}

/// A backup of everything.
pub(crate) struct Backup(Outbox);

impl MemoryOutbox {
    pub(crate) fn new(stream: &str) -> Self {
        let state = Outbox {
            stream: stream.to_owned(),
            epoch: Uuid::new_v4(),
            server: 0,
            stamped_on: 0,
            pending: Vec::new(),
            events: Vec::new(),
            ids: Vec::new(),
            owner: Uuid::nil(),
            lease_until: Instant::now(),
            fence: 0,
            published_through: 0,
            acknowledged: HashMap::new(),
            reads: 0,
            stamps: 0,
            is_hasty: false,
        };
        Self { state: Arc::new(Mutex::new(state)), appended: Arc::new(Notify::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.state.lock().unwrap()
    }

    /// Commits a transaction that appended these events.
    pub(crate) fn commit(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        let mut state = self.lock();
        for event in &events {
            let same = |other: &NewEvent| {
                other.aggregate == event.aggregate && other.aggregate_version == event.aggregate_version
            };
            let stamped = state.events.iter().flatten().map(|(event, _)| event);
            if state.pending.iter().chain(stamped).any(same) {
                return Err(StoreError::Permanent("the version is taken".into()));
            }
        }
        state.pending.extend(events);
        drop(state);
        self.appended.notify_one();
        Ok(())
    }

    /// Counts events as published from now on that are only stamped.
    pub(crate) fn be_hasty(&self) {
        self.lock().is_hasty = true;
    }

    /// The ids of all stamped events, in order.
    pub(crate) fn ids(&self) -> Vec<EventId> {
        self.lock().ids.clone()
    }

    pub(crate) fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    pub(crate) fn register(&self, consumer: &str) {
        let nothing = Acknowledged { epoch: Uuid::nil(), position: 0, at: Instant::now() };
        self.lock().acknowledged.insert(consumer.to_owned(), nothing);
    }

    pub(crate) fn move_to_another_server(&self) {
        self.lock().server += 1;
    }

    /// Lets the owner's lease run out, whatever the owner is doing.
    pub(crate) fn expire_lease(&self) {
        self.lock().lease_until = Instant::now();
    }

    pub(crate) fn acknowledged(&self, consumer: &str) -> Option<Position> {
        self.lock().acknowledged.get(consumer).map(|said| said.position)
    }

    /// How often events were read since the last time this was asked.
    pub(crate) fn take_reads(&self) -> u32 {
        std::mem::take(&mut self.lock().reads)
    }

    /// How many steps of a sequencer there were since the last time this was asked.
    pub(crate) fn take_stamps(&self) -> u32 {
        std::mem::take(&mut self.lock().stamps)
    }

    pub(crate) fn published_through(&self) -> Position {
        self.lock().published_through
    }

    pub(crate) fn backup(&self) -> Backup {
        Backup(self.lock().clone())
    }

    /// Restores a backup, with a new epoch, as the procedure for a restore does.
    pub(crate) fn restore(&self, backup: Backup) {
        let mut state = self.lock();
        *state = backup.0;
        state.epoch = Uuid::new_v4();
        state.owner = Uuid::nil();
        state.fence += 1000;
    }
}

impl Outbox {
    fn event(&self, position: Position) -> Option<Event> {
        let at = usize::try_from(position).ok()?.checked_sub(1)?;
        let (new, _) = self.events.get(at)?.clone()?;
        Some(Event {
            stream: self.stream.clone(),
            epoch: self.epoch,
            position,
            previous: at.checked_sub(1).map(|before| self.ids[before]),
            new,
        })
    }

    fn oldest(&self) -> Position {
        self.events.iter().position(Option::is_some).map_or(0, |at| at as Position + 1)
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.owner == lease.owner && self.fence == lease.fence
    }

    fn lease(&self) -> Lease {
        Lease {
            stream: self.stream.clone(),
            owner: self.owner,
            fence: self.fence,
            epoch: self.epoch,
            head: self.events.len() as Position,
            published_through: self.published_through,
        }
    }

    /// The pending event to stamp next: the lowest version of the aggregate whose id comes first.
    fn next_pending(&mut self) -> Option<NewEvent> {
        let aggregate = self.pending.iter().min_by_key(|event| event.id)?.aggregate.clone();
        let (at, _) = (self.pending.iter().enumerate())
            .filter(|(_, event)| event.aggregate == aggregate)
            .min_by_key(|(_, event)| event.aggregate_version)?;
        Some(self.pending.remove(at))
    }
}

/// Lets other tasks run, as the round trip of a call would.
async fn round_trip() {
    tokio::task::yield_now().await;
}

impl EventLog for MemoryOutbox {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        round_trip().await;
        let state = self.lock();
        Ok((state.stream == stream).then(|| Head {
            stream: state.stream.clone(),
            epoch: state.epoch,
            position: state.events.len() as Position,
            event_id: state.ids.last().copied(),
            oldest: state.oldest(),
        }))
    }

    async fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        state.reads += 1;
        assert_eq!(stream, state.stream);
        let places = std::iter::successors(after.checked_add(1), |place| place.checked_add(1));
        Ok(places.map_while(|position| state.event(position)).take(limit).collect())
    }

    async fn event_id_at(&self, _: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        round_trip().await;
        Ok(self.lock().event(position).map(|event| event.new.id))
    }

    async fn resolve(&self, event_id: EventId) -> Result<Resolved, StoreError> {
        round_trip().await;
        let state = self.lock();
        if state.pending.iter().any(|event| event.id == event_id) {
            return Ok(Resolved::Pending);
        }
        Ok(state.ids.iter().position(|id| *id == event_id).map_or(Resolved::Unknown, |at| Resolved::At {
            stream: state.stream.clone(),
            epoch: state.epoch,
            position: at as Position + 1,
        }))
    }

    async fn acknowledge(
        &self,
        stream: &str,
        consumer: &str,
        epoch: Uuid,
        position: Position,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        let known = state.stream == stream && state.acknowledged.contains_key(consumer);
        if known {
            let said = Acknowledged { epoch, position, at: Instant::now() };
            state.acknowledged.insert(consumer.to_owned(), said);
        }
        Ok(known)
    }
}

impl OutboxStore for MemoryOutbox {
    async fn lease(&self, _: &str, owner: Uuid, duration: Duration) -> Result<Option<Lease>, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        let now = Instant::now();
        if state.owner != owner {
            if state.lease_until > now {
                return Ok(None);
            }
            state.owner = owner;
            state.fence += 1;
        }
        state.lease_until = now + duration;
        if state.stamped_on != state.server {
            state.stamped_on = state.server;
            state.epoch = Uuid::new_v4();
        }
        Ok(Some(state.lease()))
    }

    async fn stamp(&self, lease: &Lease, limit: usize, duration: Duration) -> Result<Stamp, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        if !state.holds(lease) {
            return Ok(Stamp::LeaseLost);
        }
        state.stamps += 1;
        let now = Instant::now();
        state.lease_until = now + duration;
        let mut stamped = Vec::new();
        while stamped.len() < limit {
            let Some(event) = state.next_pending() else { break };
            state.ids.push(event.id);
            state.events.push(Some((event, now)));
            let position = state.events.len() as Position;
            stamped.extend(state.event(position));
        }
        if state.is_hasty {
            state.published_through = state.events.len() as Position;
        }
        Ok(Stamp::Stamped(stamped))
    }

    async fn is_idle(&self, lease: &Lease, duration: Duration) -> Result<bool, StoreError> {
        round_trip().await;
        let state = self.lock();
        let left = state.lease_until.saturating_duration_since(Instant::now());
        Ok(state.holds(lease) && state.pending.is_empty() && left > duration * 2 / 3)
    }

    async fn published(&self, lease: &Lease, through: Position) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        let holds = state.holds(lease);
        if holds {
            state.published_through = through;
        }
        Ok(holds)
    }

    async fn prune(&self, lease: &Lease, retention: Duration, limit: usize) -> Result<u64, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        if !state.holds(lease) {
            return Ok(0);
        }
        let is_old = |event: &Option<(NewEvent, Instant)>| {
            event.as_ref().is_some_and(|(_, stamped)| stamped.elapsed() >= retention)
        };
        let newest_old = state.events.iter().rposition(is_old).map_or(0, |at| at + 1);
        let needed = state.acknowledged.values().map(|said| said.position as usize).min();
        let needed = needed.unwrap_or(newest_old);
        let below = newest_old.min(needed).saturating_sub(1);
        let doomed: Vec<usize> = (0..below).filter(|at| state.events[*at].is_some()).take(limit).collect();
        for at in &doomed {
            state.events[*at] = None;
        }
        Ok(doomed.len() as u64)
    }

    async fn silent_consumers(&self, _: &str, longer_than: Duration) -> Result<Vec<Silent>, StoreError> {
        round_trip().await;
        let state = self.lock();
        let mut silent: Vec<Silent> = (state.acknowledged.iter())
            .filter(|(_, said)| said.epoch != state.epoch || said.at.elapsed() > longer_than)
            .map(|(consumer, said)| Silent {
                consumer: consumer.clone(),
                acknowledged: said.position,
                is_of_epoch: said.epoch == state.epoch,
            })
            .collect();
        silent.sort_by(|one, other| one.consumer.cmp(&other.consumer));
        Ok(silent)
    }

    async fn appended(&self) {
        self.appended.notified().await;
    }
}

/// A consumer's database. Its transactions exclude each other.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    state: Arc<tokio::sync::Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    marks: HashMap<&'static str, MarkRow>,
    parked: HashMap<&'static str, Vec<Parked>>,
    /// The events that the effects have applied, in order.
    applied: Vec<Event>,
    counts: HashMap<Aggregate, i64>,
    skips: Vec<(Position, Skip)>,
}

#[derive(Clone)]
struct MarkRow {
    mark: Mark,
    owner: Uuid,
    until: Instant,
    fence: i64,
    halted: Option<String>,
    hold_until: Option<Instant>,
    resynced: Option<Resynced>,
    act: Option<Act>,
}

impl MarkRow {
    fn is_held(&self) -> bool {
        self.hold_until.is_some_and(|until| until > Instant::now())
    }
}

/// A transaction: a copy that replaces the state at the commit.
pub(crate) struct MemoryTx {
    guard: OwnedMutexGuard<State>,
    copy: State,
}

impl MemoryStore {
    pub(crate) async fn applied(&self) -> Vec<Event> {
        self.state.lock().await.applied.clone()
    }

    pub(crate) async fn count(&self, aggregate: &Aggregate) -> i64 {
        self.state.lock().await.counts.get(aggregate).copied().unwrap_or_default()
    }

    pub(crate) async fn skips(&self) -> Vec<(Position, Skip)> {
        self.state.lock().await.skips.clone()
    }

    /// Lets the owner's lease run out, whatever the owner is doing.
    pub(crate) async fn expire_lease(&self, consumer: ConsumerId) {
        self.state.lock().await.row(consumer).until = Instant::now();
    }

    /// The mark of a consumer, and the reason of its halt.
    pub(crate) async fn stands(&self, consumer: ConsumerId) -> (Mark, Option<String>) {
        let state = self.state.lock().await;
        state.marks.get(consumer.name).map_or((Mark::START, None), |row| (row.mark, row.halted.clone()))
    }
}

impl MemoryTx {
    /// The tests' effect.
    pub(crate) fn apply(&mut self, event: &Event) {
        self.copy.applied.push(event.clone());
        *self.copy.counts.entry(event.new.aggregate.clone()).or_default() += 1;
    }

    /// Moves the mark as a consumer without a compare-and-set would.
    pub(crate) fn set_mark(&mut self, consumer: ConsumerId, mark: Mark) {
        self.copy.row(consumer).mark = mark;
    }

    pub(crate) fn count_up(&mut self, aggregate: &Aggregate) {
        *self.copy.counts.entry(aggregate.clone()).or_default() += 1;
    }
}

impl State {
    fn row(&mut self, consumer: ConsumerId) -> &mut MarkRow {
        self.marks.entry(consumer.name).or_insert_with(|| MarkRow {
            mark: Mark::START,
            owner: Uuid::nil(),
            until: Instant::now(),
            fence: 0,
            halted: None,
            hold_until: None,
            resynced: None,
            act: None,
        })
    }
}

impl ConsumerStore for MemoryStore {
    type Tx = MemoryTx;

    async fn begin(&self) -> Result<MemoryTx, StoreError> {
        round_trip().await;
        let guard = self.state.clone().lock_owned().await;
        let copy = guard.clone();
        Ok(MemoryTx { guard, copy })
    }

    async fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<LeasedMark>, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let now = Instant::now();
        if row.owner != owner {
            if row.until > now {
                return Ok(None);
            }
            row.owner = owner;
            row.fence += 1;
        }
        row.until = now + duration;
        Ok(Some(LeasedMark { mark: row.mark, fence: row.fence, halted: row.halted.clone() }))
    }

    async fn mark_adopt(&self, consumer: ConsumerId, from: &Mark, to: &Mark) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let is_there = row.halted.is_none() && row.mark == *from;
        if is_there {
            row.mark = *to;
        }
        Ok(is_there)
    }

    async fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let speaks = row.owner == owner && row.mark == *at && row.halted.is_none();
        if speaks {
            row.halted = Some(reason.to_owned());
        }
        Ok(speaks)
    }

    async fn standing(&self, consumer: ConsumerId) -> Result<Option<Standing>, StoreError> {
        round_trip().await;
        let state = self.state.lock().await;
        let row = state.marks.get(consumer.name).cloned();
        Ok(row.map(|row| {
            let held = row.is_held();
            Standing { mark: row.mark, halted: row.halted, held, resynced: row.resynced }
        }))
    }

    async fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> Result<Option<HoldClaim>, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.marks.get_mut(consumer.name);
        Ok(row.map(|row| {
            if row.is_held() {
                return HoldClaim::Taken(row.halted.clone().unwrap_or_default());
            }
            row.halted = Some(reason.to_owned());
            row.hold_until = Some(Instant::now() + duration);
            HoldClaim::Held(row.mark)
        }))
    }

    async fn resync_end(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
        held: Option<&str>,
        done: &Resynced,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let is_held = row.mark == *from && row.halted.as_deref() == held;
        if is_held {
            (row.mark, row.halted, row.hold_until, row.resynced) = (*to, None, None, Some(*done));
        }
        Ok(is_held)
    }

    async fn parked_list(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        round_trip().await;
        let state = self.state.lock().await;
        let parked = state.parked.get(consumer).into_iter().flatten();
        Ok(parked.filter(|parked| parked.event.position > after).take(limit).cloned().collect())
    }
}

impl ConsumerTx for MemoryTx {
    async fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let row = self.copy.row(consumer);
        let is_there = row.halted.is_none() && row.mark == *from;
        if is_there {
            row.mark = *to;
        }
        Ok(is_there)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<LockedMark>, StoreError> {
        round_trip().await;
        let row = self.copy.marks.get(consumer.name);
        Ok(row.map(|row| LockedMark { mark: row.mark, halted: row.halted.clone() }))
    }

    async fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let row = self.copy.row(consumer);
        let holds = row.halted.as_deref() == Some(held);
        if holds {
            row.hold_until = Some(Instant::now() + duration);
        }
        Ok(holds)
    }

    async fn parked_any(&mut self, consumer: ConsumerId) -> Result<bool, StoreError> {
        round_trip().await;
        Ok(self.copy.parked.get(consumer.name).is_some_and(|parked| !parked.is_empty()))
    }

    async fn parked_among(
        &mut self,
        consumer: ConsumerId,
        aggregates: &[Aggregate],
    ) -> Result<HashSet<Aggregate>, StoreError> {
        round_trip().await;
        let parked = self.copy.parked.get(consumer.name).into_iter().flatten();
        let parked = parked.map(|parked| parked.event.new.aggregate.clone());
        Ok(parked.filter(|aggregate| aggregates.contains(aggregate)).collect())
    }

    async fn parked_aggregate_count(&mut self, consumer: ConsumerId) -> Result<u64, StoreError> {
        round_trip().await;
        let parked = self.copy.parked.get(consumer.name).into_iter().flatten();
        let aggregates: HashSet<_> = parked.map(|parked| &parked.event.new.aggregate).collect();
        Ok(aggregates.len() as u64)
    }

    async fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<(), StoreError> {
        round_trip().await;
        let list = self.copy.parked.entry(consumer.name).or_default();
        list.retain(|parked| parked.event.new.id != event.new.id);
        list.push(Parked {
            event: event.clone(),
            attempts,
            error: error.to_owned(),
            parked_at: OffsetDateTime::UNIX_EPOCH,
        });
        list.sort_by_key(|parked| parked.event.position);
        Ok(())
    }

    async fn parked_first(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Option<(Parked, usize)>, StoreError> {
        round_trip().await;
        let parked = self.copy.parked.get(consumer.name).into_iter().flatten();
        let mut parked = parked.filter(|parked| parked.event.new.aggregate == *aggregate);
        Ok(parked.next().cloned().map(|first| (first, parked.count())))
    }

    async fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>, StoreError> {
        round_trip().await;
        let list = self.copy.parked.entry(consumer.name).or_default();
        let at = list.iter().position(|parked| parked.event.new.id == event_id);
        Ok(at.map(|at| list.remove(at)))
    }

    async fn act(&mut self, consumer: ConsumerId) -> Result<Option<Act>, StoreError> {
        round_trip().await;
        Ok(self.copy.row(consumer).act.clone())
    }

    async fn act_keep(&mut self, consumer: ConsumerId, act: &Act) -> Result<(), StoreError> {
        round_trip().await;
        self.copy.row(consumer).act = Some(act.clone());
        Ok(())
    }

    async fn skip_record(
        &mut self,
        _: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> Result<(), StoreError> {
        round_trip().await;
        self.copy.skips.push((position, skip.clone()));
        Ok(())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        round_trip().await;
        *self.guard = self.copy;
        Ok(())
    }

    async fn rollback(self) {
        round_trip().await;
    }
}
