//! The floor of relations: following and liking take one transaction of three exchanges each, and so does stopping.

use anyhow::{Context as _, Result, bail};
use api::user::v1::{
    Follow, FollowUserRequest, FollowUserResponse, Like, LikePostRequest, LikePostResponse, PostLiked,
    PostUnliked, UnfollowUserRequest, UnfollowUserResponse, UnlikePostRequest, UnlikePostResponse,
    UserFollowed, UserUnfollowed,
};
use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, Document, doc};
use http::Request;
use mongodb::{Collection, Database};
use tonic::body::Body;
use uuid::Uuid;

use crate::change::Changes;
use crate::serve::{Answered, Floor, unary, unknown};
use crate::user::time;

/// Answers the calls.
#[derive(Clone)]
pub(crate) struct Relations {
    users: Collection<Document>,
    posts: Collection<Document>,
    follows: Collection<Document>,
    likes: Collection<Document>,
    changes: Changes,
}

impl Relations {
    pub(crate) fn of(database: &Database) -> Self {
        Self {
            users: database.collection("user"),
            posts: database.collection("post"),
            follows: database.collection("follow"),
            likes: database.collection("like"),
            changes: Changes::of(database),
        }
    }

    /// Everybody here is followed by one person and no more: a bare server knows no callers.
    async fn follow(self, request: FollowUserRequest) -> Result<FollowUserResponse> {
        let (follower, followee) = (Uuid::nil(), request.user_id.parse::<Uuid>()?);
        let mut session = self.changes.begin().await?;
        let known = self.users.find_one(doc! { "_id": bson::Uuid::from(followee) }).session(&mut session);
        known.await?.context("no such user")?;
        let (id, now) = (bson::Uuid::from(Uuid::now_v7()), DateTime::now());
        let edge = doc! {
            "_id": pair(follower, followee),
            "follow_id": id,
            "follower_id": bson::Uuid::from(follower),
            "followee_id": bson::Uuid::from(followee),
            "create_time": now,
        };
        let payload = UserFollowed {
            follow_id: text(id),
            follower_id: follower.to_string(),
            followee_id: request.user_id.clone(),
        };
        let writes = vec![
            self.changes.insert("follow", edge.clone()),
            self.changes.event(id, 1, &payload),
            self.changes.answer(&request.request_id, doc! { "follow": edge })?,
        ];
        self.changes.commit(session, writes).await?;
        let follow = Follow {
            id: text(id),
            follower_id: follower.to_string(),
            followee_id: request.user_id,
            create_time: Some(time(now)),
        };
        Ok(FollowUserResponse { follow: Some(follow) })
    }

    async fn unfollow(self, request: UnfollowUserRequest) -> Result<UnfollowUserResponse> {
        let (follower, followee) = (Uuid::nil(), request.user_id.parse::<Uuid>()?);
        let edge = doc! { "_id": pair(follower, followee) };
        let mut session = self.changes.begin().await?;
        let found = self.follows.find_one(edge.clone()).session(&mut session).await?;
        let Some(found) = found else { return Ok(UnfollowUserResponse {}) };
        let id = id_of(&found, "follow_id")?;
        let payload = UserUnfollowed {
            follow_id: text(id),
            follower_id: follower.to_string(),
            followee_id: request.user_id,
        };
        let writes = vec![
            self.changes.delete("follow", edge),
            self.changes.event(id, 2, &payload),
            self.changes.answer(&request.request_id, doc! { "unfollowed": {} })?,
        ];
        self.changes.commit(session, writes).await?;
        Ok(UnfollowUserResponse {})
    }
}

impl Relations {
    async fn like(self, request: LikePostRequest) -> Result<LikePostResponse> {
        let (user, post) = (Uuid::nil(), request.post_id.parse::<Uuid>()?);
        let mut session = self.changes.begin().await?;
        let known = self.posts.find_one(doc! { "_id": bson::Uuid::from(post), "state": "published" });
        let known = known.projection(doc! { "author_id": 1 }).session(&mut session).await?;
        let author = id_of(&known.context("no such post")?, "author_id")?;
        let (id, now) = (bson::Uuid::from(Uuid::now_v7()), DateTime::now());
        let edge = doc! {
            "_id": pair(user, post),
            "like_id": id,
            "post_id": bson::Uuid::from(post),
            "user_id": bson::Uuid::from(user),
            "create_time": now,
        };
        let payload = PostLiked {
            like_id: text(id),
            post_id: request.post_id.clone(),
            author_id: text(author),
            user_id: user.to_string(),
        };
        let writes = vec![
            self.changes.insert("like", edge.clone()),
            self.changes.event(id, 1, &payload),
            self.changes.answer(&request.request_id, doc! { "like": edge })?,
        ];
        self.changes.commit(session, writes).await?;
        let like = Like {
            id: text(id),
            post_id: request.post_id,
            user_id: user.to_string(),
            create_time: Some(time(now)),
        };
        Ok(LikePostResponse { like: Some(like) })
    }

    async fn unlike(self, request: UnlikePostRequest) -> Result<UnlikePostResponse> {
        let (user, post) = (Uuid::nil(), request.post_id.parse::<Uuid>()?);
        let edge = doc! { "_id": pair(user, post) };
        let mut session = self.changes.begin().await?;
        let found = self.likes.find_one(edge.clone()).session(&mut session).await?;
        let Some(found) = found else { return Ok(UnlikePostResponse {}) };
        let id = id_of(&found, "like_id")?;
        let payload = PostUnliked {
            like_id: text(id),
            post_id: request.post_id,
            author_id: String::new(),
            user_id: user.to_string(),
        };
        let writes = vec![
            self.changes.delete("like", edge),
            self.changes.event(id, 2, &payload),
            self.changes.answer(&request.request_id, doc! { "unliked": {} })?,
        ];
        self.changes.commit(session, writes).await?;
        Ok(UnlikePostResponse {})
    }
}

/// The key of an edge, as the service makes it.
fn pair(from: Uuid, to: Uuid) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: [from.into_bytes(), to.into_bytes()].concat() }
}

fn id_of(document: &Document, field: &str) -> Result<bson::Uuid> {
    let Some(bson::Bson::Binary(id)) = document.get(field) else { bail!("no {field}") };
    Ok(id.to_uuid()?)
}

fn text(id: bson::Uuid) -> String {
    Uuid::from(id).to_string()
}

impl Floor for Relations {
    const NAME: &'static str = "user.v1.RelationService";

    fn answer(self, request: Request<Body>) -> Answered {
        match request.uri().path() {
            "/user.v1.RelationService/FollowUser" => {
                Box::pin(unary(request, |question| self.follow(question)))
            }
            "/user.v1.RelationService/UnfollowUser" => {
                Box::pin(unary(request, |question| self.unfollow(question)))
            }
            "/user.v1.RelationService/LikePost" => Box::pin(unary(request, |question| self.like(question))),
            "/user.v1.RelationService/UnlikePost" => {
                Box::pin(unary(request, |question| self.unlike(question)))
            }
            _ => unknown(),
        }
    }
}
