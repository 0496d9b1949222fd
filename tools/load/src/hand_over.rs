//! Posts that go to and fro: each lane has a post of its own and two people, who hand it to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use api::user::v1::post_service_client::PostServiceClient;
use api::user::v1::{GetPostRequest, TransferPostRequest};
use tonic::Status;
use uuid::Uuid;

use crate::calls::Connection;
use crate::drive;

/// Somebody who owns the post now or next.
#[derive(Debug)]
pub struct Owner {
    /// The user.
    pub user_id: String,
    /// Calls as this user.
    pub connection: Connection,
}

/// The posts, each with its two owners.
#[derive(Debug, Clone)]
pub struct HandOvers(Arc<Vec<Post>>);

#[derive(Debug)]
struct Post {
    id: String,
    owners: [Owner; 2],
    /// Which of them has it.
    owner: AtomicUsize,
}

impl HandOvers {
    /// Looks who has each post.
    ///
    /// # Errors
    /// When there are not two owners for each post, or a post cannot be read or belongs to neither.
    pub async fn prepare(owners: Vec<Owner>, post_ids: &[String]) -> Result<Self> {
        ensure!(owners.len() == 2 * post_ids.len(), "each post needs two owners");
        let (mut owners, mut posts) = (owners.into_iter(), Vec::new());
        for id in post_ids {
            let pair = owners.next().zip(owners.next()).context("two owners")?;
            let owners: [Owner; 2] = pair.into();
            let request = GetPostRequest { post_id: id.clone() };
            let answer = PostServiceClient::new(owners[0].connection.clone()).get_post(request).await;
            let author = answer.context("GetPost")?.into_inner().post.context("a post")?.author_id;
            let owner = owners.iter().position(|owner| owner.user_id == author);
            let owner = AtomicUsize::new(owner.with_context(|| format!("post {id} is of neither owner"))?);
            posts.push(Post { id: id.clone(), owners, owner });
        }
        Ok(Self(Arc::new(posts)))
    }
}

impl drive::Call for HandOvers {
    /// Hands the lane's post to whoever does not have it.
    async fn call(&self, lane: usize) -> Result<(), Status> {
        let post = &self.0[lane % self.0.len()];
        // A lane makes one call at a time.
        let from = post.owner.load(Ordering::Relaxed);
        let request = TransferPostRequest {
            request_id: Uuid::new_v4().to_string(),
            post_id: post.id.clone(),
            to_user_id: post.owners[1 - from].user_id.clone(),
            ..TransferPostRequest::default()
        };
        PostServiceClient::new(post.owners[from].connection.clone()).transfer_post(request).await?;
        post.owner.store(1 - from, Ordering::Relaxed);
        Ok(())
    }
}
