//! Posts: one file for each use case that changes something; reading them is here.

mod create;
mod transfer;

use types::PostId;

pub(crate) use create::CreatePost;
pub(crate) use transfer::TransferPost;

use super::App;
use crate::domain::post::{Post, PostRefused};
use crate::error::Result;

impl App {
    /// A post.
    pub(crate) async fn get_post(&self, id: PostId) -> Result<Post> {
        Ok(self.store.post_fetch(id).await?.ok_or(PostRefused::NotFound(id))?)
    }
}
