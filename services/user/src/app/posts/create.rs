//! Writing a post.

use auth::Person;
use types::{Answer, Call, Keep};

use super::free_slug;
use crate::app::{App, or_first_answer};
use crate::domain::post::{Post, PostState};
use crate::domain::slug::Slug;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What the post shall say.
#[derive(Debug)]
pub(crate) struct CreatePost {
    pub(crate) title: String,
    pub(crate) body: String,
    /// `None` for one of the title.
    pub(crate) slug: Option<Slug>,
    pub(crate) excerpt: Option<String>,
    pub(crate) category: Option<Slug>,
    pub(crate) tags: Vec<Slug>,
    /// Whether it is no draft.
    pub(crate) publish: bool,
}

impl App {
    /// Writes a post of the caller.
    pub(crate) async fn create_post(
        &self,
        call: &Call,
        caller: Person,
        wish: CreatePost,
    ) -> Result<Answer<Post>> {
        let now = self.now();
        let state = if wish.publish { PostState::Published } else { PostState::Draft };
        // Without a slug until the transaction has found one.
        let post = Post {
            id: self.next_id(),
            author_id: caller.user_id,
            title: wish.title,
            body: wish.body,
            slug: None,
            excerpt: wish.excerpt,
            category: wish.category,
            tags: wish.tags,
            state,
            publish_time: wish.publish.then_some(now),
            version: 1,
            create_time: now,
            update_time: now,
        };
        let slug = wish.slug;
        let create = |tx| self.create_post_in(tx, call, post.clone(), slug.as_ref());
        let created = self.store.transaction("create_post", create);
        or_first_answer(created.await, || self.first_answer(call)).await
    }

    async fn create_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        mut post: Post,
        slug: Option<&Slug>,
    ) -> Result<Finished<Answer<Post>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let now = post.create_time;
        post.slug = free_slug(&mut tx, slug, &post.title, post.id).await?;
        tx.user_post_count_add(post.author_id, 1);
        if let Some(slug) = &post.slug {
            tx.slug_insert(slug, post.id)?;
        }
        tx.post_insert(&post)?;
        tx.event_append(&self.post_created(&post, call.key.request_id))?;
        tx.request_insert(call, &post, now, Keep::ThirtyDays)?;
        tx.flush_for_active(&[post.author_id]).await?;
        Ok(tx.commit(Answer::first(post)))
    }
}
