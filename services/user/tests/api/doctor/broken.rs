//! Each check is seen failing on a server, or a database, that is not as it must be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bson::{Document, doc};
use futures_util::{StreamExt as _, stream};
use runtime::doctor::{Line, Verdict};
use testkit::proxy::{Protocol, Proxy};
use testkit::{Lifetime, Mongo, MongoAdmin, MongoUrls, Port, State, TestMongo};
use user_service::doctor::{CHECKS, Place};

use super::{config, config_of, examined, migrated};
use crate::faults::proxy_to;
use crate::harness::mongo_config;

const USER: &str = "doctors_user";
/// Checks that are seen failing beside each other.
const AT_ONCE: usize = 4;

/// How an answer is another.
type Change = fn(&mut Document);

/// What is wrong.
enum Fault {
    /// The server answers otherwise, to this, in this way.
    Answers(&'static [(&'static str, Change)]),
    /// The same, but the first answer is as it is.
    AnswersAfterFirst(&'static str, Change),
    /// Each message takes longer, once the scratch database is there.
    Delay(Duration),
    /// No migration is applied.
    Unmigrated,
    /// A command was run on the database.
    Command(fn() -> Document),
    /// The URL has a login and does not say where it is.
    LoginWithoutSource,
    /// Nobody listens.
    Closed,
    /// A setting of the server is another, or it is asked for what others would notice: so it is one of the test's own.
    OwnServer(fn() -> Document, &'static [(&'static str, Change)]),
}

