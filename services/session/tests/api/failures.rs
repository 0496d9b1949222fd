//! What Redis refuses or fails at: callers hear what it is, nobody hears of a defect or that a good token is bad, and it is
//! over by itself.

use std::collections::BTreeSet;

use api::refusal::{EFFECT, Refusal};
use runtime::telemetry::Repeats;
use session_service::FAILURES;
use testkit::proxy::{Protocol, Proxy};
use testkit::{CapturedLog, Lifetime, Port, Redis, RedisAdmin, RedisUse, RenewedFile, State, TestRedis};
use testkit::{not_serving, serving, state, under_load, wait_until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use types::{Connection, Effect, FailureKind, Verdict};
use uuid::Uuid;

use crate::harness::{Harness, LoggedIn, SOON, refusal, refused};

fn effect(status: &Status) -> Option<String> {
    status.get_details_error_info()?.metadata.remove(EFFECT)
}

/// The service's connections to its Redis. Unlike ours they speak RESP3.
async fn connections(harness: &Harness) -> BTreeSet<String> {
    let ours = format!(" db={} ", harness.database);
    let list = harness.redis(&["CLIENT", "LIST"]).await;
    let lines = list.lines().filter(|line| line.contains(&ours) && line.contains(" resp=3"));
    lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Claim: whatever word Redis says, a caller hears what the table has for it, and the connection is kept or replaced as it
/// says. A word that it does not have is no defect of ours, and leaves in doubt what came of the call.
#[tokio::test]
async fn each_error_word_is_what_the_table_says() {
    let redis = TestRedis::sessions().await.unwrap();
    let (login, place) = redis.url().rsplit_once('@').unwrap();
    let (server, number) = place.split_once('/').unwrap();
    let edge = Proxy::start(server.parse().unwrap(), Protocol::Redis).await.unwrap();
    let harness = Harness::start_on(&format!("{login}@127.0.0.1:{}/{number}", edge.port()), &[]).await;
    let (_, login) = harness.somebody().await;
    let words = FAILURES.rows.iter().filter(|row| !row.said.starts_with("driver"));
    let rows = words.map(|row| (row.said, row.verdict)).chain([("NEWWORD", Verdict::UNAVAILABLE)]);
    for (word, verdict) in rows {
        let before = connections(&harness).await;
        assert!(!before.is_empty());
        let bites = edge.answer_instead("access:", &format!("-{word} for a test\r\n"));
        let status = harness.validate(&login.access_token).await.unwrap_err();
        assert_eq!(bites.count(), 1, "{word}");
        let (code, reason) = Refusal::from(&verdict.failure("")).outcome();
        assert_eq!(refusal(&status), refused(code, reason), "{word}");
        let is_told = [FailureKind::Unavailable, FailureKind::StorageUnavailable].contains(&verdict.kind);
        let told = is_told.then(|| verdict.effect.as_str());
        assert_eq!(effect(&status).as_deref(), told, "{word}: {status:?}");
        assert!(!status.message().contains("for a test"), "{word}: {status:?}");
        edge.heal();
        harness.validate(&login.access_token).await.unwrap();
        if verdict.connection == Connection::GoesOn {
            assert!(connections(&harness).await.is_superset(&before), "{word}: the connection goes on");
        } else {
            wait_until(SOON, "another connection", async || {
                if connections(&harness).await.is_superset(&before) {
                    Err(format!("{word}: the connection is the same"))
                } else {
                    Ok(())
                }
            })
            .await
            .unwrap();
        }
    }
    edge.understood().unwrap();
}

/// A service that logs in as a user of its own.
struct WithUser {
    harness: Harness,
    admin: RedisAdmin,
    user: String,
    login: LoggedIn,
    /// Where the service reads the URL.
    file: RenewedFile,
    url: String,
    _redis: [TestRedis; 2],
}

impl WithUser {
    const PASSWORD: &str = "the-first-password";

    async fn start() -> Self {
        let redis = TestRedis::sessions().await.unwrap();
        let admin = RedisAdmin::new(redis.url()).unwrap();
        let user = format!("t_{}", Uuid::new_v4().simple());
        let of_user = format!(">{}", Self::PASSWORD);
        admin.run(0, &["ACL", "SETUSER", &user, "on", &of_user, "~*", "&*", "+@all"]).await.unwrap();
        let place = redis.url().rsplit_once('@').unwrap().1;
        let url = format!("redis://{user}:{}@{place}", Self::PASSWORD);
        let (file, events) = (RenewedFile::new(&user, &url).unwrap(), TestRedis::events().await.unwrap());
        let harness = Harness::start_by_setting(&file.setting(), &url, events.url(), &[]).await;
        let (_, login) = harness.somebody().await;
        Self { harness, admin, user, login, file, url, _redis: [redis, events] }
    }

    /// Changes the user, and ends its connections if that is wanted.
    async fn set(&self, rules: &[&str], kill: bool) {
        let command = [&["ACL", "SETUSER", &self.user], rules].concat();
        self.admin.run(0, &command).await.unwrap();
        if kill {
            self.admin.run(0, &["CLIENT", "KILL", "USER", &self.user]).await.unwrap();
        }
    }

    /// Calls until health says that it does not serve; each hears UNAVAILABLE, and in the end that nothing was done.
    async fn is_away(&self) {
        let url = self.harness.session.url();
        let mut last = None;
        wait_until(SOON, "health to say that it does not serve", async || {
            if let Err(status) = self.harness.validate(&self.login.access_token).await {
                assert_eq!(refusal(&status), refused(Code::Unavailable, "DEPENDENCY_UNAVAILABLE"));
                last = Some(status);
            }
            if let Err(status) = self.harness.list(&self.login, Default::default()).await {
                assert_eq!(refusal(&status), refused(Code::Unavailable, "SESSION_STORE_UNAVAILABLE"));
            }
            not_serving(&url).await
        })
        .await
        .unwrap();
        assert_eq!(effect(&last.unwrap()).as_deref(), Some("none"));
    }

    async fn is_back(&self) {
        let valid = async || self.harness.validate(&self.login.access_token).await;
        wait_until(SOON, "the session to be there", valid).await.unwrap();
        wait_until(SOON, "health", async || serving(&self.harness.session.url()).await).await.unwrap();
    }
}

/// Claim: with a wrong password, without a privilege, and as long as the set-up of a connection is refused for any other
/// reason, nobody hears of a defect; health says so; the log has a line for each cause; and all is well again when the
/// cause is over.
#[tokio::test]
async fn a_login_that_is_refused_for_a_while_is_over_by_itself() {
    let log = CapturedLog::start(|format| Repeats::default().format(format));
    let of = WithUser::start().await;
    let password = format!(">{}", WithUser::PASSWORD);
    for (refused, allowed, kills) in [
        (&["resetpass", ">another"][..], &["resetpass", &*password][..], true),
        (&["off"], &["on"], true),
        // The set-up of a connection selects the database.
        (&["-select"], &["+@all"], true),
        // Connections are kept, and so are their rights looked at with each command.
        (&["-get"], &["+@all"], false),
    ] {
        of.set(refused, kills).await;
        of.is_away().await;
        of.set(allowed, false).await;
        of.is_back().await;
    }
    let told = log.lines_with("WRONGPASS");
    let calls = told.iter().filter(|line| line.contains("the call failed")).count();
    assert_eq!(calls, 1, "{told:#?}");
    assert!(log.lines_with(WithUser::PASSWORD).is_empty());
    of.harness.refresh(&of.login.refresh_token).await.unwrap();
    of.admin.run(0, &["ACL", "DELUSER", &of.user]).await.unwrap();
}

/// Claim: a password that is renewed in its file is that of each new connection. What the file may not say is told of, and
/// the one before it is used.
#[tokio::test]
async fn a_password_that_is_renewed_in_its_file_is_used_without_a_restart() {
    let log = CapturedLog::start(|format| format);
    let of = WithUser::start().await;
    let renewed = of.url.replace(WithUser::PASSWORD, "the-second-password");
    of.file.renew(&renewed).unwrap();
    of.set(&["resetpass", ">the-second-password"], true).await;
    of.is_back().await;
    for (written, reason) in [
        (format!("{renewed}1"), "takes a restart"),
        (renewed.replacen("redis", "rediss", 1), "takes a restart"),
        (renewed.replace("redis", "http"), "the scheme of something else"),
        (String::new(), "is empty"),
    ] {
        let before = log.lines_with(reason).len();
        of.file.renew(&written).unwrap();
        of.set(&[], true).await;
        of.is_back().await;
        assert!(log.lines_with(reason).len() > before, "{written}");
    }
    assert!(log.lines_with("the-second-password").is_empty());
    of.harness.refresh(&of.login.refresh_token).await.unwrap();
    of.admin.run(0, &["ACL", "DELUSER", &of.user]).await.unwrap();
}

/// A Redis of the test's own.
async fn own() -> (State, Redis) {
    let state = State::for_run(&state::base()).await.unwrap();
    let redis = Redis::start(&state, RedisUse::Sessions, Port::Free, Lifetime::WithParent).await.unwrap();
    (state, redis)
}

/// Claim: a Redis that takes no more clients, or only reads, for a while serves again by itself.
#[tokio::test]
async fn a_redis_without_room_or_without_writes_for_a_while_is_itself_again() {
    let (state, redis) = own().await;
    let harness = Harness::start_on(&redis.url(0), &["--redis-command-timeout", "500ms"]).await;
    let (user, login) = harness.somebody().await;
    // Our own connection takes the only place.
    let client = redis::Client::open(redis.url(0)).unwrap();
    let mut place = client.get_multiplexed_async_connection().await.unwrap();
    let room = |count: &str| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxclients").arg(count);
        command
    };
    room("1").exec_async(&mut place).await.unwrap();
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec_async(&mut place).await.unwrap();
    let url = harness.session.url();
    wait_until(SOON, "health to say that it does not serve", async || {
        if let Err(status) = harness.validate(&login.access_token).await {
            assert_eq!(refusal(&status), refused(Code::Unavailable, "DEPENDENCY_UNAVAILABLE"));
        }
        not_serving(&url).await
    })
    .await
    .unwrap();
    room("1000").exec_async(&mut place).await.unwrap();
    let valid = async || harness.validate(&login.access_token).await;
    wait_until(SOON, "the session to be there", valid).await.unwrap();
    wait_until(SOON, "health", async || serving(&url).await).await.unwrap();

    harness.redis(&["REPLICAOF", "127.0.0.1", "1"]).await;
    wait_until(SOON, "a refused login", async || match harness.log_in(&user).await {
        Err(status) if refusal(&status) == refused(Code::Unavailable, "STORAGE_UNAVAILABLE") => {
            assert_eq!(effect(&status).as_deref(), Some(Effect::None.as_str()));
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    wait_until(SOON, "the session to be there", valid).await.unwrap();
    harness.redis(&["REPLICAOF", "NO", "ONE"]).await;
    wait_until(SOON, "a login", async || harness.log_in(&user).await).await.unwrap();
    drop((harness, redis));
    state.remove().unwrap();
}

/// Claim: a Redis that is killed and started again under load costs the calls of that moment, all of which hear
/// UNAVAILABLE, and a line of the log for each cause.
#[tokio::test]
async fn a_redis_that_is_started_again_under_load_costs_the_calls_of_that_moment() {
    let log = CapturedLog::start(|format| Repeats::default().format(format));
    let (state, redis) = own().await;
    let harness = Harness::start_on(&redis.url(0), &[]).await;
    let (_, login) = harness.somebody().await;
    let restart = async {
        let url = harness.session.url();
        redis.process().kill().await.unwrap();
        wait_until(SOON, "health to say that it does not serve", async || not_serving(&url).await)
            .await
            .unwrap();
        redis.restart().await.unwrap();
        wait_until(SOON, "health", async || serving(&url).await).await.unwrap();
    };
    let failures = under_load(async || harness.validate(&login.access_token).await, restart).await;
    for status in &failures {
        assert_eq!(refusal(status), refused(Code::Unavailable, "DEPENDENCY_UNAVAILABLE"));
    }
    let (failed, lines) = (failures.len(), log.lines_with("the call failed").len());
    assert!(failed > 50 && lines < 12, "{failed} calls failed, and {lines} lines tell of it");
    harness.validate(&login.access_token).await.unwrap();
    drop((harness, redis));
    state.remove().unwrap();
}
