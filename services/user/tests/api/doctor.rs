//! `user-service doctor`: on a database that is as it must be, and on databases that are not.

mod broken;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use bson::{Document, doc};
use clap::Parser as _;
use futures_util::TryStreamExt as _;
use runtime::doctor::{Line, Verdict};
use serde_json::Value;
use testkit::{
    Launch, Lifetime, MongoAdmin, MongoUrls, Process, Reference, Signal, State, TestMongo, wait_until,
};
use user_service::config::DoctorConfig;
use user_service::doctor::{CHECKS, Place, doctor};

use crate::harness::mongo_config;

/// What the stand-in for MongoDB does not have.
const NOT_PROVIDED: [&str; 5] = [
    "server.connections",
    "settings.lock_timeout",
    "settings.history_window",
    "transactions.bulk_write",
    "transactions.duplicate",
];
const NOT_TRIED: [&str; 1] = ["failover.step_down"];
/// What depends on what else the machine does at the time.
const TIMED: [&str; 6] = [
    "pace.commits",
    "pace.stamp",
    "pace.tombstones",
    "pace.hot_wallet",
    "transactions.conflict",
    "transactions.abandoned",
];

/// How long anything may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(30);

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: DoctorConfig,
}

/// What the command is told.
pub(super) fn config(urls: &MongoUrls, flags: &[&str]) -> DoctorConfig {
    config_of(&urls.runtime, &[&["--admin-url", &urls.admin], flags].concat())
}

/// The same with the service's login alone.
pub(super) fn config_of(url: &str, flags: &[&str]) -> DoctorConfig {
    let arguments = ["test", "--mongodb-url", url].into_iter().chain(flags.iter().copied());
    let config = Arguments::parse_from(arguments).config;
    // Not that of the shell that the tests run in.
    let has_admin = flags.contains(&"--admin-url");
    DoctorConfig { admin_url: config.admin_url.filter(|_| has_admin), ..config }
}

/// Does these checks, or all.
pub(super) async fn examined(place: &Place, only: &[&str]) -> Vec<Line> {
    let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
    let mut lines = Vec::new();
    CHECKS.examine(Ok(place), &only, |line| lines.push(line)).await.unwrap();
    lines
}

/// A database as the migrations leave it.
pub(super) async fn migrated() -> TestMongo {
    let mongo = TestMongo::create().await.unwrap();
    user_service::migrate(&mongo_config(mongo.migrate_url())).await.unwrap();
    mongo
}

/// The databases of a server that doctors have made.
async fn scratch_databases(mongo: &TestMongo) -> Vec<String> {
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let list = doc! { "listDatabases": 1, "nameOnly": true };
    let answer = admin.run("admin", list).await.unwrap();
    let names = answer.get_array("databases").unwrap().iter();
    names.map(|row| row.as_document().unwrap().get_str("name").unwrap().to_owned()).collect()
}

/// Where the scratch database of a place is.
fn scratch_of(lines: &[Line]) -> String {
    let line = lines.iter().find(|line| line.check == "privileges.scratch").unwrap();
    line.found.strip_prefix("made ").unwrap().to_owned()
}

#[tokio::test]
async fn a_database_as_it_must_be_passes_and_nothing_is_left() {
    let mongo = migrated().await;
    let place = Place::open(&config(mongo.urls(), &[])).await.unwrap();
    let lines = examined(&place, &[]).await;
    let expected = |check: &str| match check {
        check if NOT_PROVIDED.contains(&check) => Verdict::NotProvided,
        check if NOT_TRIED.contains(&check) => Verdict::NotTried,
        _ => Verdict::Ok,
    };
    let others: Vec<String> = lines
        .iter()
        .filter(|line| line.verdict != expected(line.check))
        // MongoDB itself has it.
        .filter(|line| !(NOT_PROVIDED.contains(&line.check) && line.verdict == Verdict::Ok))
        .filter(|line| !TIMED.contains(&line.check))
        .map(|line| format!("{line} ({} ms)", line.milliseconds))
        .collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
    let scratch = scratch_of(&lines);
    assert!(scratch_databases(&mongo).await.contains(&scratch));
    place.close().await.unwrap();
    assert!(!scratch_databases(&mongo).await.contains(&scratch));
}

