//! Acknowledgements that get lost: the work is done, and the client that asked for it never learns that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::dialogue::{Heard, Work};

/// What happens to the connection after it lost an acknowledgement. It cannot be used further, since the client waits
/// for an answer that will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// It is reset.
    #[default]
    Reset,
    /// It stays open, and the client gets nothing more.
    Silence,
}

/// Which acknowledgements get lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgements {
    of: String,
    first: u64,
    count: u64,
    then: Then,
}

impl Acknowledgements {
    /// The first acknowledgement of work whose text contains this. [`super::Protocol`] defines the text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { of: text.to_owned(), first: 1, count: 1, then: Then::Reset }
    }

    /// The `k`-th one instead of the first.
    #[must_use]
    pub fn from(self, k: u64) -> Self {
        Self { first: k, ..self }
    }

    /// This many in a row.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// What happens to the connection.
    #[must_use]
    pub fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

/// Counts how often a fault had an effect. A test proves nothing when its fault had none.
#[derive(Debug, Clone, Default)]
pub struct Bites(Arc<AtomicU64>);

impl Bites {
    /// How often it had an effect.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A loss in progress.
#[derive(Debug)]
pub(super) struct Loss {
    which: Acknowledgements,
    seen: AtomicU64,
    pub(super) bites: Bites,
}

/// What to do with a frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Send it, after the frames that are held.
    Pass,
    /// Hold it until it is known whether it gets lost.
    Hold,
    /// Drop it, and the frames that are held.
    Lose(Then),
}

impl Loss {
    pub(super) fn new(which: Acknowledgements) -> Self {
        Self { which, seen: AtomicU64::new(0), bites: Bites::default() }
    }

    pub(super) fn fate(&self, heard: &Heard, holds: bool) -> Fate {
        match heard {
            Heard::Part(work) if self.concerns(work) => Fate::Hold,
            Heard::Done(work) if self.concerns(work) => {
                let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
                if seen < self.which.first || seen >= self.which.first + self.which.count {
                    return Fate::Pass;
                }
                self.bites.add();
                Fate::Lose(self.which.then)
            }
            Heard::Done(_) => Fate::Pass,
            // A frame in the middle of an answer is held with it, so that the order stays.
            Heard::Part(_) | Heard::Other if holds => Fate::Hold,
            Heard::Part(_) | Heard::Other => Fate::Pass,
        }
    }

    fn concerns(&self, work: &Work) -> bool {
        work.iter().any(|text| text.contains(&self.which.of))
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::testing::work;
    use super::*;

    #[test]
    fn the_kth_acknowledgement_is_lost_and_no_other() {
        let loss = Loss::new(Acknowledgements::of("post").from(2).times(2).then(Then::Silence));
        let done = |text| loss.fate(&Heard::Done(work(&["begin", text])), false);
        assert_eq!(done("insert post"), Fate::Pass);
        assert_eq!(done("insert user"), Fate::Pass);
        assert_eq!(loss.bites.count(), 0);
        for _ in 0..2 {
            assert_eq!(done("insert post"), Fate::Lose(Then::Silence));
        }
        assert_eq!(done("insert post"), Fate::Pass);
        assert_eq!(loss.bites.count(), 2);
    }

    #[test]
    fn an_answer_is_held_until_it_is_whole() {
        let loss = Loss::new(Acknowledgements::of("post"));
        assert_eq!(loss.fate(&Heard::Part(work(&["user"])), false), Fate::Pass);
        assert_eq!(loss.fate(&Heard::Part(work(&["post"])), false), Fate::Hold);
        assert_eq!(loss.fate(&Heard::Other, true), Fate::Hold);
        assert_eq!(loss.fate(&Heard::Done(work(&[])), true), Fate::Pass, "it came to nothing");
    }
}
