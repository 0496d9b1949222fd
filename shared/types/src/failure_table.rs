//! What a database driver can say went wrong, and what each of it means for a call: one table for each database. The
//! table decides at run time, and a test prints it into the service's README, so the two cannot differ.

use std::error::Error;

use crate::failure::{Cause, Effect, Failure};

/// Which failure of a call it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// [`Failure::Contention`].
    Contention,
    /// [`Failure::Unavailable`].
    Unavailable,
    /// [`Failure::StorageUnavailable`].
    StorageUnavailable,
    /// [`Failure::Internal`]: the statement was built wrongly, or the data are what nobody could have written.
    Internal,
}

/// What becomes of the connection that heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connection {
    /// It can be used further.
    GoesOn,
    /// It is closed, and a new one replaces it.
    Replaced,
    /// The same, and the idle ones beside it are closed too: they have most likely met the same.
    AllReplaced,
}

/// What it means for a call, and for the connection, that a database said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Which failure it is.
    pub kind: FailureKind,
    /// Whether what was asked took effect.
    pub effect: Effect,
    /// What becomes of the connection.
    pub connection: Connection,
    /// Whether we try it again ourselves before the caller hears of it.
    pub is_tried_again: bool,
}

impl Verdict {
    /// Others were in the way: nothing changed, the connection goes on, and it is tried again.
    pub const CONTENTION: Self = Self::of(FailureKind::Contention, Effect::None).again();
    /// The database cannot do it now. Whether it took effect is unknown, and the connection goes on.
    pub const UNAVAILABLE: Self = Self::of(FailureKind::Unavailable, Effect::Unknown);
    /// The database takes no writes now, and took this one neither. The connection goes on.
    pub const STORAGE_UNAVAILABLE: Self = Self::of(FailureKind::StorageUnavailable, Effect::None);
    /// A defect of ours. Nothing changed, and the connection goes on.
    pub const INTERNAL: Self = Self::of(FailureKind::Internal, Effect::None);

    const fn of(kind: FailureKind, effect: Effect) -> Self {
        Self { kind, effect, connection: Connection::GoesOn, is_tried_again: false }
    }

    /// It was refused before anything changed.
    #[must_use]
    pub const fn without_effect(self) -> Self {
        Self { effect: Effect::None, ..self }
    }

    /// Nobody can say whether it took effect.
    #[must_use]
    pub const fn in_doubt(self) -> Self {
        Self { effect: Effect::Unknown, ..self }
    }

    /// The connection is replaced.
    #[must_use]
    pub const fn on_a_new_connection(self) -> Self {
        Self { connection: Connection::Replaced, ..self }
    }

    /// The connection is replaced, and so are the idle ones.
    #[must_use]
    pub const fn on_new_connections(self) -> Self {
        Self { connection: Connection::AllReplaced, ..self }
    }

    /// We try it again ourselves.
    #[must_use]
    pub const fn again(self) -> Self {
        Self { is_tried_again: true, ..self }
    }

    /// Whether an event whose effects meet it is parked, because they can never be applied: only a defect, or data that
    /// nobody could have written, is such. Everything else is waited out, however long it takes.
    #[must_use]
    pub const fn parks_events(self) -> bool {
        matches!(self.kind, FailureKind::Internal)
    }

    /// The failure of a call whose database said this.
    pub fn failure(self, cause: impl Into<Cause>) -> Failure {
        match self.kind {
            FailureKind::Contention => Failure::contention(cause),
            FailureKind::Unavailable => Failure::unavailable(cause).with_effect(self.effect),
            FailureKind::StorageUnavailable => Failure::storage_unavailable(cause).with_effect(self.effect),
            FailureKind::Internal => Failure::internal(cause),
        }
    }
}

impl Failure {
    /// Whether a transaction that failed so, and was not committed, is tried again: after contention, and when `verdict`
    /// says so of the driver's error that is the cause.
    #[must_use]
    pub fn is_tried_again<E: Error + 'static>(&self, verdict: impl FnOnce(&E) -> Verdict) -> bool {
        let cause = || self.source()?.downcast_ref::<E>();
        matches!(self, Self::Contention(_)) || cause().is_some_and(|cause| verdict(cause).is_tried_again)
    }
}

/// What a database can say, and what it means.
#[derive(Debug, Clone, Copy)]
pub struct FailureRow {
    /// What it says: a code, the class of a code, an error word, a label, or a kind of the driver's own errors.
    pub said: &'static str,
    /// What that is, and where it is not plain, why it means what it does.
    pub meaning: &'static str,
    /// What it means for us.
    pub verdict: Verdict,
}

