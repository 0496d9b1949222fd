//! What a durable consumer does about a channel that may lose, repeat and reorder anything: a state machine
//! without input or output, without a clock (its ticks are inputs), so that it can be driven through every
//! disorder in a test. `consumer.rs` does what it says.
//!
//! The rules, by the numbers of the design:
//! 1. Subscribe first, then replay from the mark; what the channel says meanwhile is buffered, then drained.
//! 2. A run is applied only if it follows on the mark: its position, its epoch and its `previous`.
//! 3. A gap is replayed at once: positions are dense and published after commit, so waiting heals nothing.
//! 4. A head above everything received, for more than a tick, is a lost tail: replay.
//! 5. Silence for three ticks, or a lost connection: follow the producer's stream until the channel is heard
//!    again and what it says joins on.
//! 6. A new subscription of any kind starts at 1.
//! 7. The channel is not fenced, so it never decides about history: another epoch, a head below the mark or a
//!    wrong `previous` only make the consumer ask the producer ([`Action::Resume`]).

use std::collections::VecDeque;

use uuid::Uuid;

use self::buffer::Buffer;
use crate::cloud_event::Heard;
use crate::envelope::{Event, Position};
use crate::history::Page;
use crate::store::Mark;

/// After so many ticks without a word the channel is taken for dead.
const SILENT_TICKS: u64 = 3;
/// After so many ticks a follower without a heartbeat is taken for dead: it should have one each tick.
const FOLLOW_TICKS: u64 = 8;
/// The same for a page of a replay that ends.
const REPLAY_TICKS: u64 = 40;
/// The longest pause after failures, in ticks.
const PAUSE_TICKS: u64 = 16;
/// For so many ticks an answer that the mark is above the head is asked for again: a producer that was just promoted,
/// or one that has not heard of it, may be behind itself.
const BEHIND_TICKS: u64 = 45;
/// For so many ticks after an answer about history the channel is not believed to know better.
const TRUST_TICKS: u64 = 4;

/// The reason of a halt when the producer's history is another than the mark's.
pub(crate) const STREAM_REWOUND: &str = "stream_rewound";

/// How much is kept in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Events that wait to be applied, and as many that wait for a replay to end.
    pub(crate) events: usize,
    /// Bytes of payload that wait to be applied.
    pub(crate) bytes: usize,
    /// Bytes of payload that wait for a replay to end.
    pub(crate) buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 4096, bytes: 32 << 20, buffer_bytes: 8 << 20 }
    }
}

