//! What MongoDB refuses or fails at: callers hear what it is, nobody hears of a defect, and it is over by itself. What the
//! server of these tests cannot do of itself is done by its fail points, or by a proxy before it.

use std::time::Duration;

use api::refusal::{EFFECT, Refusal};
use api::user::v1::GetPostRequest;
use bson::{Document, doc};
use runtime::telemetry::Repeats;
use testkit::{CapturedLog, MongoAdmin, MongoRole, RenewedFile, TestMongo};
use testkit::{not_serving, serving, under_load, wait_until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use types::{Effect, FailureKind, Verdict};
use user_service::storage::FAILURES;

use crate::faults::{Broken, draft, through_a_proxy, write};
use crate::harness::{Harness, Person};

const NOTICED: Duration = Duration::from_secs(30);

fn effect(status: &Status) -> Option<String> {
    status.get_details_error_info()?.metadata.remove(EFFECT)
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

async fn read(reader: &Person, post_id: &str) -> Result<(), Status> {
    let request = GetPostRequest { post_id: post_id.to_owned() };
    reader.caller.posts().get_post(request).await.map(drop)
}

/// How the server fails so that a row is about it; `None` for what only the driver says.
pub(crate) fn failing(said: &str) -> Option<Document> {
    if WITH_DETAILS.contains(&said) {
        return None;
    }
    if let Ok(code) = said.parse::<i32>() {
        return Some(doc! { "errorCode": code });
    }
    let is_label = said.chars().all(char::is_alphabetic);
    is_label.then(|| doc! { "errorCode": 6_543_210, "errorLabels": [said] })
}

/// A server says these only with details that a fail point cannot give.
pub(crate) const WITH_DETAILS: [&str; 2] = ["121", "11000"];

/// Claim: whatever code or label MongoDB gives, a caller hears what the table has for it. One that it does not have is no
/// defect of ours, and leaves in doubt what came of the call.
#[tokio::test]
async fn each_code_and_label_is_what_the_table_says() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    let post = write(&ann, &draft()).await.unwrap().into_inner().post.unwrap();
    let rows = FAILURES.rows.iter().filter_map(|row| Some((row.said, failing(row.said)?, row.verdict)));
    let unlisted = ("any other", doc! { "errorCode": 6_543_210 }, Verdict::UNAVAILABLE);
    for (said, how, mut verdict) in rows.chain([unlisted]) {
        // After some codes the driver takes the server for lost, and looks for it.
        wait_until(NOTICED, "the post", async || read(&ann, &post.id).await).await.unwrap();
        broken.fail("find", 1_000_000, how).await;
        let status = read(&ann, &post.id).await.unwrap_err();
        broken.mend().await;
        if verdict == Verdict::UNAVAILABLE.again() && effect(&status).as_deref() == Some("none") {
            // A worker has met it before, so that no server was there to ask.
            verdict = verdict.without_effect();
        }
        assert_is(&status, said, verdict, verdict.effect);
    }
    wait_until(NOTICED, "the post", async || read(&ann, &post.id).await).await.unwrap();
    broken.end().await;
}

#[track_caller]
fn assert_is(status: &Status, said: &str, verdict: Verdict, took_effect: Effect) {
    let (code, reason_told) = Refusal::from(&verdict.failure("")).outcome();
    assert_eq!((status.code(), &*reason(status)), (code, reason_told), "{said}: {status:?}");
    let is_told = [FailureKind::Unavailable, FailureKind::StorageUnavailable].contains(&verdict.kind);
    assert_eq!(effect(status).as_deref(), is_told.then(|| took_effect.as_str()), "{said}: {status:?}");
}

/// Claim: a database that is full, read-only or without a privilege for us takes no write, and takes it again afterwards;
/// before its commit a transaction has changed nothing; and what came of a commit that the server does not know is not
/// guessed.
#[tokio::test]
async fn writes_that_are_refused_change_nothing_and_are_taken_afterwards() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    for code in [14_031, 371, 13, 1, 6_543_210] {
        broken.fail("bulkWrite", 1_000_000, doc! { "errorCode": code }).await;
        let status = write(&ann, &draft()).await.unwrap_err();
        broken.mend().await;
        let verdict = FAILURES.verdict(&[&code.to_string()]);
        assert_is(&status, &code.to_string(), verdict, Effect::None);
    }
    assert_eq!(broken.harness.count("post", doc! {}).await, 0);
    write(&ann, &draft()).await.unwrap();

    broken.fail("commitTransaction", 1_000_000, doc! { "errorCode": 6_543_210 }).await;
    let request = draft();
    let status = write(&ann, &request).await.unwrap_err();
    broken.mend().await;
    assert_is(&status, "a commit", FAILURES.unlisted, Effect::Unknown);
    wait_until(NOTICED, "the post", async || write(&ann, &request).await.map(drop)).await.unwrap();
    assert_eq!(broken.harness.count("post", doc! {}).await, 2);
    broken.end().await;
}

/// Calls until health says that it does not serve; each hears UNAVAILABLE, and in the end that nothing was done.
async fn is_away(harness: &Harness, ann: &Person) {
    let url = harness.service_url();
    let mut last = None;
    wait_until(NOTICED, "health to say that it does not serve", async || {
        if let Err(status) = write(ann, &draft()).await {
            assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "DEPENDENCY_UNAVAILABLE"));
            last = Some(status);
        }
        not_serving(&url).await
    })
    .await
    .unwrap();
    assert_eq!(effect(&last.unwrap()).as_deref(), Some("none"));
}

