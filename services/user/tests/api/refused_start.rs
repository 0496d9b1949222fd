//! Databases that this service cannot work with: each is told at the start, at once, with the cause and the setting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use runtime::server::start_in_process;
use testkit::{CapturedLog, MongoAdmin, TestMongo, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use types::{SystemClock, SystemIds};
use user_service::UserService;
use user_service::config::MongoConfig;
use user_service::storage::{Shared, Store};
use uuid::Uuid;

use crate::faults::through_a_proxy;
use crate::harness::{config_for, mongo_config};

const AT_ONCE: Duration = Duration::from_secs(5);
const PASSWORD: &str = "very-s3cret";

/// A server of MongoDB's protocol that greets so, takes no login, and has nothing to say.
struct Scripted {
    port: u16,
    _serving: JoinSet<()>,
}

impl Scripted {
    async fn start(greeting: impl FnOnce(&str) -> Document) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let greeting = greeting(&format!("127.0.0.1:{port}"));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                connections.spawn(serve(connection, greeting.clone()));
            }
        });
        Self { port, _serving: serving }
    }

    fn url(&self, login: &str, options: &str) -> String {
        format!("mongodb://{login}127.0.0.1:{}/shop{options}", self.port)
    }
}

async fn serve(mut connection: TcpStream, greeting: Document) {
    const HEADER: usize = 16;
    const OP_MSG: u32 = 2013;
    let mut head = [0; HEADER];
    // Until the client hangs up.
    while connection.read_exact(&mut head).await.is_ok() {
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let (len, id) = (number(0) as usize, number(4));
        let mut rest = vec![0; len - HEADER];
        connection.read_exact(&mut rest).await.unwrap();
        // The flags, and the kind of the first section.
        let command: Document = bson::deserialize_from_slice(&rest[5..]).unwrap();
        let answer = match command.keys().next().unwrap().as_str() {
            "hello" | "isMaster" | "ismaster" => greeting.clone(),
            "saslStart" => {
                let what = "Authentication failed.";
                doc! { "ok": 0.0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": what }
            }
            _ => doc! { "ok": 1.0 },
        };
        let answer = answer.to_vec().unwrap();
        let len = u32::try_from(HEADER + 5 + answer.len()).unwrap();
        let frame = [[len, 1, id, OP_MSG, 0].map(u32::to_le_bytes).concat(), vec![0], answer].concat();
        if connection.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// The greeting of the primary of a set of one.
fn primary(host: &str) -> Document {
    doc! {
        "ok": 1.0,
        "helloOk": true,
        "isWritablePrimary": true,
        "setName": "rs",
        "hosts": [host],
        "me": host,
        "primary": host,
        "minWireVersion": 0,
        "maxWireVersion": 25,
        "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "logicalSessionTimeoutMinutes": 30,
        "connectionId": 1,
        "localTime": bson::DateTime::now(),
    }
}

fn with(host: &str, more: Document, less: &[&str]) -> Document {
    let mut greeting = primary(host);
    greeting.extend(more);
    for name in less {
        greeting.remove(name);
    }
    greeting
}

const NO_SET: [&str; 4] = ["setName", "hosts", "me", "primary"];

fn alone(host: &str) -> Document {
    with(host, doc! {}, &NO_SET)
}

fn mongos(host: &str) -> Document {
    with(host, doc! { "msg": "isdbgrid" }, &NO_SET)
}

fn seven(host: &str) -> Document {
    with(host, doc! { "maxWireVersion": 21 }, &[])
}

fn secondary(host: &str) -> Document {
    let hosts = [host, "127.0.0.1:1"];
    let is = doc! { "isWritablePrimary": false, "secondary": true, "primary": "127.0.0.1:1", "hosts": hosts };
    with(host, is, &[])
}

/// What `migrate` says of a database, which it has to say at once.
async fn refusal(url: &str) -> String {
    let begun = Instant::now();
    let error = user_service::migrate(&mongo_config(url)).await.unwrap_err();
    let (took, text) = (begun.elapsed(), format!("{error:#}"));
    assert!(took < AT_ONCE, "{took:?}: {text}");
    assert!(text.starts_with("--mongodb-url: "), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

/// Claim: whatever else than the primary of a replica set of MongoDB 8 is at the URL is told at once, by what it is.
#[tokio::test]
async fn a_server_that_we_cannot_work_with_is_told_at_once() {
    type Greeting = fn(&str) -> Document;
    let cases: [(Greeting, &str, &[&str]); 9] = [
        (alone, "", &["must be a replica set"]),
        (alone, "?replicaSet=rs", &["must be a replica set"]),
        (alone, "?directConnection=true", &["must be a replica set"]),
        (mongos, "", &["mongos", "address of one replica set"]),
        (mongos, "?replicaSet=rs", &["mongos"]),
        (seven, "?replicaSet=rs", &["must be version 8.0 or later", "wire version 21"]),
        (primary, "?replicaSet=other", &["belongs to the replica set `rs`", "the URL says replicaSet=other"]),
        (
            secondary,
            "?directConnection=true",
            &["read-only secondary", "127.0.0.1:1 is the primary", "replicaSet=rs"],
        ),
        (seven, "?replicaSet=other", &["must be version 8.0 or later"]),
    ];
    for (greeting, options, expected) in cases {
        let server = Scripted::start(greeting).await;
        let text = refusal(&server.url("", options)).await;
        for part in expected {
            assert!(text.contains(part), "{options}: {text}");
        }
    }
}

/// Claim: a login that is refused ends the start at once, with what to look at; the password stays secret. It is so for
/// the service as for the commands beside it.
#[tokio::test]
async fn a_login_that_is_refused_is_told_at_once() {
    let server = Scripted::start(primary).await;
    let login = format!("ann:{PASSWORD}@");
    let text = refusal(&server.url(&login, "?replicaSet=rs")).await;
    for part in
        ["refuses the login", "Authentication failed", "`ann`", "database `shop`", "say ?authSource=admin"]
    {
        assert!(text.contains(part), "{text}");
    }
    let text = refusal(&server.url(&login, "?replicaSet=rs&authSource=people")).await;
    assert!(text.contains("database `people`, which is the URL's authSource"), "{text}");

    let begun = Instant::now();
    let config = config_for(&server.url(&login, "?replicaSet=rs"), "http://127.0.0.1:1", &[]);
    let server_config = runtime::config::ServerConfig::for_tests();
    let service = UserService::new(config, Arc::new(SystemClock), Arc::new(SystemIds)).unwrap();
    let start = move |core| service.start(core);
    let started = start_in_process(server_config, UserService::domain(), start).await;
    let text = format!("{:#}", started.err().unwrap());
    assert!(begun.elapsed() < AT_ONCE, "{:?}: {text}", begun.elapsed());
    assert!(text.contains("--mongodb-url: MongoDB cannot be used: it refuses the login"), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}

/// Claim: the same on a real server, for a password that is wrong and for a user who is looked for in the wrong place.
#[tokio::test]
async fn a_real_server_refuses_a_wrong_password_and_a_wrong_auth_source() {
    let mongo = TestMongo::create().await.unwrap();
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let user = format!("t_{}", Uuid::new_v4().simple());
    let create = doc! { "createUser": &user, "pwd": PASSWORD, "roles": ["root"] };
    admin.run("admin", create).await.unwrap();
    let place = mongo.url().split_once("://").unwrap().1;
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let place = place.split_once('?').map_or(place, |(place, _)| place);
    let text = refusal(&format!("mongodb://{user}:{PASSWORD}@{place}")).await;
    assert!(text.contains("since the URL has no other authSource") && text.contains(mongo.name()), "{text}");
    let text = refusal(&format!("mongodb://{user}:wrong@{place}?authSource=admin")).await;
    assert!(text.contains("refuses the login"), "{text}");
    let right = format!("mongodb://{user}:{PASSWORD}@{place}?authSource=admin");
    user_service::migrate(&mongo_config(&right)).await.unwrap();
    admin.run("admin", doc! { "dropUser": &user }).await.unwrap();
}

/// Claim: a database with somebody else's collections gets none of ours, unless ours are there already.
#[tokio::test]
async fn a_database_that_is_somebody_elses_is_refused_by_its_name() {
    let mongo = TestMongo::create().await.unwrap();
    let database = mongodb::Client::with_uri_str(mongo.admin_url()).await.unwrap().database(mongo.name());
    // Another tool's idea of migrations makes it no more ours.
    for name in ["invoice", "migration"] {
        database.collection::<Document>(name).insert_one(doc! { "name": "1" }).await.unwrap();
    }
    let text = refusal(mongo.migrate_url()).await;
    for part in [mongo.name(), "invoice, migration", "not user service's"] {
        assert!(text.contains(part), "{text}");
    }
    database.drop().await.unwrap();
    user_service::migrate(&mongo_config(mongo.migrate_url())).await.unwrap();
    database.collection::<Document>("invoice").insert_one(doc! { "_id": 1 }).await.unwrap();
    user_service::migrate(&mongo_config(mongo.migrate_url())).await.unwrap();
}

/// Claim: a URL that would take any replica set, or that follows no election, is warned of.
#[tokio::test]
async fn a_url_that_names_no_replica_set_is_warned_of() {
    let mongo = TestMongo::create().await.unwrap();
    let url = mongo.migrate_url();
    let place = url.split_once('?').map_or(url, |(place, _)| place);
    let log = CapturedLog::start(|format| format);
    user_service::migrate(&mongo_config(&format!("{place}?authSource=admin"))).await.unwrap();
    assert_eq!(log.lines_with("--mongodb-url names no replicaSet").len(), 1);
    let members = |host: &str| with(host, doc! { "hosts": [host, "127.0.0.1:1"] }, &[]);
    let server = Scripted::start(members).await;
    let config = mongo_config(&server.url("", "?directConnection=true"));
    Store::open(&config, Shared::default()).await.unwrap();
    assert_eq!(log.lines_with("--mongodb-url has directConnection=true").len(), 1);
}

/// Claim: a server that keeps the locks of a forgotten transaction for long, or does not tell for how long, is warned of with
/// what to type; one that is set as it should be is not.
#[tokio::test]
async fn the_life_of_a_transaction_that_is_too_long_or_not_told_is_warned_of() {
    let mongo = TestMongo::create().await.unwrap();
    let (edge, url) = through_a_proxy(&mongo).await;
    let store = Store::connect(&mongo_config(&url), Shared::default()).await.unwrap();
    let log = CapturedLog::start(|format| format);
    let warned = || log.lines_with("transactionLifetimeLimitSeconds");
    store.lifetime_check().await;
    assert!(warned().is_empty(), "{:?}", warned());
    edge.rewrite("getParameter", |answer| {
        answer.insert("transactionLifetimeLimitSeconds", 60);
    });
    store.lifetime_check().await;
    edge.heal();
    edge.rewrite("getParameter", |answer| {
        *answer = doc! { "ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "not authorized" };
    });
    store.lifetime_check().await;
    let warned = warned();
    for (line, told) in warned.iter().zip(["is too long", "cannot be read"]) {
        assert!(line.contains("WARN") && line.contains(told), "{line}");
        assert!(line.contains("--setParameter transactionLifetimeLimitSeconds=3"), "{line}");
    }
    assert_eq!(warned.len(), 2, "{warned:?}");
}

/// Claim: names that cannot be looked up now are no mistake in the URL, and are looked up again.
#[tokio::test]
async fn members_that_cannot_be_looked_up_are_no_mistake_in_the_url() {
    let url = format!("mongodb+srv://ann:{PASSWORD}@no-such-host.invalid/shop");
    let error = Store::connect(&MongoConfig::for_tests(&url), Shared::default()).await.unwrap_err();
    let text = types::chain(&error);
    assert!(matches!(error, user_service::Error::Failure(types::Failure::Unavailable { .. })), "{text}");
    assert!(text.contains("mongodb+srv://") && text.contains("looked up"), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    let log = CapturedLog::start(|format| format);
    let config = mongo_config(&url);
    let opening = Store::open(&config, Shared::default());
    let is_tried_again = wait_until(Duration::from_secs(30), "a second try", async || {
        match log.lines_with("not up yet; trying again").len() {
            0 | 1 => Err("not yet"),
            _ => Ok(()),
        }
    });
    tokio::select! {
        opened = opening => panic!("{opened:?}"),
        again = is_tried_again => again.unwrap(),
    }
}