/// What the driver has to do. Each replaces what the one before began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read the producer's stream above a position.
    Replay { epoch: Uuid, after: Position, follow: bool },
    /// Stop reading it.
    Stop,
    /// Ask the producer whether the mark is still in its history.
    Resume(Mark),
    /// Stop for good, with the reason.
    Halt(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// For the channel's acknowledgement.
    Waiting,
    /// The channel is heard and joins on.
    Live,
    /// The producer's stream is being read, or will be after a pause.
    Replaying { follow: bool },
    /// The producer is asked about its history; nothing is applied meanwhile.
    Resuming,
    /// Stopped for good.
    Halted(&'static str),
}

/// One consumer of one stream.
#[derive(Debug)]
pub(crate) struct Machine {
    limits: Limits,
    phase: Phase,
    /// What was applied.
    mark: Mark,
    /// The end of the run that is being applied.
    in_flight: Option<Mark>,
    /// Received, follows on the run in flight or the mark.
    ready: VecDeque<Event>,
    ready_bytes: usize,
    /// The end of what was received without a hole.
    tail: Mark,
    buffer: Buffer,
    /// Whether the action of the phase still has to be handed out.
    due: bool,
    /// Whether a replay that was left has to be stopped.
    stop: bool,
    /// Whether the phase's action was handed out and not answered yet.
    running: bool,
    /// Ticks since the running action's last answer.
    idle: u64,
    /// Whether the running replay has brought anything.
    fruitful: bool,
    failures: u32,
    retry_at: u64,
    now: u64,
    subscribed: bool,
    silent: u64,
    /// What a follower must have reached before the channel, as heard since it subscribed, joins on.
    join_at: Option<Position>,
    /// The newest head of the channel.
    head: Option<Position>,
    /// A head that was above everything received a tick ago.
    lost_tail: Option<Position>,
    /// Whether each head of this tick was below the mark as it was then, and for how many ticks it was so.
    tick_is_low: Option<bool>,
    low_ticks: u64,
    /// The last tick in which a gap was replayed in vain.
    vain_at: Option<u64>,
    trust_until: u64,
    /// Since when every answer was that the mark is above the head.
    behind_since: Option<u64>,
}

impl Machine {
    pub(crate) fn new(mark: Mark, limits: Limits) -> Self {
        let unknown = mark.epoch.is_nil();
        Self {
            limits,
            phase: if unknown { Phase::Resuming } else { Phase::Waiting },
            mark,
            in_flight: None,
            ready: VecDeque::new(),
            ready_bytes: 0,
            tail: mark,
            buffer: Buffer::new(limits.events, limits.buffer_bytes),
            due: unknown,
            stop: false,
            running: false,
            idle: 0,
            fruitful: false,
            failures: 0,
            retry_at: 0,
            now: 0,
            subscribed: false,
            silent: 0,
            join_at: None,
            head: None,
            lost_tail: None,
            tick_is_low: None,
            low_ticks: 0,
            vain_at: None,
            trust_until: 0,
            behind_since: None,
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// What is to be done now, if anything.
    pub(crate) fn action(&mut self) -> Option<Action> {
        let begun = match self.phase {
            Phase::Replaying { follow } if self.due && self.has_room() => {
                Some(Action::Replay { epoch: self.mark.epoch, after: self.tail.position, follow })
            }
            // What is in flight decides where the mark is.
            Phase::Resuming if self.due && self.in_flight.is_none() => Some(Action::Resume(self.mark)),
            Phase::Halted(reason) if self.due && self.in_flight.is_none() && self.ready.is_empty() => {
                Some(Action::Halt(reason))
            }
            _ => None,
        };
        let stop = std::mem::take(&mut self.stop);
        if begun.is_none() {
            return stop.then_some(Action::Stop);
        }
        self.due = false;
        self.running = true;
        self.idle = 0;
        self.fruitful = false;
        begun
    }

    /// The next events to apply, which follow on the mark; none while a run is in flight.
    pub(crate) fn next_run(&mut self, max: usize) -> Option<Vec<Event>> {
        if self.in_flight.is_some() || self.phase == Phase::Resuming {
            return None;
        }
        let count = self.ready.len().min(max);
        let run: Vec<Event> = self.ready.drain(..count).collect();
        self.ready_bytes -= run.iter().map(|event| event.new.payload.len()).sum::<usize>();
        self.in_flight = Some(Mark::after(run.last()?));
        Some(run)
    }

    /// What [`Machine::next_run`] would give, or a part of.
    pub(crate) fn ready(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.ready.iter()
    }

    /// Whether another page of the replay can be taken in.
    pub(crate) fn wants_page(&self) -> bool {
        matches!(self.phase, Phase::Replaying { .. }) && self.running && !self.is_full()
    }

    // What the driver tells.

    /// The run was applied.
    pub(crate) fn applied(&mut self, mark: Mark) {
        self.in_flight = None;
        self.mark = mark;
        if self.ready.is_empty() && self.tail.position < mark.position {
            self.tail = mark;
        }
    }

    /// The mark was not where the run began, or was put elsewhere: this is where it is.
    pub(crate) fn moved(&mut self, mark: Mark) {
        self.in_flight = None;
        let same_history = mark.epoch == self.mark.epoch;
        self.mark = mark;
        while self.ready.front().is_some_and(|event| event.position <= mark.position) {
            if let Some(event) = self.ready.pop_front() {
                self.ready_bytes -= event.new.payload.len();
            }
        }
        let follows = self.ready.front().is_some_and(|event| follows_on(&mark, event));
        let nothing_else = self.ready.is_empty() && self.tail == mark;
        if same_history && (follows || nothing_else) {
            return;
        }
        self.forget();
        match self.phase {
            Phase::Resuming => self.due = true,
            Phase::Halted(_) => {}
            Phase::Waiting | Phase::Live | Phase::Replaying { .. } => self.begin(),
        }
    }

    /// The channel's server confirmed the subscription.
    pub(crate) fn subscribed(&mut self) {
        self.subscribed = true;
        self.silent = 0;
        self.join_at = None;
        self.buffer.clear();
        match self.phase {
            Phase::Waiting | Phase::Live | Phase::Replaying { follow: false } => self.replay(false),
            // A follower misses nothing, whenever the subscription began.
            Phase::Replaying { follow: true } | Phase::Resuming | Phase::Halted(_) => {}
        }
    }

    /// The channel's connection is gone.
    pub(crate) fn lost(&mut self) {
        self.subscribed = false;
        self.join_at = None;
        self.buffer.clear();
        match self.phase {
            Phase::Live | Phase::Replaying { follow: false } => self.replay(true),
            Phase::Waiting | Phase::Replaying { follow: true } | Phase::Resuming | Phase::Halted(_) => {}
        }
    }

    /// The channel said something.
    pub(crate) fn heard(&mut self, heard: Heard) {
        let position = heard.position();
        if heard.epoch() != self.mark.epoch {
            // No sign of life: an old relay may speak for ever.
            self.doubt();
            return;
        }
        self.silent = 0;
        if let Heard::Head(_) = heard {
            self.head = Some(position);
            // Compared now: on a busy stream the mark is beyond any head a moment later.
            let is_low = position < self.mark.position;
            self.tick_is_low = Some(is_low && self.tick_is_low != Some(false));
        }
        match self.phase {
            Phase::Live => self.take(heard),
            Phase::Replaying { follow } => {
                let joins_at = if let Heard::Event(_) = heard { position - 1 } else { position };
                self.keep(heard);
                if follow {
                    self.join_at.get_or_insert(joins_at);
                    self.join();
                }
            }
            Phase::Waiting | Phase::Resuming | Phase::Halted(_) => {}
        }
    }

    /// The replay brought a page.
    pub(crate) fn page(&mut self, page: Page) {
        if !matches!(self.phase, Phase::Replaying { .. }) || !self.running {
            return;
        }
        self.idle = 0;
        if page.head.epoch != self.mark.epoch {
            return self.contradicted();
        }
        for event in page.events {
            if event.position <= self.tail.position {
                continue;
            }
            if event.position > self.tail.position + 1 {
                // The producer broke its promise; it gets another chance after a pause.
                return self.replay_failed();
            }
            if !follows_on(&self.tail, &event) {
                return self.contradicted();
            }
            self.fruitful = true;
            self.push(event);
        }
        self.failures = 0;
        if page.head.position < self.mark.position {
            self.doubt();
        } else if self.phase == (Phase::Replaying { follow: true }) {
            self.join();
        }
    }

    /// The replay came to its end.
    pub(crate) fn replay_ended(&mut self) {
        match self.phase {
            // The server drains: the next one goes on.
            Phase::Replaying { follow: true } if self.failures == 0 && self.running => {
                self.failures = 1;
                self.replay(true);
            }
            Phase::Replaying { follow: true } => self.replay_failed(),
            Phase::Replaying { follow: false } if !self.subscribed => self.replay(true),
            Phase::Replaying { follow: false } => {
                self.running = false;
                self.failures = 0;
                let next = self.tail.position + 1;
                let gap = self.buffer.first_position().is_some_and(|position| position > next);
                if gap && !self.fruitful {
                    self.vain_at = Some(self.now);
                }
                self.go_live();
            }
            Phase::Waiting | Phase::Live | Phase::Resuming | Phase::Halted(_) => {}
        }
    }

    /// The producer does not answer, or not as it should.
    pub(crate) fn replay_failed(&mut self) {
        if matches!(self.phase, Phase::Replaying { .. } | Phase::Resuming) {
            self.pause();
        }
    }

    /// The producer's stream has another epoch.
    pub(crate) fn epoch_changed(&mut self) {
        if matches!(self.phase, Phase::Replaying { .. }) {
            self.ask(false);
        }
    }

    /// The producer no longer has what comes after the mark, or the row at the mark.
    pub(crate) fn pruned(&mut self) {
        self.halt("position_pruned");
    }

    /// The history is the same; the mark has the producer's epoch now.
    pub(crate) fn resumed(&mut self, mark: Mark) {
        if self.phase != Phase::Resuming {
            return;
        }
        let same_epoch = mark.epoch == self.mark.epoch;
        self.mark = mark;
        if !same_epoch {
            // What was received carries the old epoch.
            self.forget();
        }
        self.low_ticks = 0;
        self.head = None;
        self.behind_since = None;
        self.trust_until = self.now + TRUST_TICKS;
        self.begin();
    }

    /// The history is another: nothing of it may be applied.
    pub(crate) fn rewound(&mut self) {
        self.forget();
        self.halt(STREAM_REWOUND);
    }

    /// The producer does not reach up to the mark. Believed only when it goes on saying so; nothing is applied
    /// meanwhile.
    pub(crate) fn behind(&mut self) {
        let since = *self.behind_since.get_or_insert(self.now);
        if self.now >= since + BEHIND_TICKS { self.rewound() } else { self.replay_failed() }
    }

    /// A quarter of a second went by.
    pub(crate) fn tick(&mut self) {
        self.now += 1;
        self.silent += 1;
        let is_low = self.tick_is_low.take();
        match self.phase {
            Phase::Waiting if self.silent >= SILENT_TICKS => return self.replay(true),
            Phase::Live if self.silent >= SILENT_TICKS => return self.replay(true),
            Phase::Live => {
                let highest = self.tail.position;
                if self.lost_tail.take().is_some_and(|head| head > highest) {
                    return self.replay(false);
                }
                self.lost_tail = self.head.filter(|head| *head > highest);
            }
            Phase::Replaying { follow } => {
                if self.running && !self.is_full() {
                    self.idle += 1;
                    if self.idle > if follow { FOLLOW_TICKS } else { REPLAY_TICKS } {
                        self.replay_failed();
                    }
                }
                self.retry();
            }
            Phase::Resuming => self.retry(),
            Phase::Waiting | Phase::Halted(_) => {}
        }
        if let Some(is_low) = is_low {
            self.low_ticks = if is_low { self.low_ticks + 1 } else { 0 };
            // A head that was published before the last event may arrive after it; not for long.
            if self.low_ticks >= 2 {
                self.doubt();
            }
        }
    }
}

/// Whether the event is the next one of the history that the mark is in.
fn follows_on(mark: &Mark, event: &Event) -> bool {
    event.epoch == mark.epoch && event.position == mark.position + 1 && event.previous == mark.event_id
}

mod buffer;
mod moves;
#[cfg(test)]
mod tests;
