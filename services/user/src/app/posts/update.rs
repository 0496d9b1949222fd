//! Changing what a post says.

use auth::Person;
use types::{Answer, Call, Keep, PostId};

use super::{free_slug, require_editor};
use crate::app::{App, or_first_answer};
use crate::domain::post::{Post, PostChange, PostRefused};
use crate::domain::slug::Slug;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Which post shall say what.
#[derive(Debug)]
pub(crate) struct UpdatePost {
    pub(crate) post_id: PostId,
    pub(crate) change: PostChange,
    /// `None` leaves the slug; `Some(None)` has it made of the title.
    pub(crate) slug: Option<Option<Slug>>,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Changes a post, for its author or an admin.
    pub(crate) async fn update_post(
        &self,
        call: &Call,
        caller: Person,
        wish: UpdatePost,
    ) -> Result<Answer<Post>> {
        let updated =
            self.store.transaction("update_post", |tx| self.update_post_in(tx, call, caller, &wish));
        or_first_answer(updated.await, || self.first_answer(call)).await
    }

    async fn update_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &UpdatePost,
    ) -> Result<Finished<Answer<Post>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let before = tx.post_fetch(wish.post_id).await?.ok_or(PostRefused::NotFound(wish.post_id))?;
        require_editor(&before, caller)?;
        before.require_version(wish.etag)?;
        let now = self.now();
        let mut post = before.updated(wish.change.clone(), now);
        if let Some(slug) = &wish.slug {
            rename(&mut tx, &before, &mut post, slug.as_ref()).await?;
        }
        tx.post_update(&before, &post)?;
        tx.event_append(&self.post_updated(&before, &post, call.key.request_id))?;
        tx.request_insert(call, &post, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(post)))
    }
}

/// Gives a draft another slug; what it had is free again.
async fn rename(tx: &mut Tx, before: &Post, post: &mut Post, wish: Option<&Slug>) -> Result<()> {
    if before.was_published() {
        let stays = wish.is_some() && wish == before.slug.as_ref();
        let fixed = PostRefused::SlugFixed { post_id: before.id, state: before.state };
        return if stays { Ok(()) } else { Err(fixed.into()) };
    }
    post.slug = free_slug(tx, wish, &post.title, post.id).await?;
    if post.slug != before.slug {
        if let Some(slug) = &before.slug {
            tx.slug_delete(slug, post.id);
        }
        if let Some(slug) = &post.slug {
            tx.slug_insert(slug, post.id)?;
        }
    }
    Ok(())
}
