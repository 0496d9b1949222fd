//! Claim: whatever dies while users follow each other, like, view, write, hand over and delete posts, and are deleted, what
//! is counted beside users and posts is what is there in the end. With a counter that is written outside the transaction of
//! its consumer it is not, and the recount says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::user::v1::{
    CreatePostRequest, DeletePostRequest, DeleteUserRequest, FollowUserRequest, LikePostRequest,
    RecordPostViewsRequest, TransferAllPostsRequest, TransferPostRequest, UnfollowUserRequest,
    UnlikePostRequest,
};
use testkit::client::{Person, request_id};
use testkit::{DatabaseOptions, FaultAct, Flaw, Profile, ServiceOptions, wait_until};
use tests::System;
use tests::streams::caught_up;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tonic::{Code, Status};

const CLIENTS: usize = 64;
const PEOPLE: usize = 8;
const POSTS: usize = 12;
const KILLS: usize = 4;
/// Acknowledged calls from one kill to the next.
const ACKNOWLEDGED: usize = 200;
/// How long so many take on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);
const COUNTERS: &str = "user.counters";

/// What clients do, in turn.
const ACTS: usize = 9;

/// Few people and few posts, so that everybody meets everybody.
struct Crowd {
    people: Vec<Person>,
    /// Some of them are deleted, and others come.
    posts: Mutex<Vec<String>>,
    acknowledged: [AtomicUsize; ACTS],
    is_over: AtomicBool,
}

impl Crowd {
    async fn gather(system: &System) -> Result<Self> {
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(system.api.sign_up("Somebody").await?);
        }
        let mut posts = Vec::new();
        for number in 0..POSTS {
            posts.push(published(&people[number % PEOPLE]).await.context("CreatePost")?);
        }
        Ok(Self {
            people,
            posts: Mutex::new(posts),
            acknowledged: Default::default(),
            is_over: AtomicBool::new(false),
        })
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// One client, until it is over. Each goes another way round.
    async fn wander(&self, client: usize) -> Result<()> {
        for step in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let act = (client + step) % ACTS;
            match self.act(act, client * 5 + step * 3).await {
                Ok(()) => drop(self.acknowledged[act].fetch_add(1, Ordering::Relaxed)),
                Err(status) => ensure!(is_expected(&status), "act {act}: {status:?}"),
            }
        }
        Ok(())
    }

    async fn act(&self, act: usize, at: usize) -> Result<(), Status> {
        let person = &self.people[at % PEOPLE];
        let other = self.people[(at / PEOPLE + 1 + at) % PEOPLE].user_id.clone();
        let post_id = self.post(at).await;
        let caller = &person.caller;
        match act {
            0 | 1 if other == person.user_id => Ok(()),
            0 => {
                let request = FollowUserRequest { request_id: request_id(), user_id: other };
                caller.relations().follow_user(request).await.map(drop)
            }
            1 => {
                let request = UnfollowUserRequest { request_id: request_id(), user_id: other };
                caller.relations().unfollow_user(request).await.map(drop)
            }
            2 | 3 => {
                let request = LikePostRequest { request_id: request_id(), post_id };
                caller.relations().like_post(request).await.map(drop)
            }
            4 => {
                let request = UnlikePostRequest { request_id: request_id(), post_id };
                caller.relations().unlike_post(request).await.map(drop)
            }
            5 => {
                let request = RecordPostViewsRequest { post_ids: vec![post_id] };
                caller.posts().record_post_views(request).await.map(drop)
            }
            6 if other == person.user_id => Ok(()),
            6 => {
                let request = TransferAllPostsRequest {
                    request_id: request_id(),
                    to_user_id: other,
                    ..TransferAllPostsRequest::default()
                };
                caller.posts().transfer_all_posts(request).await.map(drop)
            }
            7 if other == person.user_id => Ok(()),
            7 => {
                let request = TransferPostRequest {
                    request_id: request_id(),
                    post_id,
                    to_user_id: other,
                    ..TransferPostRequest::default()
                };
                caller.posts().transfer_post(request).await.map(drop)
            }
            _ => {
                let request = DeletePostRequest {
                    request_id: request_id(),
                    post_id: post_id.clone(),
                    ..DeletePostRequest::default()
                };
                caller.posts().delete_post(request).await?;
                let another = published(person).await?;
                let mut posts = self.posts.lock().await;
                if let Some(gone) = posts.iter_mut().find(|post| **post == post_id) {
                    *gone = another;
                }
                Ok(())
            }
        }
    }

    async fn post(&self, at: usize) -> String {
        let posts = self.posts.lock().await;
        posts[at % posts.len()].clone()
    }
}

