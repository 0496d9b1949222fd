//! A database that fails in the middle. Each test has a server of its own, since it breaks it.

use std::ops::Deref;
use std::time::{Duration, Instant};

use api::user::v1::{CreatePostRequest, CreatePostResponse, DeactivateUserRequest, TransferPostRequest};
use bson::{Document, doc};
use testkit::client::request_id;
use testkit::proxy::{Acknowledgements, Protocol, Proxy, Then};
use testkit::{Lifetime, Mongo, MongoUrls, Port, State, TestMongo, wait_until};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{Harness, Person, is_replay, refusal};
use crate::wallets::{balance, grant, grant_of, send, send_of};

const WITHIN: Duration = Duration::from_secs(20);

/// A private server, whose commands can be made to fail.
pub(crate) struct Private {
    pub(crate) mongo: Mongo,
    state: State,
}

impl Private {
    pub(crate) async fn start() -> Self {
        let state = State::for_run(&testkit::state::base()).await.unwrap();
        let mongo = Mongo::start(&state, Port::Free, Lifetime::WithParent, true).await.unwrap();
        Self { mongo, state }
    }

    /// The URLs of a database that nobody uses yet.
    pub(crate) async fn database(&self) -> MongoUrls {
        let name = format!("t_{}", Uuid::new_v4().simple());
        self.mongo.urls(&self.state, &name).await.unwrap()
    }

    /// The next `times` of this command of the service fail so.
    pub(crate) async fn fail(&self, command: &str, times: i32, how: Document) {
        let mut data = doc! { "failCommands": [command], "appName": "user-service" };
        data.extend(how);
        let point = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
        self.mongo.admin().run("admin", point).await.unwrap();
    }

    /// Commands work again.
    pub(crate) async fn mend(&self) {
        let point = doc! { "configureFailPoint": "failCommand", "mode": "off" };
        self.mongo.admin().run("admin", point).await.unwrap();
    }

    pub(crate) async fn end(self) {
        self.mongo.stop().await.unwrap();
        drop(self.mongo);
        self.state.remove().unwrap();
    }
}

/// A private server and a service on it.
pub(crate) struct Broken {
    pub(crate) harness: Harness,
    server: Private,
}

impl Deref for Broken {
    type Target = Private;

    fn deref(&self) -> &Private {
        &self.server
    }
}

impl Broken {
    pub(crate) async fn start() -> Self {
        let server = Private::start().await;
        let urls = server.database().await;
        Self { harness: Harness::start_on(&urls, &urls.runtime, &[]).await, server }
    }

    pub(crate) async fn end(self) {
        drop(self.harness);
        self.server.end().await;
    }
}

pub(crate) async fn write(
    author: &Person,
    request: &CreatePostRequest,
) -> Result<Response<CreatePostResponse>, Status> {
    author.caller.posts().create_post(request.clone()).await
}

pub(crate) fn draft() -> CreatePostRequest {
    CreatePostRequest {
        request_id: request_id(),
        title: "Tea".into(),
        body: "Water".into(),
        publish: true,
        ..CreatePostRequest::default()
    }
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
    broken.fail("bulkWrite", 3, conflict.clone()).await;
    assert!(!is_replay(&write(&ann, &draft()).await.unwrap()));
    assert_eq!(broken.harness.count("post", doc! {}).await, 1);

    broken.fail("bulkWrite", 1_000_000, conflict).await;
    let request = draft();
    let status = write(&ann, &request).await.unwrap_err();
    broken.mend().await;
    // Another call under this id could still be at it, so that nobody can say that nothing changes.
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_IN_PROGRESS");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(broken.harness.count("post", doc! {}).await, 1, "nothing changed");
    write(&ann, &request).await.unwrap();
    assert_eq!(broken.harness.count("post", doc! {}).await, 2);
    broken.end().await;
}

/// Claim: whose tries are used up hears what another call under the same id was answered meanwhile.
#[tokio::test]
async fn a_call_whose_tries_are_used_up_looks_for_the_first_answer() {
    let broken = Broken::start().await;
    let (admin, ann) = (broken.harness.admin().await, broken.harness.customer().await);
    let nobody = Person { id: Uuid::now_v7().to_string(), ..ann.clone() };
    let (post, credit, in_vain) = (draft(), grant_of(&ann, 5), grant_of(&nobody, 5));
    write(&ann, &post).await.unwrap();
    grant(&admin, &credit).await.unwrap();
    let refused = refusal(grant(&admin, &in_vain).await);
    // Each finds the answer and cannot end its transaction: as if it was not there until the last look.
    let conflict = doc! { "errorCode": 112, "errorLabels": ["TransientTransactionError"] };
    broken.fail("commitTransaction", 1_000_000, conflict).await;
    let (posted, granted, refused_again) =
        tokio::join!(write(&ann, &post), grant(&admin, &credit), grant(&admin, &in_vain));
    let unknown = grant(&admin, &grant_of(&ann, 1)).await.unwrap_err();
    broken.mend().await;
    assert!(is_replay(&posted.unwrap()) && is_replay(&granted.unwrap()));
    assert_eq!(refusal(refused_again), refused);
    assert_eq!(refusal(Err::<(), _>(unknown)), (Code::Unavailable, "REQUEST_IN_PROGRESS".to_owned(), vec![]));
    assert_eq!(balance(&ann).await, 5);
    broken.end().await;
}

