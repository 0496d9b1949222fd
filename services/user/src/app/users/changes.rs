//! The record of who changed what of a user.

use types::{Call, UserId};

use crate::app::App;
use crate::domain::user::{User, UserRefused};
use crate::domain::user_change::{RecordedChange, What, findings};
use crate::error::Result;
use crate::storage::Tx;

/// A page of the record of a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListUserChanges {
    pub(crate) user_id: UserId,
    /// The sequence that the page before ended with.
    pub(crate) below: Option<i64>,
    pub(crate) size: u32,
}

/// What a page shows.
#[derive(Debug, Default)]
pub(crate) struct UserChanges {
    /// The latest first, and one more if there is a next page.
    pub(crate) changes: Vec<RecordedChange>,
    /// Where the chain is broken.
    pub(crate) findings: Vec<String>,
}

impl App {
    /// Who changed what of a user, for an admin. Where the record ends is read first, and what is there then never changes:
    /// changes that are made meanwhile are on no page.
    pub(crate) async fn list_user_changes(&self, wish: ListUserChanges) -> Result<UserChanges> {
        let ListUserChanges { user_id, below, size } = wish;
        let end = self.store.user_record_fetch(user_id).await?.ok_or(UserRefused::NotFound(user_id))?;
        let first_below = end.count + 1;
        let below = below.unwrap_or(first_below).min(first_below);
        let changes = self.store.user_change_list(user_id, below, i64::from(size) + 1).await?;
        let findings = findings(&changes, (below == first_below).then_some(end));
        Ok(UserChanges { changes, findings })
    }

    /// Records what a call does to a user, whom its transaction then writes.
    pub(in crate::app) fn record(&self, tx: &mut Tx, call: &Call, user: &mut User, what: What) -> Result<()> {
        let change = user.record(what, call, self.now());
        tx.user_change_insert(self.next_id(), &change)
    }
}
