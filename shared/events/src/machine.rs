//! What a durable consumer does about a channel that may lose, repeat and reorder anything: a state machine
//! without input or output and without a clock (its ticks are inputs), so that a test can drive it through every
//! disorder. `consumer/stint.rs` tells it what happens and does what it says.
//!
//! The rules, by the numbers of the design:
//! 1. Subscribe first, then replay from the mark. What the channel says meanwhile is buffered and then drained.
//! 2. A run is applied only if it follows the mark: by its position, its epoch and its `previous`.
//! 3. A gap is replayed at once. Positions are dense and published after the commit, so waiting would not fill it.
//! 4. A head above everything received, for more than a tick, means that the last events were lost: replay.
//! 5. After three silent ticks, or when the connection is lost, the consumer follows the producer's stream until
//!    the channel speaks again and what it says continues what was received.
//! 6. Every new subscription starts at rule 1.
//! 7. The channel has no fence, so it never decides about history. Another epoch, a head below the mark or a
//!    wrong `previous` only make the consumer ask the producer ([`Action::Resume`]).

mod buffer;
mod channel;
mod phase;
mod producer;
mod transitions;
mod why;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use time::OffsetDateTime;
use uuid::Uuid;

use self::buffer::Buffer;
use self::phase::{Attempt, Phase};
pub(crate) use self::why::Why;
use crate::envelope::{Event, Position};
use crate::store::Mark;

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

/// What the driver has to do. Each action replaces the one before.
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

/// How far a consumer is behind its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lag {
    /// Events above the mark, as far as they were heard of.
    pub(crate) events: u64,
    /// The position of the mark.
    pub(crate) mark: Position,
    /// When the oldest event was made that was received and is not being applied yet.
    pub(crate) oldest: Option<OffsetDateTime>,
}

/// One consumer of one stream.
#[derive(Debug)]
pub(crate) struct Machine {
    limits: Limits,
    phase: Phase,
    /// What the replay is for that was not asked about yet.
    why: Option<Why>,
    /// Whether the driver has to stop what it began for an earlier phase.
    stop: bool,
    /// Attempts that failed one after the other; they make the pauses longer.
    failures: u32,
    /// Ticks since the beginning.
    now: u64,

    /// The last event that was applied.
    mark: Mark,
    /// The end of the run that is being applied.
    in_flight: Option<Mark>,
    /// Events that were received and can be applied next, without a hole.
    ready: VecDeque<Event>,
    ready_bytes: usize,
    /// The end of what was received without a hole.
    tail: Mark,
    /// What the channel said during a replay.
    buffer: Buffer,

    subscribed: bool,
    /// Ticks since the channel last said something.
    silent: u64,
    /// The newest head of the channel.
    head: Option<Position>,
    /// A head that was above everything received a tick ago.
    lost_tail: Option<Position>,
    /// What a follower must have reached so that the channel, as heard since it subscribed, continues it.
    join_at: Option<Position>,
    /// Whether each head of this tick was below the mark at that time.
    tick_is_low: Option<bool>,
    /// For how many ticks it was so.
    low_ticks: u64,
    /// The last tick in which the replay of a gap brought nothing.
    vain_at: Option<u64>,
    /// Until then the producer's last answer about history counts more than the channel.
    trust_until: u64,
    /// Since when every answer was that the mark is above the head.
    behind_since: Option<u64>,
}

impl Machine {
    pub(crate) fn new(mark: Mark, limits: Limits) -> Self {
        let phase = if mark.epoch.is_nil() { Phase::Resuming(Attempt::Due) } else { Phase::Waiting };
        Self {
            limits,
            phase,
            why: None,
            stop: false,
            failures: 0,
            now: 0,
            mark,
            in_flight: None,
            ready: VecDeque::new(),
            ready_bytes: 0,
            tail: mark,
            buffer: Buffer::new(limits.events, limits.buffer_bytes),
            subscribed: false,
            silent: 0,
            head: None,
            lost_tail: None,
            join_at: None,
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

    /// What it does now, in a word.
    pub(crate) fn state(&self) -> &'static str {
        self.phase.name()
    }

    /// What the present replay is for, told once; its later attempts are for the same.
    pub(crate) fn take_why(&mut self) -> Option<Why> {
        self.why.take()
    }

    /// How far it is behind.
    pub(crate) fn lag(&self) -> Lag {
        let mark = self.mark.position;
        let head = self.head.unwrap_or_default().max(self.tail.position);
        let oldest = self.ready.front().map(|event| event.new.created_at);
        Lag { events: u64::try_from(head - mark).unwrap_or_default(), mark, oldest }
    }

    /// What the driver has to do now, if anything.
    pub(crate) fn action(&mut self) -> Option<Action> {
        let begun = match self.phase {
            Phase::Replaying { follow, attempt: Attempt::Due } if self.has_room() => {
                Some(Action::Replay { epoch: self.mark.epoch, after: self.tail.position, follow })
            }
            // The run in flight decides where the mark is.
            Phase::Resuming(Attempt::Due) if self.in_flight.is_none() => Some(Action::Resume(self.mark)),
            Phase::Halted(reason, Attempt::Due) if self.in_flight.is_none() && self.ready.is_empty() => {
                Some(Action::Halt(reason))
            }
            _ => None,
        };
        let stop = std::mem::take(&mut self.stop);
        if begun.is_none() {
            return stop.then_some(Action::Stop);
        }
        self.phase.set_attempt(Attempt::Running { idle: 0, is_fruitful: false });
        begun
    }

    /// The next events to apply, which follow the mark; none while a run is in flight.
    pub(crate) fn next_run(&mut self, max: usize) -> Option<Vec<Event>> {
        if self.in_flight.is_some() || matches!(self.phase, Phase::Resuming(_)) {
            return None;
        }
        let count = self.ready.len().min(max);
        let run: Vec<Event> = self.ready.drain(..count).collect();
        self.ready_bytes -= run.iter().map(|event| event.new.payload.len()).sum::<usize>();
        self.in_flight = Some(Mark::after(run.last()?));
        Some(run)
    }

    /// The events that wait to be applied; [`Machine::next_run`] gives the first of them.
    pub(crate) fn ready(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.ready.iter()
    }

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
        while let Some(event) = self.ready.pop_front_if(|event| event.position <= mark.position) {
            self.ready_bytes -= event.new.payload.len();
        }
        let follows = self.ready.front().is_some_and(|event| follows_on(&mark, event));
        let nothing_else = self.ready.is_empty() && self.tail == mark;
        if same_history && (follows || nothing_else) {
            return;
        }
        self.forget();
        match self.phase {
            Phase::Resuming(_) => self.phase.set_attempt(Attempt::Due),
            Phase::Halted(..) => {}
            Phase::Waiting | Phase::Live | Phase::Replaying { .. } => self.begin(Why::Moved),
        }
    }
}

/// Whether the event is the next one of the history that the mark is in.
fn follows_on(mark: &Mark, event: &Event) -> bool {
    event.epoch == mark.epoch && event.position == mark.position + 1 && event.previous == mark.event_id
}