async fn is_back(harness: &Harness, ann: &Person) {
    wait_until(NOTICED, "a post", async || write(ann, &draft()).await.map(drop)).await.unwrap();
    wait_until(NOTICED, "health", async || serving(&harness.service_url()).await).await.unwrap();
}

/// Claim: with a wrong password, and with a server that takes no connection, nobody hears of a defect; health says so; the
/// log has a line for each cause; and all is well again when the cause is over.
#[tokio::test]
async fn a_login_that_is_refused_for_a_while_is_over_by_itself() {
    let log = CapturedLog::start(|format| Repeats::default().format(format));
    let mongo = TestMongo::create().await.unwrap();
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let user = MongoRole::Runtime.name(mongo.name());
    let (edge, url) = through_a_proxy(&mongo).await;
    let (_, password) = url.split_once('@').unwrap().0.rsplit_once(':').unwrap();
    let harness = Harness::start_on(mongo.urls(), &url, &[]).await;
    let ann = harness.customer().await;
    write(&ann, &draft()).await.unwrap();

    admin.run("admin", doc! { "updateUser": &user, "pwd": "another-password" }).await.unwrap();
    edge.reset();
    is_away(&harness, &ann).await;
    let told = log.lines_with("the call failed");
    assert!(told.iter().any(|line| line.to_lowercase().contains("auth")), "{told:#?}");
    assert!(told.len() < 8, "{told:#?}");
    admin.run("admin", doc! { "updateUser": &user, "pwd": password }).await.unwrap();
    is_back(&harness, &ann).await;
    assert!(log.lines_with(password).is_empty());

    // A server that has as many connections as it may hangs up.
    edge.refuse();
    is_away(&harness, &ann).await;
    edge.heal();
    is_back(&harness, &ann).await;
}

/// Claim: a login that is renewed in its file is that of new connections, and no call fails while one takes the place of
/// the other. What MongoDB does not take is told of, and the login before it is used.
#[tokio::test]
async fn a_login_that_is_renewed_in_its_file_is_used_without_a_restart() {
    const RENEWED: &str = "connections to MongoDB are made with what is in the files now";
    const REFUSED: &str = "MongoDB does not take what is in the files now";
    let log = CapturedLog::start(|format| format);
    let mongo = TestMongo::create().await.unwrap();
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let role = MongoRole::Runtime.name(mongo.name());
    let second = format!("{role}_second");
    let create = doc! { "createUser": &second, "pwd": "the-second-password", "roles": [&role] };
    admin.run("admin", create).await.unwrap();
    let (edge, url) = through_a_proxy(&mongo).await;
    let (login, place) = url.trim_start_matches("mongodb://").split_once('@').unwrap();
    let (_, password) = login.rsplit_once(':').unwrap();
    let file = RenewedFile::new(mongo.name(), &url).unwrap();
    let harness = Harness::start_on(mongo.urls(), &file.setting(), &[]).await;
    let ann = harness.customer().await;

    file.renew(&format!("mongodb://{second}:another-password@{place}")).unwrap();
    let told = async || if log.lines_with(REFUSED).is_empty() { Err("not told yet") } else { Ok(()) };
    wait_until(NOTICED, "the login to be refused", told).await.unwrap();
    edge.reset();
    is_back(&harness, &ann).await;

    file.renew(&format!("mongodb://{second}:the-second-password@{place}")).unwrap();
    let mut count = 0;
    while log.lines_with(RENEWED).is_empty() {
        for written in futures_util::future::join_all((0..4).map(|_| write_one(&ann))).await {
            written.unwrap();
            count += 1;
        }
        assert!(count < 100_000, "the login is not renewed");
    }
    admin.run("admin", doc! { "updateUser": &role, "pwd": "another-password" }).await.unwrap();
    edge.reset();
    is_back(&harness, &ann).await;
    assert_eq!(log.lines_with(REFUSED).len(), 1);
    assert!(log.lines_with(password).is_empty() && log.lines_with("second-password").is_empty());
    drop(harness);
    admin.run("admin", doc! { "dropUser": &second }).await.unwrap();
}

async fn write_one(ann: &Person) -> Result<(), Status> {
    write(ann, &draft()).await.map(drop)
}

/// Claim: a server that is killed and started again under load costs the calls of that moment, all of which hear
/// UNAVAILABLE, and a line of the log for each cause.
#[tokio::test]
async fn a_server_that_is_started_again_under_load_costs_the_calls_of_that_moment() {
    let log = CapturedLog::start(|format| Repeats::default().format(format));
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    let post = write(&ann, &draft()).await.unwrap().into_inner().post.unwrap();
    let restart = async {
        let url = broken.harness.service_url();
        broken.mongo.process().kill().await.unwrap();
        wait_until(NOTICED, "health to say that it does not serve", async || not_serving(&url).await)
            .await
            .unwrap();
        broken.mongo.restart().await.unwrap();
        wait_until(NOTICED, "health", async || serving(&url).await).await.unwrap();
    };
    let failures = under_load(async || read(&ann, &post.id).await, restart).await;
    for status in &failures {
        let told = (status.code(), &*reason(status));
        assert_eq!(told, (Code::Unavailable, "DEPENDENCY_UNAVAILABLE"), "{status:?}");
    }
    let (failed, lines) = (failures.len(), log.lines_with("the call failed").len());
    assert!(failed > 8 && lines < 12, "{failed} calls failed, and {lines} lines tell of it");
    write(&ann, &draft()).await.unwrap();
    broken.end().await;
}
