//! The faults of an edge, which apply to all its connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bson::Document;

use super::dialogue::Heard;
use super::loss::{Bites, Loss};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Answers.
    ToClient,
}

/// The faults that are switched on. With all of them off, the edge works.
#[derive(Debug, Clone, Default)]
pub(super) struct Switches {
    /// Raised to reset all open connections.
    pub(super) resets: u64,
    /// Raised when all faults are switched off.
    pub(super) heals: u64,
    pub(super) refusing: Option<Bites>,
    /// By [`Direction`].
    pub(super) silent: [Option<Bites>; 2],
    pub(super) delay: Option<(Duration, Bites)>,
    pub(super) cut: Option<Arc<Cut>>,
    pub(super) loss: Option<Arc<Loss>>,
    pub(super) instead: Option<Arc<Instead>>,
    pub(super) rewrites: Vec<Arc<Rewrite>>,
}

impl Switches {
    /// All off.
    pub(super) fn heal(&mut self) {
        *self = Self { resets: self.resets, heals: self.heals + 1, ..Self::default() };
    }
}

/// Replaces what completes an answer.
#[derive(Debug)]
pub(super) struct Instead {
    of: String,
    answer: Vec<u8>,
    pub(super) bites: Bites,
}

impl Instead {
    pub(super) fn new(of: &str, answer: &str) -> Self {
        Self { of: of.to_owned(), answer: answer.as_bytes().to_vec(), bites: Bites::default() }
    }

    /// What is sent for a frame that means this.
    pub(super) fn of(&self, heard: &Heard) -> Option<&[u8]> {
        let Heard::Done(work) = heard else { return None };
        work.iter().any(|text| text.contains(&self.of)).then(|| {
            self.bites.add();
            &*self.answer
        })
    }
}

/// Changes the answers to work whose text contains this.
pub(super) struct Rewrite {
    of: String,
    change: Box<dyn Fn(&mut Document) + Send + Sync>,
    pub(super) bites: Bites,
}

impl Rewrite {
    pub(super) fn new(of: &str, change: impl Fn(&mut Document) + Send + Sync + 'static) -> Self {
        Self { of: of.to_owned(), change: Box::new(change), bites: Bites::default() }
    }

    pub(super) fn concerns(&self, text: &str) -> bool {
        text.contains(&self.of)
    }

    pub(super) fn apply(&self, answer: &mut Document) {
        self.bites.add();
        (self.change)(answer);
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrite").field("of", &self.of).finish_non_exhaustive()
    }
}

/// Counts bytes over all connections, and resets the connection that carries the last one.
#[derive(Debug)]
pub(super) struct Cut {
    direction: Direction,
    left: AtomicUsize,
    pub(super) bites: Bites,
}

impl Cut {
    pub(super) fn new(direction: Direction, bytes: usize) -> Self {
        Self { direction, left: AtomicUsize::new(bytes), bites: Bites::default() }
    }

    /// If these bytes reach the limit: the part of them to send before the connection is reset.
    pub(super) fn last_of<'a>(&self, direction: Direction, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if direction != self.direction || self.bites.count() > 0 {
            return None;
        }
        let less = |left: usize| Some(left.saturating_sub(bytes.len()));
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).unwrap_or_else(|left| left);
        (left <= bytes.len()).then(|| {
            self.bites.add();
            &bytes[..left]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_other_work_is_not_replaced() {
        let instead = Instead::new("GET", "-OOM\r\n");
        let done = |text: &str| Heard::Done(vec![text.into()]);
        assert_eq!(instead.of(&done("GET key")), Some(&b"-OOM\r\n"[..]));
        assert_eq!(instead.of(&done("PING")), None);
        assert_eq!(instead.of(&Heard::Other), None);
        assert_eq!(instead.bites.count(), 1);
    }

    #[test]
    fn a_cut_counts_bytes_of_one_direction_and_bites_once() {
        let cut = Cut::new(Direction::ToClient, 5);
        assert_eq!(cut.last_of(Direction::ToServer, b"not counted"), None);
        assert_eq!(cut.last_of(Direction::ToClient, b"abc"), None);
        assert_eq!(cut.last_of(Direction::ToClient, b"def"), Some(&b"de"[..]));
        assert_eq!(cut.last_of(Direction::ToClient, b"of the next connection"), None);
        assert_eq!(cut.bites.count(), 1);
    }
}
