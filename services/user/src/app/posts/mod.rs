//! Posts: what changes one has a file of its own; reading and listing them, and what slug one gets, is here.

mod create;
mod delete;
mod popular;
mod publish;
mod record_views;
mod transfer;
mod transfer_all;
mod update;

use std::collections::{BTreeSet, HashMap};

use auth::{Person, Principal};
use types::{PostId, Role, UserId};

pub(crate) use create::CreatePost;
pub(crate) use delete::DeletePost;
pub(crate) use popular::GetPopularPosts;
pub(crate) use publish::MovePost;
pub(crate) use transfer::TransferPost;
pub(crate) use transfer_all::TransferAllPosts;
pub(crate) use update::UpdatePost;

use super::App;
use crate::domain::post::{
    CountedPost, ListedPost, Post, PostAuthor, PostPlace, PostRefused, PostState, PostsOf,
};
use crate::domain::slug::Slug;
use crate::error::{Error, Result};
use crate::storage::Tx;

/// By what a post is looked for in addresses.
#[derive(Debug, Clone)]
pub(crate) enum PostAddress {
    /// One of its own.
    Slug(Slug),
    /// That of a post that has no slug of its own.
    Id(PostId),
}

/// A page of a list.
#[derive(Debug, Clone)]
pub(crate) struct ListPosts {
    pub(crate) of: PostsOf,
    pub(crate) state: PostState,
    /// Where the page before ended.
    pub(crate) after: Option<PostPlace>,
    pub(crate) size: u32,
}

/// What a page of a list has.
#[derive(Debug, Default)]
pub(crate) struct PostPage {
    pub(crate) posts: Vec<ListedPost>,
    /// Where the page ends, if there is a next one.
    pub(crate) next: Option<PostPlace>,
}

impl App {
    /// A post.
    pub(crate) async fn get_post(&self, caller: &Principal, id: PostId) -> Result<CountedPost> {
        let post = self.counted_post(id).await?;
        Ok(post.filter(|found| may_read(caller, &found.post)).ok_or(PostRefused::NotFound(id))?)
    }

    /// The post that has an address.
    pub(crate) async fn get_post_by_slug(
        &self,
        caller: &Principal,
        address: PostAddress,
    ) -> Result<CountedPost> {
        let (id, text) = match &address {
            PostAddress::Slug(slug) => (self.store.slug_fetch(slug).await?, slug.to_string()),
            PostAddress::Id(id) => (Some(*id), id.to_string()),
        };
        let post = match id {
            Some(id) => self.counted_post(id).await?,
            None => None,
        };
        let found = post.filter(|found| may_read(caller, &found.post) && found.post.address() == text);
        Ok(found.ok_or(PostRefused::SlugNotFound(text))?)
    }

    /// A page of posts. There are three statements in it, the last two at once, however many posts it has.
    pub(crate) async fn list_posts(&self, caller: &Principal, wish: ListPosts) -> Result<PostPage> {
        if !may_list(caller, &wish) {
            return Ok(PostPage::default());
        }
        let mut posts = self.store.post_list(&wish.of, wish.state, wish.after, wish.size + 1).await?;
        let size = usize::try_from(wish.size).unwrap_or(usize::MAX);
        let has_more = posts.len() > size;
        posts.truncate(size);
        let end = |post: &Post| PostPlace { publish_time: post.publish_time, id: post.id };
        let next = posts.last().filter(|_| has_more).map(end);
        Ok(PostPage { posts: self.listed(posts).await?, next })
    }

    /// Posts with what a list shows beside them.
    async fn listed(&self, posts: Vec<Post>) -> Result<Vec<ListedPost>> {
        if posts.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<PostId> = posts.iter().map(|post| post.id).collect();
        let authors = self.authors(posts.iter().map(|post| post.author_id));
        let (authors, mut counts) = tokio::try_join!(authors, self.store.post_counts(&ids))?;
        let listed = posts.into_iter().map(|post| {
            let author = author_of(&authors, &post)?;
            let counts = counts.remove(&post.id).unwrap_or_default();
            Ok(ListedPost { post: CountedPost { post, counts }, author })
        });
        listed.collect()
    }

    async fn authors(&self, ids: impl Iterator<Item = UserId>) -> Result<HashMap<UserId, PostAuthor>> {
        let ids: Vec<UserId> = ids.collect::<BTreeSet<_>>().into_iter().collect();
        let authors = self.store.post_author_list(&ids).await?;
        Ok(authors.into_iter().map(|author| (author.user_id, author)).collect())
    }

    async fn counted_post(&self, id: PostId) -> Result<Option<CountedPost>> {
        let ids = [id];
        let (post, mut counts) = tokio::try_join!(self.store.post_fetch(id), self.store.post_counts(&ids))?;
        Ok(post.map(|post| CountedPost { post, counts: counts.remove(&id).unwrap_or_default() }))
    }
}

fn author_of(authors: &HashMap<UserId, PostAuthor>, post: &Post) -> Result<PostAuthor> {
    let author = authors.get(&post.author_id).cloned();
    author.ok_or_else(|| Error::internal("a post is of an author who was never there"))
}

/// Whether the caller may read a post. Which services may read posts at all is their policy.
fn may_read(caller: &Principal, post: &Post) -> bool {
    post.state == PostState::Published || reads_all_of(caller, post.author_id)
}

/// Whether there can be something for the caller in a list.
fn may_list(caller: &Principal, wish: &ListPosts) -> bool {
    match wish.of {
        _ if wish.state == PostState::Published => true,
        PostsOf::Author(author) => reads_all_of(caller, author),
        PostsOf::Everybody | PostsOf::Tag(_) | PostsOf::Category(_) => false,
    }
}

/// Whether the caller may read what an author has not published.
fn reads_all_of(caller: &Principal, author: UserId) -> bool {
    caller.service().is_some()
        || caller.is_admin()
        || caller.person().is_some_and(|person| person.user_id == author)
}

/// Refuses whoever may not change a post: its author and admins may.
fn require_editor(post: &Post, caller: Person) -> Result<(), PostRefused> {
    if caller.role == Role::Admin { Ok(()) } else { post.require_author(caller.user_id, false) }
}

/// The slug that a post gets: the one that is wished for, which must be free; else one of its title, if that is free; else
/// none of its own.
async fn free_slug(tx: &mut Tx, wish: Option<&Slug>, title: &str, post: PostId) -> Result<Option<Slug>> {
    let of_title = || Slug::of_title(title);
    let Some(slug) = wish.cloned().or_else(of_title) else { return Ok(None) };
    match tx.slug_fetch(&slug).await? {
        Some(owner) if owner != post => match wish {
            Some(_) => Err(PostRefused::SlugTaken(slug.to_string()).into()),
            None => Ok(None),
        },
        Some(_) | None => Ok(Some(slug)),
    }
}
