//! What is done while a service dies. Each file has the operations of one part of the API, and an entry in its `KINDS`
//! for each of them.

mod credit;
mod held_stream;
mod leaving;
mod orders;
mod overdue;
mod payments;
mod posts;
mod relations;
mod sessions;
mod undecided;
mod upkeep;
mod user_changes;
mod users;

use std::sync::Arc;

use anyhow::Result;

use super::operation::{Doing, Operation};
use super::stage::Stage;
use super::way::{Commit, Point, Way, points};

/// One kind of operation, and all that the sweep needs to know of it. There is a case at each point that it passes.
#[derive(Debug)]
pub struct Kind {
    /// Its name in the lines of its cases.
    pub name: &'static str,
    /// The transactions, statements and scripts that it is made of.
    pub(super) commits: &'static [Commit],
    /// Where its events and its money go.
    pub way: Way,
    /// Points that it passes besides: those of workers, and those that only some operations pass.
    pub(super) moments: &'static [Point],
    /// Prepares what it needs, before anything is killed.
    pub(super) prepare: fn(Arc<Stage>) -> Prepared,
}

/// Prepares an operation.
pub(super) type Prepared = Doing<'static, Result<Box<dyn Operation>>>;

impl Kind {
    /// Every point that it passes.
    pub(super) fn points(&self) -> Vec<Point> {
        points(self.commits, &self.way, self.moments)
    }
}

/// All kinds of operations.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    let files = [
        users::KINDS,
        user_changes::KINDS,
        leaving::KINDS,
        credit::KINDS,
        posts::KINDS,
        relations::KINDS,
        orders::KINDS,
        payments::KINDS,
        undecided::KINDS,
        overdue::KINDS,
        sessions::KINDS,
        upkeep::KINDS,
    ];
    files.into_iter().flatten()
}

/// What [`Kind::prepare`] returns for an operation that is prepared like this.
fn prepared<O: Operation + 'static>(making: impl Future<Output = Result<O>> + 'static) -> Prepared {
    Box::pin(async { Ok(Box::new(making.await?) as Box<dyn Operation>) })
}
