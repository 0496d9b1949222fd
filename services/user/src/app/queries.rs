//! What is read and changes nothing.

use events::Head;
use types::{PostId, UserId};

use super::App;
use crate::domain::post::{Post, PostRefused};
use crate::domain::user::{Profile, User, UserRefused};
use crate::error::{Error, Result};
use crate::storage::STREAM;

impl App {
    /// A user as everybody may see one.
    pub(crate) async fn get_user(&self, id: UserId) -> Result<User> {
        Ok(self.store.user_fetch(id).await?.ok_or(UserRefused::NotFound(id))?)
    }

    /// A user with everything.
    pub(crate) async fn get_profile(&self, id: UserId) -> Result<Profile> {
        let (user, statistics) =
            tokio::try_join!(self.store.user_fetch(id), self.store.statistics_fetch(id))?;
        Ok(Profile { user: user.ok_or(UserRefused::NotFound(id))?, statistics })
    }

    /// A post.
    pub(crate) async fn get_post(&self, id: PostId) -> Result<Post> {
        Ok(self.store.post_fetch(id).await?.ok_or(PostRefused::NotFound(id))?)
    }

    /// Where this service's stream stands: what a snapshot is taken after.
    pub(crate) async fn snapshot_head(&self) -> Result<Head> {
        let head = self.store.stream_head(STREAM).await?;
        head.ok_or_else(|| Error::internal("the stream was not made: the schema is not migrated"))
    }

    /// A page of all users, in the order of their ids. One who signs up below `after` meanwhile has an event above
    /// the head that was noted before.
    pub(crate) async fn snapshot_page(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>> {
        self.store.user_list(after, limit).await
    }
}