/// Claim: a commit that meets silence is asked after over another connection, while there is time.
#[tokio::test]
async fn a_commit_that_meets_silence_is_asked_after_and_done_once() {
    let mongo = TestMongo::create().await.unwrap();
    let (edge, url) = through_a_proxy(&mongo).await;
    let harness = Harness::start_on(mongo.urls(), &url, &[]).await;
    let ann = harness.customer().await;
    let lost = edge.lose(Acknowledgements::of("bulkWrite(user,post").then(Then::Silence));
    assert!(!is_replay(&write(&ann, &draft()).await.unwrap()));
    assert_eq!(lost.count(), 1);
    edge.heal();
    assert_eq!(harness.count("post", doc! {}).await, 1);
    edge.understood().unwrap();
}

/// Claim: what a transaction writes is one exchange, events and the answer included.
#[tokio::test]
async fn a_call_takes_no_more_exchanges_than_these() {
    let mongo = TestMongo::create().await.unwrap();
    let (edge, url) = through_a_proxy(&mongo).await;
    let harness = Harness::start_on(mongo.urls(), &url, &[]).await;
    let (admin, ann) = (harness.admin().await, harness.customer().await);
    grant(&admin, &grant_of(&ann, 5)).await.unwrap();
    send(&ann, &send_of(&admin, 1)).await.unwrap();
    let post = write(&ann, &draft()).await.unwrap().into_inner().post.unwrap();
    let handing = TransferPostRequest {
        request_id: request_id(),
        post_id: post.id,
        to_user_id: admin.id.clone(),
        etag: String::new(),
    };
    ann.caller.posts().transfer_post(handing).await.unwrap();
    let gone =
        DeactivateUserRequest { request_id: request_id(), user_id: ann.id.clone(), etag: String::new() };
    ann.caller.users().deactivate_user(gone).await.unwrap();
    let reads = ["find(posting)", "find(request)", "find(user)", "find(wallet)"];
    let credit = exchanges(&reads, "bulkWrite(wallet,wallet_owner,posting,entry,outbox)");
    assert_eq!(edge.transactions("find(posting)"), [credit.clone(), credit]);
    let mut all = edge.transactions("find(request)");
    all.sort();
    all.dedup();
    let mut expected = [
        exchanges(&["find(request)"], "bulkWrite(request,user,credential,outbox)"),
        exchanges(&["find(request)", "find(post_slug)"], "bulkWrite(user,post_slug,post,outbox,request)"),
        exchanges(&["find(request)", "find(post)"], "bulkWrite(post,user,outbox,request)"),
        exchanges(
            &["find(request)", "find(user)", "find(wallet)", "find(order_statistics)"],
            "bulkWrite(wallet,wallet_owner,user_change,user,outbox,request)",
        ),
    ];
    expected.sort();
    assert_eq!(all, expected);
    edge.understood().unwrap();
}

/// The commands of a transaction that reads so and then writes so.
fn exchanges(reads: &[&str], write: &str) -> Vec<String> {
    reads.iter().chain(&[write, "commitTransaction"]).map(|text| (*text).to_owned()).collect()
}

/// A way to the shared server that can be broken, and the URL that leads along it.
pub(crate) async fn through_a_proxy(mongo: &TestMongo) -> (Proxy, String) {
    proxy_to(mongo.url()).await
}

/// A way to a server that can be broken, and the URL that leads along it.
pub(crate) async fn proxy_to(url: &str) -> (Proxy, String) {
    let place = url.split_once("://").unwrap().1.split('/').next().unwrap();
    let server = place.rsplit('@').next().unwrap();
    let edge = Proxy::start(server.parse().unwrap(), Protocol::Mongo).await.unwrap();
    let url = url.replace(server, &format!("127.0.0.1:{}", edge.port()));
    (edge, url)
}

/// Claim: a commit is asked for again when the server does not know the transaction and does not say that it can be done
/// again, and when it cannot say whether a majority has the commit.
#[tokio::test]
async fn a_commit_that_the_server_leaves_open_is_asked_for_again() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    let not_by_a_majority = doc! { "code": 64, "errmsg": "waiting for replication timed out" };
    for (number, (times, how)) in [
        (1, doc! { "errorCode": 251 }),
        (2, doc! { "writeConcernError": not_by_a_majority }),
        (2, doc! { "writeConcernError": { "code": 100, "errmsg": "not enough members" } }),
    ]
    .into_iter()
    .enumerate()
    {
        broken.fail("commitTransaction", times, how.clone()).await;
        write(&ann, &draft()).await.unwrap();
        broken.mend().await;
        let count = u64::try_from(number).unwrap() + 1;
        assert_eq!(broken.harness.count("post", doc! {}).await, count, "{how}");
    }
    broken.end().await;
}

/// Claim: what a later try of a commit is refused with says nothing of the first, whose answer was lost: the caller hears
/// that nobody knows, and the transaction is not done a second time.
#[tokio::test]
async fn a_commit_in_doubt_that_is_refused_afterwards_stays_in_doubt() {
    let server = Private::start().await;
    let urls = server.database().await;
    let (edge, url) = proxy_to(&urls.runtime).await;
    let harness = Harness::start_on(&urls, &url, &[]).await;
    let ann = harness.customer().await;
    for (code, count) in [(13, 1), (18, 2)] {
        let lost = edge.lose(Acknowledgements::of("bulkWrite(user,post").then(Then::Silence));
        let refuse_the_next = async {
            wait_until(WITHIN, "the loss", async || if lost.count() == 1 { Ok(()) } else { Err("no loss") })
                .await
                .unwrap();
            server.fail("commitTransaction", 1_000_000, doc! { "errorCode": code }).await;
        };
        let request = draft();
        let (written, ()) = tokio::join!(write(&ann, &request), refuse_the_next);
        let status = written.unwrap_err();
        server.mend().await;
        edge.heal();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata.get("effect").map(String::as_str), Some("unknown"), "{code}: {status:?}");
        assert_eq!(harness.count("post", doc! {}).await, count, "it was done once");
    }
    drop(harness);
    server.end().await;
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