fn refuse(answer: &mut Document) {
    *answer = doc! { "ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "not authorized" };
}

fn conflict(answer: &mut Document) {
    let labels = ["TransientTransactionError"];
    *answer =
        doc! { "ok": 0.0, "code": 112, "codeName": "WriteConflict", "errmsg": "", "errorLabels": labels };
}

fn done(answer: &mut Document) {
    *answer = doc! { "ok": 1.0, "n": 1, "nModified": 1 };
}

fn set<V: Into<bson::Bson>>(answer: &mut Document, field: &str, value: V) {
    answer.insert(field, value);
}

fn parameter<V: Into<bson::Bson>>(answer: &mut Document, name: &str, value: V) {
    *answer = doc! { "ok": 1.0 };
    answer.insert(name, value);
}

fn plan(answer: &mut Document, stage: &str) {
    *answer = doc! { "ok": 1.0, "queryPlanner": { "winningPlan": { "stage": "FETCH", "inputStage": { "stage": stage } } } };
}

/// What each check is to find.
#[rustfmt::skip]
fn fault(check: &str) -> Fault {
    use Fault::*;
    match check {
        "server.reached" => Closed,
        "server.version" => Answers(&[("hello", |hello| set(hello, "maxWireVersion", 21))]),
        "server.replica_set" => Answers(&[("hello", |hello| drop(hello.remove("setName")))]),
        "server.primary" => Answers(&[("hello", |hello| { set(hello, "isWritablePrimary", false); set(hello, "secondary", true) })]),
        "server.clock" => Answers(&[("hello", |hello| set(hello, "localTime", bson::DateTime::from_millis(0)))]),
        "server.arbiters" => Answers(&[("hello", |hello| set(hello, "arbiters", vec!["arbiter:27017"]))]),
        "server.connections" => Answers(&[("serverStatus", |status| set(status, "connections", doc! { "current": 9, "available": 9 }))]),
        "login.hosts" => Answers(&[("hello", |hello| set(hello, "hosts", vec!["nowhere.invalid:27017"]))]),
        "login.tls" => Answers(&[("hello", |hello| set(hello, "hosts", vec!["10.1.2.3:27017"]))]),
        "login.mechanism" => Answers(&[("hello", |hello| set(hello, "saslSupportedMechs", vec!["SCRAM-SHA-1"]))]),
        "login.source" => LoginWithoutSource,
        "settings.feature_version" => Answers(&[("getParameter", |answer| parameter(answer, "featureCompatibilityVersion", doc! { "version": "7.0" }))]),
        "settings.transaction_lifetime" => Answers(&[("getParameter", |answer| parameter(answer, "transactionLifetimeLimitSeconds", 60))]),
        "settings.lock_timeout" => Answers(&[("getParameter", |answer| parameter(answer, "maxTransactionLockRequestTimeoutMillis", 5_000))]),
        "settings.history_window" => Answers(&[("getParameter", |answer| parameter(answer, "minSnapshotHistoryWindowInSeconds", 300))]),
        "settings.default_concerns" => Answers(&[("getDefaultRWConcern", |answer| set(answer, "defaultWriteConcern", doc! { "w": 1 }))]),
        "schema.applied" => Unmigrated,
        "schema.indexes" => Command(|| doc! { "dropIndexes": "user", "index": "email_key" }),
        "schema.validators" => Command(|| doc! { "collMod": "wallet", "validator": {} }),
        "schema.foreign" => Command(|| doc! { "create": "invoices" }),
        "privileges.find" => Answers(&[("find(hold)", refuse)]),
        "privileges.insert" => Answers(&[("insert(entry)", refuse)]),
        "privileges.update" => Answers(&[("update(post)", refuse)]),
        "privileges.remove" => Answers(&[("delete(request)", refuse)]),
        "privileges.identity" => Answers(&[("replSetGetConfig", refuse)]),
        "privileges.parameters" => Answers(&[("getParameter", refuse)]),
        "privileges.scratch" => Answers(&[("create(doctor_plain)", refuse)]),
        "scratch.migrations" => Answers(&[("collMod", refuse)]),
        "scratch.validators" => Answers(&[("update(user)", done)]),
        "plans.scans" => Command(|| doc! { "dropIndexes": "user", "index": "email_key" }),
        "plans.sorts" => Answers(&[("explain", |answer| plan(answer, "SORT"))]),
        "plans.indexes" => Answers(&[("explain", |answer| plan(answer, "IXSCAN"))]),
        "transactions.bulk_write" => Answers(&[("buildInfo", |build| drop(build.remove("secantusVersion")))]),
        "transactions.duplicate" => Answers(&[("bulkWrite(doctor_plain", conflict)]),
        "transactions.conflict" => AnswersAfterFirst("update(doctor_plain)", |answer| drop(answer.remove("errorLabels"))),
        "transactions.outside" => AnswersAfterFirst("update(doctor_plain)", conflict),
        "transactions.index" => Answers(&[("createIndexes(doctor_plain)", refuse)]),
        "transactions.abandoned" => OwnServer(|| doc! { "setParameter": 1, "transactionLifetimeLimitSeconds": 60 }, &[]),
        "transactions.commit_twice" => AnswersAfterFirst("commitTransaction", conflict),
        "transactions.commit_after_abort" => Answers(&[("commitTransaction", done)]),
        "transactions.lease" => Answers(&[("findAndModify(outbox_lease)", |answer| set(answer, "value", bson::Bson::Null))]),
        "pace.commits" => Delay(Duration::from_millis(15)),
        "pace.stamp" => Delay(Duration::from_millis(150)),
        "pace.tombstones" => Answers(&[("insert(outbox)", refuse)]),
        "pace.hot_wallet" => Answers(&[("bulkWrite(wallet", conflict)]),
        "failover.step_down" => OwnServer(|| doc! { "ping": 1 }, &[("buildInfo", |build| drop(build.remove("secantusVersion"))), ("replSetStepDown", refuse)]),
        other => panic!("nobody has seen {other} failing"),
    }
}

/// Whose server it is.
enum Server {
    OfAll(TestMongo),
    Own(Box<Mongo>, State, MongoUrls),
}

impl Server {
    async fn start(is_own: bool) -> Self {
        if !is_own {
            return Self::OfAll(TestMongo::create().await.unwrap());
        }
        let state = State::for_run(&testkit::state::base()).await.unwrap();
        let mongo = Mongo::start(&state, Port::Free, Lifetime::WithParent, false).await.unwrap();
        let urls = mongo.urls(&state, "doctors_own").await.unwrap();
        Self::Own(Box::new(mongo), state, urls)
    }

    fn urls(&self) -> &MongoUrls {
        match self {
            Self::OfAll(mongo) => mongo.urls(),
            Self::Own(_, _, urls) => urls,
        }
    }

    fn database(&self) -> &str {
        &self.urls().database
    }

    async fn run(&self, database: &str, command: Document) {
        MongoAdmin::new(&self.urls().admin).unwrap().run(database, command).await.unwrap();
    }

    async fn end(self) {
        if let Self::Own(mongo, state, _) = self {
            mongo.stop().await.unwrap();
            drop(mongo);
            state.remove().unwrap();
        }
    }
}

/// The logins of a server, along a proxy.
async fn proxied(urls: &MongoUrls) -> (Proxy, MongoUrls) {
    let (edge, runtime) = proxy_to(&urls.runtime).await;
    let (_, along) = runtime.rsplit_once('@').unwrap();
    let through = |url: &str| format!("{}@{along}", url.rsplit_once('@').unwrap().0);
    let (migrate, reader, admin) = (through(&urls.migrate), through(&urls.reader), through(&urls.admin));
    (edge, MongoUrls { database: urls.database.clone(), migrate, runtime, reader, admin })
}

/// A database with what is wrong, and a proxy before it.
struct Broken {
    edge: Proxy,
    server: Server,
    /// Those that lead along the proxy.
    urls: MongoUrls,
    delay: Option<Duration>,
}

impl Broken {
    async fn start(fault: &Fault) -> Self {
        let server = Server::start(matches!(fault, Fault::OwnServer(..))).await;
        if !matches!(fault, Fault::Unmigrated) {
            user_service::migrate(&mongo_config(&server.urls().migrate)).await.unwrap();
        }
        let (edge, urls) = proxied(server.urls()).await;
        let mut broken = Self { edge, server, urls, delay: None };
        match fault {
            Fault::Answers(all) => broken.answer(all),
            Fault::AnswersAfterFirst(of, change) => {
                let (seen, change) = (AtomicUsize::new(0), *change);
                broken.edge.rewrite(of, move |answer| {
                    if seen.fetch_add(1, Ordering::SeqCst) > 0 {
                        change(answer);
                    }
                });
            }
            Fault::Delay(by) => broken.delay = Some(*by),
            Fault::Command(command) => broken.server.run(broken.server.database(), command()).await,
            Fault::LoginWithoutSource => broken.log_in().await,
            Fault::Closed => drop(broken.edge.refuse()),
            Fault::OwnServer(command, all) => {
                broken.server.run("admin", command()).await;
                broken.answer(all);
            }
            Fault::Unmigrated => {}
        }
        broken
    }

    fn answer(&self, all: &[(&str, Change)]) {
        all.iter().for_each(|(of, change)| drop(self.edge.rewrite(of, *change)));
    }

    /// With a user of the database.
    async fn log_in(&mut self) {
        let database = self.server.database();
        let roles = [doc! { "role": "readWrite", "db": database }];
        let user = doc! { "createUser": USER, "pwd": "a-word-to-pass", "roles": roles };
        self.server.run(database, user).await;
        let (_, place) = self.urls.runtime.rsplit_once('@').unwrap();
        let place = place.replace("&authSource=admin", "").replace("authSource=admin", "");
        self.urls.runtime = format!("mongodb://{USER}:a-word-to-pass@{place}");
    }

    /// The line of a check.
    async fn line(self, check: &str) -> Line {
        let mut lines = Vec::new();
        match Place::open(&config(&self.urls, &["--failover"])).await {
            Err(seen) => {
                CHECKS.examine(Err(seen), &[check.to_owned()], |line| lines.push(line)).await.unwrap();
            }
            Ok(place) => {
                if let Some(delay) = self.delay {
                    examined(&place, &["scratch.migrations"]).await;
                    self.edge.delay(delay);
                }
                lines = examined(&place, &[check]).await;
                self.edge.heal();
                place.close().await.unwrap();
            }
        }
        if self.urls.runtime.contains(USER) {
            self.server.run(self.server.database(), doc! { "dropUser": USER }).await;
        }
        self.server.end().await;
        lines.into_iter().find(|line| line.check == check).unwrap()
    }
}

/// Claim: no check is one that always passes.
#[tokio::test]
async fn each_check_is_seen_failing() {
    let lines = stream::iter(CHECKS.names()).map(async |check| {
        let fault = fault(check);
        let line = Broken::start(&fault).await.line(check).await;
        if matches!(fault, Fault::LoginWithoutSource) {
            assert!(line.mend.as_deref().is_some_and(|mend| mend.contains("authSource=")), "{line}");
        }
        line
    });
    let lines: Vec<Line> = lines.buffer_unordered(AT_ONCE).collect().await;
    // One that could not look at all has nothing to mend. The judgement of the tombstones is that of `pace.stamp`, and it
    // would take long to be slow enough.
    let has_looked = |line: &Line| line.mend.is_some() || line.check == "pace.tombstones";
    let has_failed =
        |line: &&Line| [Verdict::Failed, Verdict::Advice].contains(&line.verdict) && has_looked(line);
    let passed: Vec<String> = lines.iter().filter(|line| !has_failed(line)).map(Line::to_string).collect();
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

/// Claim: without a login for it no check of the scratch database is tried, and the line to type is there.
#[tokio::test]
async fn a_login_that_may_not_make_a_database_is_told_what_to_do() {
    let mongo = migrated().await;
    let place = Place::open(&config_of(mongo.url(), &[])).await.unwrap();
    let lines = examined(&place, &[]).await;
    let of = |check: &str| lines.iter().find(|line| line.check == check).unwrap();
    let mend = of("privileges.scratch").mend.clone().unwrap();
    assert!(mend.contains("--admin-url") && mend.contains("createUser"), "{mend}");
    let scratch = ["scratch.", "plans.", "transactions.", "pace."];
    for line in lines.iter().filter(|line| scratch.iter().any(|subject| line.check.starts_with(subject))) {
        assert_eq!((line.verdict, line.found.as_str()), (Verdict::NotTried, "privileges.scratch has failed"));
    }
    place.close().await.unwrap();

    // With a login that may, the same service is looked at.
    let place = Place::open(&config(mongo.urls(), &[])).await.unwrap();
    let lines = examined(&place, &["privileges.scratch", "transactions.commit_twice"]).await;
    assert!(lines.iter().all(|line| line.verdict == Verdict::Ok), "{lines:#?}");
    place.close().await.unwrap();
}

/// Claim: a server that cannot be used is told within five seconds, with the setting's name.
#[tokio::test]
async fn a_server_that_is_not_reached_is_told_at_once() {
    let began = std::time::Instant::now();
    let nowhere = Proxy::start("127.0.0.1:1".parse().unwrap(), Protocol::Mongo).await.unwrap();
    let url = format!("mongodb://127.0.0.1:{}/user_service", nowhere.port());
    let seen = Place::open(&config_of(&url, &[])).await.unwrap_err();
    let mut lines = Vec::new();
    CHECKS.examine(Err(seen), &[], |line| lines.push(line)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(lines[0].mend.as_deref().unwrap().contains("MONGODB_URL"), "{:?}", lines[0]);
    assert!(lines[1..].iter().all(|line| line.verdict == Verdict::NotTried));
}

/// Claim: an administrator's URL of another server is refused before anything is done there.
#[tokio::test]
async fn two_urls_of_different_servers_are_refused() {
    let mongo = TestMongo::create().await.unwrap();
    let state = State::for_run(&testkit::state::base()).await.unwrap();
    let other = Mongo::start(&state, Port::Free, Lifetime::WithParent, false).await.unwrap();
    let urls = other.urls(&state, "doctors_other").await.unwrap();
    let seen = Place::open(&config_of(mongo.url(), &["--admin-url", &urls.admin])).await.unwrap_err();
    let mut lines = Vec::new();
    CHECKS.examine(Err(seen), &[], |line| lines.push(line)).await.unwrap();
    assert!(lines[0].found.contains("--admin-url leads to 127.0.0.1:"), "{}", lines[0]);
    let wrong = urls.admin.replacen("://", "://nobody", 1);
    let seen = Place::open(&config_of(&urls.runtime, &["--admin-url", &wrong])).await.unwrap_err();
    CHECKS.examine(Err(seen), &[], |line| lines.push(line)).await.unwrap();
    assert!(
        lines.iter().any(|line| line.mend.as_deref().is_some_and(|mend| mend.contains("MONGODB_ADMIN_URL")))
    );
    other.stop().await.unwrap();
    drop(other);
    state.remove().unwrap();
}

/// Claim: an index that is there in another form is seen, and the lines to type put the right one in its place.
#[tokio::test]
async fn an_index_that_deletes_nothing_is_told_with_what_to_type() {
    let mongo = migrated().await;
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let run = async |command| admin.run(mongo.name(), command).await.unwrap();
    run(doc! { "dropIndexes": "request", "index": "expire_time" }).await;
    let without = doc! { "name": "expire_time", "key": { "expire_time": 1 } };
    run(doc! { "createIndexes": "request", "indexes": [without] }).await;
    let place = Place::open(&config(mongo.urls(), &[])).await.unwrap();
    let lines = examined(&place, &["schema.indexes"]).await;
    let line = lines.iter().find(|line| line.check == "schema.indexes").unwrap();
    assert_eq!(line.verdict, Verdict::Failed, "{line}");
    let of = format!(r#"db.getSiblingDB("{}").request"#, mongo.name());
    let mend: Vec<&str> = line.mend.as_deref().unwrap().lines().collect();
    assert_eq!(mend[0], format!(r#"{of}.dropIndex("expire_time")"#));
    assert!(mend[1].starts_with(&format!("{of}.createIndex(EJSON.parse('")), "{}", mend[1]);
    assert!(mend[1].contains(r#""expireAfterSeconds":{"$numberLong":"0"}"#), "{}", mend[1]);
    place.close().await.unwrap();
}
