//! Posts: written, found, changed, handed over and deleted.

use anyhow::Context as _;
use auth::{Person, Principal};
use bson::{Document, doc};
use types::{Role, UserId};
use uuid::Uuid;

use super::people::{app, call, person};
use crate::app::App;
use crate::app::posts::{
    CreatePost, DeletePost, ListPosts, MovePost, PostAddress, TransferAllPosts, TransferPost, UpdatePost,
};
use crate::domain::post::{Post, PostChange, PostState, PostsOf};
use crate::domain::slug::Slug;
use crate::storage::{Store, bounded, from_time};

pub(super) async fn all(store: &Store, ann: UserId, ben: UserId) -> anyhow::Result<()> {
    let app = &app(store, 1)?;
    let author = person(ann, Role::Customer);
    let post = written(app, author, "tea").await?;
    let change = PostChange { body: Some("Hot water".to_owned()), ..PostChange::default() };
    let slug = Some(Some(slug("green-tea")?));
    let wish = UpdatePost { post_id: post.id, change, slug, etag: None };
    app.update_post(&call("UpdatePost"), author, wish).await?;
    let wish = MovePost { post_id: post.id, etag: None };
    app.publish_post(&call("PublishPost"), author, wish).await?;
    let another = written(app, author, "coffee").await?;
    let wish = MovePost { post_id: another.id, etag: None };
    app.publish_post(&call("PublishPost"), author, wish).await?;
    found(app, author, &post).await?;
    let wish = MovePost { post_id: another.id, etag: None };
    app.archive_post(&call("ArchivePost"), author, wish).await?;
    let draft = written(app, author, "milk").await?;
    let wish = DeletePost { post_id: draft.id, etag: None };
    app.delete_post(&call("DeletePost"), author, wish).await?;
    let wish = TransferPost { post_id: post.id, to: ben, etag: None };
    app.transfer_post(&call("TransferPost"), author, wish).await?;
    let wish = TransferAllPosts { from: ann, to: ben };
    app.transfer_all_posts(&call("TransferAllPosts"), author, wish).await?;
    of_an_earlier_release(store, app, ben).await
}

fn slug(text: &str) -> anyhow::Result<Slug> {
    Slug::parse(text).context("a slug")
}

/// A post that everybody may read.
pub(super) async fn published(app: &App, author: Person, title: &str) -> anyhow::Result<Post> {
    let post = written(app, author, title).await?;
    let wish = MovePost { post_id: post.id, etag: None };
    Ok(app.publish_post(&call("PublishPost"), author, wish).await?.value)
}

pub(super) async fn written(app: &App, author: Person, title: &str) -> anyhow::Result<Post> {
    let wish = CreatePost {
        title: title.to_owned(),
        body: "Water".to_owned(),
        slug: None,
        excerpt: None,
        category: Some(slug("drinks")?),
        tags: vec![slug("hot")?],
        publish: false,
    };
    Ok(app.create_post(&call("CreatePost"), author, wish).await?.value)
}

/// Each list twice: its beginning, and what is behind its first post.
async fn found(app: &App, author: Person, post: &Post) -> anyhow::Result<()> {
    let caller = Principal::User(author);
    app.get_post(&caller, post.id).await?;
    app.get_post_by_slug(&caller, PostAddress::Slug(slug("green-tea")?)).await?;
    written(app, author, "water").await?;
    written(app, author, "juice").await?;
    let own = PostsOf::Author(author.user_id);
    for (of, state) in [
        (PostsOf::Everybody, PostState::Published),
        (own.clone(), PostState::Published),
        (own, PostState::Draft),
        (PostsOf::Tag(slug("hot")?), PostState::Published),
        (PostsOf::Category(slug("drinks")?), PostState::Published),
    ] {
        let first = ListPosts { of, state, after: None, size: 1 };
        let after = app.list_posts(&caller, first.clone()).await?.next;
        after.context("a second page")?;
        app.list_posts(&caller, ListPosts { after, ..first }).await?;
    }
    Ok(())
}

/// A post as the release before states wrote them.
async fn of_an_earlier_release(store: &Store, app: &App, author: UserId) -> anyhow::Result<()> {
    let now = from_time(app.now());
    let old = doc! {
        "_id": bson::Uuid::from(Uuid::now_v7()),
        "author_id": bson::Uuid::from(author.uuid()),
        "title": "Old",
        "body": "Old.",
        "version": 1_i64,
        "create_time": now,
        "update_time": now,
    };
    bounded(store.collection::<Document>("post").insert_one(old)).await?;
    store.post_states_fill(1).await?;
    Ok(())
}
