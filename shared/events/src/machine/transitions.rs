//! How the machine gets from one phase to another, and what it does with what it receives.

use super::phase::{Attempt, Phase};
use super::{Machine, Why, follows_on};
use crate::cloud_event::Heard;
use crate::envelope::Event;
use crate::store::Mark;

/// After so many ticks without a word the channel is taken for dead.
pub(super) const SILENT_TICKS: u64 = 3;
/// The longest pause after failures, in ticks.
const PAUSE_TICKS: u64 = 16;

impl Machine {
    /// Enters a phase, whose action is due at once. The driver stops what it began for the phase before, unless that
    /// has ended by itself.
    fn enter(&mut self, phase: Phase) {
        self.stop |= self.phase.attempt() != Some(Attempt::Ended);
        self.phase = phase;
        self.lost_tail = None;
    }

    /// Rule 1, or what stands in for it without a channel.
    pub(super) fn begin(&mut self, why: Why) {
        if self.subscribed {
            self.replay(false, why);
        } else if self.silent >= SILENT_TICKS {
            self.replay(true, why);
        } else {
            self.enter(Phase::Waiting);
        }
    }

    pub(super) fn replay(&mut self, follow: bool, why: Why) {
        self.why = Some(why);
        self.enter(Phase::Replaying { follow, attempt: Attempt::Due });
        if follow {
            self.join_at = None;
        }
    }

    /// Asks the producer about its history.
    pub(super) fn ask(&mut self) {
        self.enter(Phase::Resuming(Attempt::Due));
    }

    pub(super) fn halt(&mut self, reason: &'static str) {
        self.enter(Phase::Halted(reason, Attempt::Due));
    }

    /// The attempt failed: the next one comes after a pause.
    pub(super) fn pause(&mut self) {
        let until = self.now + PAUSE_TICKS.min(1 << self.failures.min(16));
        self.phase.set_attempt(Attempt::Paused { until });
        self.stop = true;
        self.failures += 1;
    }

    /// Ends a pause whose time has come.
    pub(super) fn retry(&mut self) {
        if let Some(Attempt::Paused { until }) = self.phase.attempt()
            && self.now >= until
        {
            self.phase.set_attempt(Attempt::Due);
        }
    }

    /// The channel contradicts the mark. It may do so for ever, so the producer is asked only once in a while.
    pub(super) fn doubt(&mut self) {
        let settled = matches!(self.phase, Phase::Live | Phase::Replaying { .. } | Phase::Waiting);
        if settled && self.now >= self.trust_until {
            self.ask();
        }
    }

    /// A replay does not continue what was received. If the producer has just said that it must, it is asked again
    /// after a pause.
    pub(super) fn contradicted(&mut self) {
        if self.now < self.trust_until {
            self.replay_failed();
        } else {
            self.forget();
            self.ask();
        }
    }

    /// Drops everything that was received and not applied.
    pub(super) fn forget(&mut self) {
        self.ready.clear();
        self.ready_bytes = 0;
        self.buffer.clear();
        self.tail = self.in_flight.unwrap_or(self.mark);
    }

    /// Leaves the producer's stream once it has reached what the channel said: the channel brings the rest.
    pub(super) fn join(&mut self) {
        if self.subscribed && self.join_at.is_some_and(|position| self.tail.position >= position) {
            self.go_live();
        }
    }

    pub(super) fn go_live(&mut self) {
        self.enter(Phase::Live);
        let Some(buffer) = self.buffer.take() else { return self.replay(false, Why::Overflow) };
        for heard in buffer {
            match self.phase {
                Phase::Live => self.take(heard),
                Phase::Replaying { .. } => self.keep(heard),
                Phase::Waiting | Phase::Resuming(_) | Phase::Halted(..) => return,
            }
        }
    }

    /// Takes in what the live channel said.
    pub(super) fn take(&mut self, heard: Heard) {
        let next = self.tail.position + 1;
        match heard {
            Heard::Event(event) if event.position == next => {
                if !follows_on(&self.tail, &event) {
                    // Once in a while, not for each message of an old relay.
                    if self.now >= self.trust_until {
                        self.forget();
                        self.ask();
                    }
                } else if self.is_full() {
                    self.replay(false, Why::Overflow);
                } else {
                    self.push(*event);
                }
            }
            Heard::Event(event) if event.position > next => self.gap(Heard::Event(event)),
            Heard::Reference { position, .. } if position >= next => self.gap(heard),
            Heard::Event(_) | Heard::Reference { .. } | Heard::Head(_) => {}
        }
    }

    /// Something is missing below what was heard. It is replayed at once, unless a replay in this tick brought
    /// nothing: then the channel tells of events that the producer does not have.
    fn gap(&mut self, heard: Heard) {
        if self.vain_at != Some(self.now) {
            self.replay(false, Why::Gap);
            self.keep(heard);
        }
    }

    /// Buffers what was heard during a replay.
    pub(super) fn keep(&mut self, heard: Heard) {
        if matches!(heard, Heard::Head(_)) || heard.position() <= self.tail.position {
            return;
        }
        self.buffer.push(heard);
    }

    pub(super) fn push(&mut self, event: Event) {
        self.tail = Mark::after(&event);
        self.ready_bytes += event.new.payload.len();
        self.ready.push_back(event);
    }

    pub(super) fn is_full(&self) -> bool {
        self.ready.len() >= self.limits.events || self.ready_bytes >= self.limits.bytes
    }

    /// Whether there is room for a good part of a replay.
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() <= self.limits.events / 2 && self.ready_bytes <= self.limits.bytes / 2
    }
}
