//! A producer's database: what it keeps, and what a test does to it.

mod log;
mod sequencing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use events::{Event, Lease, NewEvent, Position, StoreError};
use tokio::sync::Notify;
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
    /// How long such a step takes.
    stamp_takes: Duration,
    /// Whether such a step fails.
    stamps_fail: bool,
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
            stamp_takes: Duration::ZERO,
            stamps_fail: false,
            is_hasty: false,
        };
        Self { state: Arc::new(Mutex::new(state)), appended: Arc::new(Notify::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.state.lock().unwrap()
    }

    /// Commits a transaction that appended these events.
    pub(crate) fn commit(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.commit_elsewhere(events)?;
        self.appended.notify_one();
        Ok(())
    }

    /// The same in another process, which the sequencer of this one does not notice.
    pub(crate) fn commit_elsewhere(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
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
        Ok(())
    }

    /// Makes each step of a sequencer take so long from now on.
    pub(crate) fn set_stamp_takes(&self, takes: Duration) {
        self.lock().stamp_takes = takes;
    }

    /// Lets every step of a sequencer fail from now on, or succeed again.
    pub(crate) fn fail_stamps(&self, fail: bool) {
        self.lock().stamps_fail = fail;
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
