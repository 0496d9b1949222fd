//! What the machine makes of the producer's answers.

use super::phase::{Attempt, Phase};
use super::{Machine, STREAM_REWOUND, Why, follows_on};
use crate::history::Page;
use crate::store::Mark;

/// For so many ticks an answer that the mark is above the head is asked for again: a producer that was just promoted,
/// or one that has not heard of it, may be behind itself.
pub(super) const BEHIND_TICKS: u64 = 45;
/// For so many ticks after an answer about history the channel is not believed to know better.
const TRUST_TICKS: u64 = 4;

impl Machine {
    /// Whether another page of the replay can be taken in.
    pub(crate) fn wants_page(&self) -> bool {
        self.phase.is_reading() && !self.is_full()
    }

    /// The replay brought a page.
    pub(crate) fn page(&mut self, page: Page) {
        let Phase::Replaying { follow, attempt: Attempt::Running { mut is_fruitful, .. } } = self.phase
        else {
            return;
        };
        if page.head.epoch != self.mark.epoch {
            return self.contradicted();
        }
        for event in page.events {
            if event.position <= self.tail.position {
                continue;
            }
            if event.position > self.tail.position + 1 {
                // The producer broke its promise that a replay has no holes. It is asked again after a pause.
                return self.replay_failed();
            }
            if !follows_on(&self.tail, &event) {
                return self.contradicted();
            }
            is_fruitful = true;
            self.push(event);
        }
        self.phase.set_attempt(Attempt::Running { idle: 0, is_fruitful });
        self.failures = 0;
        if page.head.position < self.mark.position {
            self.doubt();
        } else if follow {
            self.join();
        }
    }

    /// The replay came to its end.
    pub(crate) fn replay_ended(&mut self) {
        let Phase::Replaying { follow, attempt } = self.phase else { return };
        if follow {
            match attempt {
                // The server drains: the next replay goes on elsewhere.
                Attempt::Running { .. } if self.failures == 0 => {
                    self.failures = 1;
                    self.replay(true, Why::Silence);
                }
                _ => self.replay_failed(),
            }
        } else if !self.subscribed {
            self.replay(true, Why::Silence);
        } else {
            self.failures = 0;
            let next = self.tail.position + 1;
            let gap = self.buffer.first_position().is_some_and(|position| position > next);
            if gap && !matches!(attempt, Attempt::Running { is_fruitful: true, .. }) {
                self.vain_at = Some(self.now);
            }
            self.phase.set_attempt(Attempt::Ended);
            self.go_live();
        }
    }

    /// The producer does not answer, or not as it should.
    pub(crate) fn replay_failed(&mut self) {
        if matches!(self.phase, Phase::Replaying { .. } | Phase::Resuming(_)) {
            self.pause();
        }
    }

    /// The producer's stream has another epoch.
    pub(crate) fn epoch_changed(&mut self) {
        if matches!(self.phase, Phase::Replaying { .. }) {
            self.ask();
        }
    }

    /// The producer no longer has what comes after the mark, or the event at the mark.
    pub(crate) fn pruned(&mut self) {
        self.halt("position_pruned");
    }

    /// The history is the same; the mark has the producer's epoch now.
    pub(crate) fn resumed(&mut self, mark: Mark) {
        if !matches!(self.phase, Phase::Resuming(_)) {
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
        self.begin(Why::Resumed);
    }

    /// The history is another: nothing of it may be applied.
    pub(crate) fn rewound(&mut self) {
        self.forget();
        self.halt(STREAM_REWOUND);
    }

    /// The producer's stream ends below the mark. That is believed only when the producer goes on saying so; nothing
    /// is applied meanwhile.
    pub(crate) fn behind(&mut self) {
        let since = *self.behind_since.get_or_insert(self.now);
        if self.now >= since + BEHIND_TICKS { self.rewound() } else { self.replay_failed() }
    }
}
