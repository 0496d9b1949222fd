//! Who follows whom and who likes what: made, listed, removed by whoever made them, and removed with what they lead to.

use anyhow::Context as _;
use bson::{Document, doc};
use types::{PostId, Role, UserId};

use super::people::{app, call, person, sign_up};
use super::posts::written;
use crate::app::App;
use crate::app::posts::{DeletePost, MovePost};
use crate::app::relations::{
    BatchGetRelations, FollowUser, Leaving, LikePost, ListFollows, UnfollowUser, UnlikePost,
};
use crate::domain::relation::{FOLLOWS_MAX, FollowEnd};
use crate::storage::{Store, bounded};

pub(super) async fn all(store: &Store, ann: UserId, ben: UserId) -> anyhow::Result<()> {
    let app = &app(store, 1)?;
    let cid = sign_up(app, "cid").await?;
    follow(app, ann, ben).await?;
    follow(app, ann, cid).await?;
    follow(app, cid, ben).await?;
    listed(app, FollowEnd::Follower(ann)).await?;
    listed(app, FollowEnd::Followee(ben)).await?;
    let wish = UnfollowUser { followee: cid };
    app.unfollow_user(&call("UnfollowUser"), person(ann, Role::Customer), wish).await?;
    at_the_limit(store, ann).await?;
    follow(app, ann, cid).await?;
    likes(app, ann, ben).await?;
    removed(store, app, [ann, ben, cid]).await
}

pub(super) async fn follow(app: &App, follower: UserId, followee: UserId) -> anyhow::Result<()> {
    let wish = FollowUser { followee };
    app.follow_user(&call("FollowUser"), person(follower, Role::Customer), wish).await?;
    Ok(())
}

/// The beginning of a list, and what is behind its first.
async fn listed(app: &App, of: FollowEnd) -> anyhow::Result<()> {
    let first = ListFollows { of, after: None, size: 1 };
    let after = app.list_follows(first).await?.next;
    after.context("a second page")?;
    app.list_follows(ListFollows { after, ..first }).await?;
    Ok(())
}

/// Has the edges counted when the next one is made.
async fn at_the_limit(store: &Store, follower: UserId) -> anyhow::Result<()> {
    let quotas = store.collection::<Document>("follow_quota");
    let by_id = doc! { "_id": bson::Uuid::from(follower.uuid()) };
    bounded(quotas.update_one(by_id, doc! { "$set": { "at_most": FOLLOWS_MAX } })).await?;
    Ok(())
}

async fn published(app: &App, author: UserId) -> anyhow::Result<PostId> {
    let author = person(author, Role::Customer);
    let post = written(app, author, "liked").await?.id;
    app.publish_post(&call("PublishPost"), author, MovePost { post_id: post, etag: None }).await?;
    Ok(post)
}

async fn like(app: &App, user: UserId, post: PostId) -> anyhow::Result<()> {
    app.like_post(&call("LikePost"), person(user, Role::Customer), LikePost { post }).await?;
    Ok(())
}

async fn likes(app: &App, author: UserId, reader: UserId) -> anyhow::Result<()> {
    let (post, who) = (published(app, author).await?, person(reader, Role::Customer));
    like(app, reader, post).await?;
    app.batch_get_relations(who, BatchGetRelations { users: vec![author], posts: vec![post] }).await?;
    app.unlike_post(&call("UnlikePost"), who, UnlikePost { post }).await?;
    Ok(())
}

async fn removed(store: &Store, app: &App, [ann, ben, cid]: [UserId; 3]) -> anyhow::Result<()> {
    let (one, other) = (published(app, ann).await?, published(app, ann).await?);
    like(app, ben, one).await?;
    like(app, cid, other).await?;
    for of in [Leaving::LikesOf(ben), Leaving::LikesOfPost(other), Leaving::FollowsOf(ann)] {
        app.relations_remove_some(of).await?;
    }
    let wish = DeletePost { post_id: one, etag: None };
    app.delete_post(&call("DeletePost"), person(ann, Role::Customer), wish).await?;
    let now = app.now();
    for post in store.deleted_post_list_due(now, 1).await? {
        store.deleted_post_put_off(post.post(), now).await?;
        store.deleted_post_forget(post.post()).await?;
    }
    // Something of each kind is left, for whoever tries the validators.
    like(app, cid, published(app, ann).await?).await
}