async fn published(author: &Person) -> Result<String, Status> {
    let request = CreatePostRequest {
        request_id: request_id(),
        title: "On tea".to_owned(),
        body: "Three minutes.".to_owned(),
        publish: true,
        ..CreatePostRequest::default()
    };
    let answer = author.caller.posts().create_post(request).await?.into_inner();
    answer.post.map(|post| post.id).ok_or_else(|| Status::internal("an answer without a post"))
}

/// What calls may hear while their service is killed, and of each other: nothing that says that the service is wrong.
fn is_expected(status: &Status) -> bool {
    // The connection broke.
    let is_broken = status.code() == Code::Unknown && std::error::Error::source(status).is_some();
    is_broken
        || matches!(
            status.code(),
            Code::NotFound
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::ResourceExhausted
                // Of the one who was deleted.
                | Code::Unauthenticated
        )
}

/// Kills user service again and again while the clients go on.
async fn killed_among_clients(system: &System, crowd: &Arc<Crowd>) -> Result<()> {
    let service = &system.stack.services.user;
    for _ in 0..KILLS {
        let before = crowd.acknowledged();
        wait_until(WITHIN, "the clients to get on", async || match crowd.acknowledged() - before {
            done if done >= ACKNOWLEDGED => Ok(()),
            done => Err(format!("{done} calls")),
        })
        .await?;
        service.process().kill().await?;
        service.restart().await?;
    }
    Ok(())
}

/// Deletes one of them, with posts, edges and whatever else there is of them.
async fn delete(system: &System, person: &Person) -> Result<()> {
    let request = DeleteUserRequest {
        request_id: request_id(),
        user_id: person.user_id.clone(),
        delete_posts: true,
        ..DeleteUserRequest::default()
    };
    wait_until(WITHIN, "the deletion", async || {
        let deleted = system.admin.caller.users().delete_user(request.clone()).await;
        deleted.map(drop).map_err(|status| format!("{status:?}"))
    })
    .await
}

/// What the recount says once everything that was told is counted.
async fn recounted(system: &System) -> Result<String> {
    caught_up(&system.admin.caller, COUNTERS).await?;
    system.stack.services.user.command(&["recount"], "").await
}

/// User service dies after it has counted a follow and before it has noted that, and is started again.
async fn killed_before_the_mark_moves(system: &System) -> Result<()> {
    let service = &system.stack.services.user;
    let [one, other] = [system.api.sign_up("One").await?, system.api.sign_up("Other").await?];
    caught_up(&system.admin.caller, COUNTERS).await?;
    service.arm("consumer.applying", COUNTERS, FaultAct::Kill)?;
    let request = FollowUserRequest { request_id: request_id(), user_id: other.user_id.clone() };
    one.caller.relations().follow_user(request).await.context("FollowUser")?;
    wait_until(WITHIN, "user service to die", async || match service.process().exit_status() {
        Some(_) if service.has_fired() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    service.restart().await
}

#[tokio::test]
async fn what_is_counted_is_what_is_there_however_often_the_service_was_killed() -> Result<()> {
    let services = ServiceOptions { profile: Profile::Faults, ..ServiceOptions::default() };
    let system = System::start_with(DatabaseOptions::default(), services).await?;
    let crowd = Arc::new(Crowd::gather(&system).await?);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let crowd = Arc::clone(&crowd);
        clients.spawn(async move { crowd.wander(client).await });
    }
    let killed = killed_among_clients(&system, &crowd).await;
    let left = delete(&system, &crowd.people[PEOPLE - 1]).await;
    crowd.is_over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client??;
    }
    killed.and(left)?;
    let idle: Vec<usize> =
        (0..ACTS).filter(|act| crowd.acknowledged[*act].load(Ordering::Relaxed) == 0).collect();
    ensure!(idle.is_empty(), "none of the acts {idle:?} came through");
    let said = recounted(&system).await?;
    ensure!(said.ends_with(" 0 differences found"), "{said}");

    killed_before_the_mark_moves(&system).await?;
    let said = recounted(&system).await?;
    ensure!(said.ends_with(" 0 differences found"), "{said}");
    system.stack.services.user.restart_with(Flaw::CountsApart).await?;
    killed_before_the_mark_moves(&system).await?;
    let said = recounted(&system).await.err().context("the recount sees nothing wrong")?;
    ensure!(format!("{said:#}").contains("what is counted is not what is there"), "{said:#}");
    Ok(())
}
