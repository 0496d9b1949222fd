//! How the machine gets from one phase to another.

use super::{Heard, Machine, Mark, PAUSE_TICKS, Phase, SILENT_TICKS, follows_on};
use crate::envelope::Event;

impl Machine {
    /// Step 1, or what comes instead of it without a channel.
    pub(super) fn begin(&mut self) {
        if self.subscribed {
            self.replay(false);
        } else if self.silent >= SILENT_TICKS {
            self.replay(true);
        } else {
            self.phase = Phase::Waiting;
            self.due = false;
            self.stop = true;
            self.running = false;
        }
    }

    pub(super) fn replay(&mut self, follow: bool) {
        self.phase = Phase::Replaying { follow };
        self.due = true;
        self.stop = true;
        self.running = false;
        self.lost_tail = None;
        if follow {
            self.join_at = None;
        }
    }

    pub(super) fn pause(&mut self) {
        self.running = false;
        self.due = false;
        self.stop = true;
        self.retry_at = self.now + PAUSE_TICKS.min(1 << self.failures.min(16));
        self.failures += 1;
    }

    pub(super) fn retry(&mut self) {
        if !self.running && self.now >= self.retry_at {
            self.due = true;
        }
    }

    /// The channel contradicts the mark. Asked at most once in a while: it may do so for ever.
    pub(super) fn doubt(&mut self) {
        let settled = matches!(self.phase, Phase::Live | Phase::Replaying { .. } | Phase::Waiting);
        if settled && self.now >= self.trust_until {
            self.ask(false);
        }
    }

    /// A replay does not join on what was received. If the producer has just said that it must, it is asked
    /// again after a pause.
    pub(super) fn contradicted(&mut self) {
        if self.now < self.trust_until { self.replay_failed() } else { self.ask(true) }
    }

    pub(super) fn ask(&mut self, forget: bool) {
        if forget {
            self.forget();
        }
        self.phase = Phase::Resuming;
        self.due = true;
        self.stop = true;
        self.running = false;
    }

    pub(super) fn halt(&mut self, reason: &'static str) {
        self.phase = Phase::Halted(reason);
        self.due = true;
        self.stop = true;
        self.running = false;
    }

    pub(super) fn forget(&mut self) {
        self.ready.clear();
        self.ready_bytes = 0;
        self.buffer.clear();
        self.tail = self.in_flight.unwrap_or(self.mark);
    }

    /// The follower has reached what the channel said: the rest will come by it.
    pub(super) fn join(&mut self) {
        if self.subscribed && self.join_at.is_some_and(|position| self.tail.position >= position) {
            self.stop = true;
            self.running = false;
            self.due = false;
            self.go_live();
        }
    }

    pub(super) fn go_live(&mut self) {
        self.phase = Phase::Live;
        self.lost_tail = None;
        let Some(buffer) = self.buffer.take() else { return self.replay(false) };
        for heard in buffer {
            match self.phase {
                Phase::Live => self.take(heard),
                Phase::Replaying { .. } => self.keep(heard),
                Phase::Waiting | Phase::Resuming | Phase::Halted(_) => return,
            }
        }
    }

    /// What the live channel said.
    pub(super) fn take(&mut self, heard: Heard) {
        let next = self.tail.position + 1;
        match heard {
            Heard::Event(event) if event.position == next => {
                if !follows_on(&self.tail, &event) {
                    // Not for each message of an old relay.
                    if self.now >= self.trust_until {
                        self.ask(true);
                    }
                } else if self.is_full() {
                    self.replay(false);
                } else {
                    self.push(*event);
                }
            }
            Heard::Event(event) if event.position > next => self.gap(Heard::Event(event)),
            Heard::Reference { position, .. } if position >= next => self.gap(heard),
            Heard::Event(_) | Heard::Reference { .. } | Heard::Head(_) => {}
        }
    }

    /// Something is missing below what was heard. Replayed at once, unless that was in vain in this tick: then
    /// the channel tells of what the producer does not have.
    pub(super) fn gap(&mut self, heard: Heard) {
        if self.vain_at != Some(self.now) {
            self.replay(false);
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

    /// A replay begins with room for a good part of it.
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() <= self.limits.events / 2 && self.ready_bytes <= self.limits.bytes / 2
    }
}
