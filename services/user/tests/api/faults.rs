//! A database that fails in the middle. Each test has a server of its own, since it breaks it.

use std::time::{Duration, Instant};

use api::user::v1::{CreatePostRequest, CreatePostResponse};
use bson::{Document, doc};
use testkit::client::request_id;
use testkit::{Lifetime, Mongo, Port, State, wait_until};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{Harness, Person, is_replay};

const WITHIN: Duration = Duration::from_secs(20);

/// A private server and a service on it.
struct Broken {
    harness: Harness,
    mongo: Mongo,
    state: State,
}

impl Broken {
    async fn start() -> Self {
        let state = State::for_run(&testkit::state::base()).await.unwrap();
        let mongo = Mongo::start(&state, Port::Free, Lifetime::WithParent, true).await.unwrap();
        let name = format!("t_{}", Uuid::new_v4().simple());
        let harness = Harness::start_on(&mongo.url(&name), &name, &[]).await;
        Self { harness, mongo, state }
    }

    /// The next `times` of this command of the service fail so.
    async fn fail(&self, command: &str, times: i32, how: Document) {
        let mut data = doc! { "failCommands": [command], "appName": "user-service" };
        data.extend(how);
        let point = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
        self.mongo.admin().run("admin", point).await.unwrap();
    }

    /// Commands work again.
    async fn mend(&self) {
        let point = doc! { "configureFailPoint": "failCommand", "mode": "off" };
        self.mongo.admin().run("admin", point).await.unwrap();
    }

    async fn end(self) {
        drop(self.harness);
        self.mongo.stop().await.unwrap();
        drop(self.mongo);
        self.state.remove().unwrap();
    }
}

async fn write(author: &Person, request: &CreatePostRequest) -> Result<Response<CreatePostResponse>, Status> {
    author.caller.posts().create_post(request.clone()).await
}

fn draft() -> CreatePostRequest {
    CreatePostRequest { request_id: request_id(), title: "Tea".into(), body: "Water".into() }
}

/// The commit was done and its answer lost, or it was not done and nobody knows: asked again, it is done once.
#[tokio::test]
async fn a_commit_without_an_answer_is_asked_after_and_done_once() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    for (number, how) in [
        doc! { "closeConnection": true },
        doc! { "errorCode": 50, "errorLabels": ["UnknownTransactionCommitResult"] },
    ]
    .into_iter()
    .enumerate()
    {
        broken.fail("commitTransaction", 5, how).await;
        write(&ann, &draft()).await.unwrap();
        let count = u64::try_from(number).unwrap() + 1;
        assert_eq!(broken.harness.count("post", doc! {}).await, count);
        assert_eq!(broken.harness.user(&ann.id).await.post_count, i64::try_from(count).unwrap());
        assert_eq!(broken.harness.events("user.v1.PostCreated").await, count);
    }
    broken.end().await;
}

#[tokio::test]
async fn a_conflict_is_tried_again_and_in_the_end_told() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    let conflict = doc! { "errorCode": 112, "errorLabels": ["TransientTransactionError"] };
    broken.fail("update", 3, conflict.clone()).await;
    assert!(!is_replay(&write(&ann, &draft()).await.unwrap()));
    assert_eq!(broken.harness.count("post", doc! {}).await, 1);

    broken.fail("update", 1_000_000, conflict).await;
    let request = draft();
    let status = write(&ann, &request).await.unwrap_err();
    broken.mend().await;
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "CONTENTION");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(broken.harness.count("post", doc! {}).await, 1, "nothing changed");
    write(&ann, &request).await.unwrap();
    assert_eq!(broken.harness.count("post", doc! {}).await, 2);
    broken.end().await;
}

/// A paused server answers nothing, not even that it is away.
#[tokio::test]
async fn a_silent_database_is_unavailable_and_the_repeat_succeeds() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    broken.mongo.process().pause().unwrap();
    let request = draft();
    let begun = Instant::now();
    let status = write(&ann, &request).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&status.code()), "{status:?}");
    assert!(
        !format!("{} {:?}", status.message(), status.get_error_details()).contains("127.0.0.1"),
        "{status:?}"
    );
    broken.mongo.process().resume().unwrap();
    wait_until(WITHIN, "the post", async || write(&ann, &request).await.map(drop)).await.unwrap();
    assert_eq!(broken.harness.count("post", doc! {}).await, 1);
    assert_eq!(broken.harness.user(&ann.id).await.post_count, 1);
    broken.end().await;
}

#[tokio::test]
async fn a_killed_database_loses_nothing_that_was_answered() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    let mut answered = 0;
    for _ in 0..5 {
        write(&ann, &draft()).await.unwrap();
        answered += 1;
    }
    let request = draft();
    let (killed, status) = tokio::join!(broken.mongo.process().kill(), write(&ann, &request));
    killed.unwrap();
    if let Err(status) = &status {
        assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&status.code()), "{status:?}");
    }
    broken.mongo.restart().await.unwrap();
    wait_until(WITHIN, "the post", async || write(&ann, &request).await.map(drop)).await.unwrap();
    answered += 1;
    assert_eq!(broken.harness.count("post", doc! {}).await, answered);
    assert_eq!(broken.harness.events("user.v1.PostCreated").await, answered);
    wait_until(WITHIN, "all stamps", async || {
        match broken.harness.count("outbox", doc! { "pending": true }).await {
            0 => Ok(()),
            left => Err(format!("{left} are not stamped")),
        }
    })
    .await
    .unwrap();
    broken.end().await;
}
