//! What the machine makes of the channel, and of the time that passes without a word from it.

use super::phase::{Attempt, Phase};
use super::transitions::SILENT_TICKS;
use super::{Machine, Why};
use crate::cloud_event::Heard;

/// After so many ticks without a heartbeat a follower is taken for dead: it should get one each tick.
const FOLLOW_TICKS: u64 = 8;
/// The same for a page of a replay that has an end.
const REPLAY_TICKS: u64 = 40;

impl Machine {
    /// The channel's server confirmed the subscription.
    pub(crate) fn subscribed(&mut self) {
        self.subscribed = true;
        self.silent = 0;
        self.join_at = None;
        self.buffer.clear();
        match self.phase {
            Phase::Waiting | Phase::Live | Phase::Replaying { follow: false, .. } => {
                self.replay(false, Why::Subscribed);
            }
            // A follower misses nothing, whenever the subscription began.
            Phase::Replaying { follow: true, .. } | Phase::Resuming(_) | Phase::Halted(..) => {}
        }
    }

    /// The channel's connection is gone.
    pub(crate) fn lost(&mut self) {
        self.subscribed = false;
        self.join_at = None;
        self.buffer.clear();
        match self.phase {
            Phase::Live | Phase::Replaying { follow: false, .. } => self.replay(true, Why::Silence),
            Phase::Waiting
            | Phase::Replaying { follow: true, .. }
            | Phase::Resuming(_)
            | Phase::Halted(..) => {}
        }
    }

    /// The channel said something.
    pub(crate) fn heard(&mut self, heard: Heard) {
        let position = heard.position();
        if heard.epoch() != self.mark.epoch {
            // This does not count as a sign of life: the relay of an old history may speak for ever.
            self.doubt();
            return;
        }
        self.silent = 0;
        if let Heard::Head(_) = heard {
            self.head = Some(position);
            // Compared now: on a busy stream the mark is above any head a moment later.
            let is_low = position < self.mark.position;
            self.tick_is_low = Some(is_low && self.tick_is_low != Some(false));
        }
        match self.phase {
            Phase::Live => self.take(heard),
            Phase::Replaying { follow, .. } => {
                let joins_at = if let Heard::Event(_) = heard { position - 1 } else { position };
                self.keep(heard);
                if follow {
                    self.join_at.get_or_insert(joins_at);
                    self.join();
                }
            }
            Phase::Waiting | Phase::Resuming(_) | Phase::Halted(..) => {}
        }
    }

    /// A quarter of a second went by.
    pub(crate) fn tick(&mut self) {
        self.now += 1;
        self.silent += 1;
        let is_low = self.tick_is_low.take();
        match self.phase {
            Phase::Waiting | Phase::Live if self.silent >= SILENT_TICKS => {
                return self.replay(true, Why::Silence);
            }
            Phase::Live => {
                let highest = self.tail.position;
                if self.lost_tail.take().is_some_and(|head| head > highest) {
                    return self.replay(false, Why::Gap);
                }
                self.lost_tail = self.head.filter(|head| *head > highest);
            }
            Phase::Replaying { follow, attempt: Attempt::Running { idle, is_fruitful } }
                if !self.is_full() =>
            {
                let idle = idle + 1;
                self.phase.set_attempt(Attempt::Running { idle, is_fruitful });
                if idle > if follow { FOLLOW_TICKS } else { REPLAY_TICKS } {
                    self.replay_failed();
                }
            }
            Phase::Replaying { .. } | Phase::Resuming(_) => self.retry(),
            Phase::Waiting | Phase::Halted(..) => {}
        }
        if let Some(is_low) = is_low {
            self.low_ticks = if is_low { self.low_ticks + 1 } else { 0 };
            // A head may arrive after an event that was published later, but not tick after tick.
            if self.low_ticks >= 2 {
                self.doubt();
            }
        }
    }
}