/// A row of a table.
#[must_use]
pub const fn row(said: &'static str, meaning: &'static str, verdict: Verdict) -> FailureRow {
    FailureRow { said, meaning, verdict }
}

/// All that a database can say. Of two rows with the same key only the first would count: [`FailureTable::repeated`].
#[derive(Debug, Clone, Copy)]
pub struct FailureTable {
    /// What the first column holds, such as `SQLSTATE`.
    pub heading: &'static str,
    /// What is known.
    pub rows: &'static [FailureRow],
    /// What anything else means that the server says: we do not know it, so we do not know what it did.
    pub unlisted: Verdict,
}

impl FailureTable {
    /// The row of what was said, if there is one.
    #[must_use]
    pub fn row(&self, said: &str) -> Option<&'static FailureRow> {
        self.rows.iter().find(|row| row.said == said)
    }

    /// What the first that is listed means of what was said, from the most exact to the most general.
    #[must_use]
    pub fn verdict(&self, said: &[&str]) -> Verdict {
        said.iter().find_map(|said| self.row(said)).map_or(self.unlisted, |row| row.verdict)
    }

    /// What parks an event: a closed list, since what is not in the table never does.
    #[must_use]
    pub fn parking(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|row| row.verdict.parks_events()).map(|row| row.said).collect()
    }

    /// What more than one row is about; nothing in a table that is right.
    #[must_use]
    pub fn repeated(&self) -> Vec<&'static str> {
        let earlier = |at: usize, said| self.rows[..at].iter().any(|row| row.said == said);
        let repeated = self.rows.iter().enumerate().filter(|(at, row)| earlier(*at, row.said));
        repeated.map(|(_, row)| row.said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: FailureTable = FailureTable {
        heading: "code",
        rows: &[
            row("53", "out of something", Verdict::UNAVAILABLE.without_effect()),
            row("53100", "the disk is full", Verdict::STORAGE_UNAVAILABLE),
            row("26", "a prepared statement is gone", Verdict::UNAVAILABLE.without_effect().again()),
        ],
        unlisted: Verdict::UNAVAILABLE,
    };

    #[test]
    fn the_most_exact_row_decides_and_what_is_unlisted_may_have_taken_effect() {
        assert_eq!(TABLE.verdict(&["53100", "53"]), Verdict::STORAGE_UNAVAILABLE);
        assert_eq!(TABLE.verdict(&["53300", "53"]).effect, Effect::None);
        let failure = TABLE.verdict(&["99999", "99"]).failure("new");
        assert!(matches!(failure, Failure::Unavailable { effect: Effect::Unknown, .. }), "{failure:?}");
        assert!(TABLE.repeated().is_empty());
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the server said {0}")]
    struct Said(&'static str);

    #[test]
    fn contention_is_tried_again_and_so_is_a_cause_of_which_the_table_says_it() {
        let verdict = |Said(said): &Said| TABLE.verdict(&[said]);
        let failure = |said| verdict(&Said(said)).failure(Said(said));
        assert!(failure("26").is_tried_again(verdict));
        assert!(!failure("53").is_tried_again(verdict));
        assert!(!failure("99").is_tried_again(verdict));
        assert!(Failure::contention("a driver did not say it").is_tried_again(verdict));
        assert!(!Failure::unavailable("a driver did not say it").is_tried_again(verdict));
    }

    #[test]
    fn what_parks_an_event_is_what_no_repeat_can_heal() {
        for verdict in [
            Verdict::CONTENTION,
            Verdict::UNAVAILABLE,
            Verdict::UNAVAILABLE.without_effect().again(),
            Verdict::STORAGE_UNAVAILABLE,
            Verdict::INTERNAL,
            Verdict::INTERNAL.on_new_connections(),
        ] {
            assert_eq!(verdict.parks_events(), !verdict.failure("said").is_transient(), "{verdict:?}");
        }
        assert_eq!(TABLE.parking(), [""; 0]);
    }

    #[test]
    fn only_contention_and_defects_leave_no_doubt_by_their_kind() {
        for verdict in [Verdict::CONTENTION, Verdict::INTERNAL, Verdict::STORAGE_UNAVAILABLE] {
            assert_eq!(verdict.effect, Effect::None, "{verdict:?}");
        }
    }
}
