//! All users, one stretch of their ids after the other: for who wants them all, and for read models.

use std::time::Duration;

use tokio::time::Instant;
use types::{Backoff, UserId};

use crate::app::App;
use crate::domain::user_list::UserFilter;
use crate::domain::user_view::{UserField, UserFields, UserView, Viewer};
use crate::error::Result;
use crate::storage::Walk;

/// How long a stretch is asked for again that could not be read, such as while another member becomes primary.
const READ_WITHIN: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What a read model keeps of a user: not what users say of themselves, nor what is counted of others.
const OF_READ_MODEL: [UserField; 9] = [
    UserField::Email,
    UserField::DisplayName,
    UserField::Role,
    UserField::State,
    UserField::CreateTime,
    UserField::UpdateTime,
    UserField::Etag,
    UserField::PostCount,
    UserField::Version,
];

/// Whom to stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamUsers {
    pub(crate) filter: UserFilter,
    /// Who was passed last by a stream before.
    pub(crate) after: Option<UserId>,
}

/// Some of them.
#[derive(Debug)]
pub(crate) struct UserBatch {
    pub(crate) users: Vec<UserView>,
    /// Who was passed last.
    pub(crate) through: UserId,
}

impl App {
    /// Begins to go over all users who are there now.
    pub(crate) async fn begin_walk(&self, after: Option<UserId>) -> Result<Option<Walk>> {
        self.store.user_walk(after).await
    }

    /// The next users whom the filter takes; `None` when all were passed.
    pub(crate) async fn stream_on(
        &self,
        walk: &mut Walk,
        filter: &UserFilter,
        viewer: impl Fn(UserId) -> Viewer,
        fields: &UserFields,
    ) -> Result<Option<UserBatch>> {
        let Some(users) = self.walk_on(walk, Some(filter), fields).await? else { return Ok(None) };
        let users = self.shown(users, viewer, fields).await?;
        Ok(Some(UserBatch { users, through: walk.after() }))
    }

    /// The next users for a read model. One who signs up meanwhile has an event above the head that was noted before.
    pub(crate) async fn snapshot_on(&self, walk: &mut Walk) -> Result<Option<Vec<UserView>>> {
        self.walk_on(walk, None, &UserFields::of(OF_READ_MODEL)).await
    }

    async fn walk_on(
        &self,
        walk: &mut Walk,
        filter: Option<&UserFilter>,
        fields: &UserFields,
    ) -> Result<Option<Vec<UserView>>> {
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut give_up = Instant::now() + READ_WITHIN;
        while !walk.is_over() {
            match self.store.user_walk_next(walk, filter, fields).await {
                Ok(users) if users.is_empty() => give_up = Instant::now() + READ_WITHIN,
                Ok(users) => return Ok(Some(users)),
                Err(error) if error.is_transient() && Instant::now() < give_up => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "users are read again");
                    pauses.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
