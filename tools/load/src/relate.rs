//! Edges that come and go: each lane has a person of its own, who follows and unfollows a user, or likes and unlikes a post.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use api::user::v1::relation_service_client::RelationServiceClient;
use api::user::v1::{FollowUserRequest, LikePostRequest, UnfollowUserRequest, UnlikePostRequest};
use tonic::Status;
use uuid::Uuid;

use crate::calls::Connection;
use crate::drive;

/// Where an edge leads to.
#[derive(Debug, Clone)]
pub enum End {
    /// A user, who is followed.
    User(String),
    /// A post, which is liked.
    Post(String),
}

/// People, and where their edges lead to.
#[derive(Debug, Clone)]
pub struct Relations(Arc<Vec<Person>>);

#[derive(Debug)]
struct Person {
    connection: Connection,
    end: End,
    /// Whether the edge is there.
    is_related: AtomicBool,
}

impl Person {
    /// Makes the edge or removes it.
    async fn relate(&self, shall_be: bool) -> Result<(), Status> {
        let mut relations = RelationServiceClient::new(self.connection.clone());
        let request_id = Uuid::new_v4().to_string();
        match (&self.end, shall_be) {
            (End::User(user_id), true) => {
                let request = FollowUserRequest { request_id, user_id: user_id.clone() };
                relations.follow_user(request).await.map(drop)
            }
            (End::User(user_id), false) => {
                let request = UnfollowUserRequest { request_id, user_id: user_id.clone() };
                relations.unfollow_user(request).await.map(drop)
            }
            (End::Post(post_id), true) => {
                let request = LikePostRequest { request_id, post_id: post_id.clone() };
                relations.like_post(request).await.map(drop)
            }
            (End::Post(post_id), false) => {
                let request = UnlikePostRequest { request_id, post_id: post_id.clone() };
                relations.unlike_post(request).await.map(drop)
            }
        }?;
        self.is_related.store(shall_be, Ordering::Relaxed);
        Ok(())
    }
}

impl Relations {
    /// People without edges to these ends: what there is of an earlier run is removed. Several may share an end.
    ///
    /// # Errors
    /// When there is no end, or a call is refused.
    pub async fn prepare(people: Vec<Connection>, ends: &[End]) -> Result<Self> {
        ensure!(!ends.is_empty(), "nobody to follow and nothing to like");
        let ends = ends.iter().cycle().cloned();
        let person = |(connection, end)| Person { connection, end, is_related: AtomicBool::new(false) };
        let people: Vec<Person> = people.into_iter().zip(ends).map(person).collect();
        for person in &people {
            person.relate(false).await.context("removing an edge")?;
        }
        Ok(Self(Arc::new(people)))
    }
}

impl drive::Call for Relations {
    /// Makes the edge of the lane's person, or removes it if it is there.
    async fn call(&self, lane: usize) -> Result<(), Status> {
        let person = &self.0[lane % self.0.len()];
        // A lane makes one call at a time.
        person.relate(!person.is_related.load(Ordering::Relaxed)).await
    }
}