/// Claim: the login that `privileges.scratch` tells one to make is enough for every check, and no more than it is needed.
#[tokio::test]
async fn the_login_that_one_is_told_to_make_is_enough() {
    let mongo = migrated().await;
    let place = Place::open(&config_of(mongo.url(), &[])).await.unwrap();
    let lines = examined(&place, &["privileges.scratch"]).await;
    place.close().await.unwrap();
    let mend = lines.iter().find_map(|line| line.mend.clone()).unwrap();
    let (_, rest) = mend.split_once("roles: [").unwrap();
    let roles: Vec<&str> =
        rest.split_once(']').unwrap().0.split(", ").map(|role| role.trim_matches('"')).collect();
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let user = format!("{}_doctor", mongo.name());
    let made = doc! { "createUser": &user, "pwd": "a-word-to-pass", "roles": &roles };
    admin.run("admin", made).await.unwrap();
    let (_, server) = mongo.url().rsplit_once('@').unwrap();
    let url = format!("mongodb://{user}:a-word-to-pass@{server}");
    let place = Place::open(&config_of(mongo.url(), &["--admin-url", &url])).await.unwrap();
    let names: Vec<&str> = CHECKS.names().filter(|name| !name.starts_with("pace.")).collect();
    let lines = examined(&place, &names).await;
    place.close().await.unwrap();
    admin.run("admin", doc! { "dropUser": &user }).await.unwrap();
    let not_tried: Vec<String> = lines
        .iter()
        .filter(|line| [Verdict::NotTried, Verdict::Failed].contains(&line.verdict))
        .filter(|line| !NOT_TRIED.contains(&line.check) && !TIMED.contains(&line.check))
        .map(ToString::to_string)
        .collect();
    assert!(not_tried.is_empty(), "{}", not_tried.join("\n"));
}

/// All documents of a database.
async fn contents(mongo: &TestMongo) -> BTreeMap<String, Vec<Document>> {
    let database = mongodb::Client::with_uri_str(mongo.admin_url()).await.unwrap().database(mongo.name());
    let mut contents = BTreeMap::new();
    for name in database.list_collection_names().await.unwrap() {
        let rows =
            database.collection::<Document>(&name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        contents.insert(name, rows.try_collect().await.unwrap());
    }
    contents
}

#[tokio::test]
async fn the_database_of_the_url_is_left_as_it_was() {
    let mongo = migrated().await;
    let before = contents(&mongo).await;
    let place = Place::open(&config(mongo.urls(), &[])).await.unwrap();
    let names: Vec<&str> = CHECKS.names().filter(|name| !name.starts_with("pace.")).collect();
    examined(&place, &names).await;
    place.close().await.unwrap();
    assert_eq!(contents(&mongo).await, before);
}

/// Claim: who only looks needs no login that may do more.
#[tokio::test]
async fn a_check_that_writes_nothing_needs_the_login_of_the_service_alone() {
    let mongo = migrated().await;
    doctor(&config_of(mongo.url(), &["--only", "server.version", "--only", "privileges.find"]))
        .await
        .unwrap();
}

/// Claim: nothing is left behind by one who is told to stop in the middle.
#[tokio::test]
async fn the_scratch_database_is_dropped_when_the_process_is_told_to_end() {
    let mongo = migrated().await;
    let state = State::for_run(&testkit::state::base()).await.unwrap();
    let process = Process::start(Launch {
        name: "doctor".to_owned(),
        program: env!("CARGO_BIN_EXE_user-service").into(),
        args: ["doctor", "--output", "json"].map(OsString::from).into(),
        env: vec![
            ("MONGODB_URL".to_owned(), mongo.url().to_owned()),
            ("MONGODB_ADMIN_URL".to_owned(), mongo.admin_url().to_owned()),
        ],
        folder: state.root().to_owned(),
        account: None,
        lifetime: Lifetime::WithParent,
        last_signal: Signal::SIGKILL,
        log: state.log("doctor"),
        pid_file: state.pid_file("doctor"),
    })
    .unwrap();
    let made = wait_until(WITHIN, "a scratch database", async || {
        let lines = process.log().lines();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.into_iter().find(|line| line["check"] == "privileges.scratch");
        line.map(|line| line["found"].as_str().unwrap().replace("made ", "")).ok_or("it is not made yet")
    });
    let scratch = made.await.unwrap();
    process.signal(Signal::SIGTERM).unwrap();
    let status = process.ended(WITHIN).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1), "{}", process.log().tail(5));
    assert!(!scratch_databases(&mongo).await.contains(&scratch));
    process.stop(Signal::SIGTERM, WITHIN).await.unwrap();
    drop(process);
    state.remove().unwrap();
}

#[test]
fn the_readme_has_the_checks() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    Reference::new(readme, "checks").check(&CHECKS.reference()).unwrap();
}
