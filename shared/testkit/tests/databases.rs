//! Every database comes back from `kill -9` with all that it acknowledged, and nothing outlives its run.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bson::{Bson, doc};
use testkit::{
    DatabaseOptions, Databases, Launch, Lifetime, Process, Signal, State, TestMongo, TestPostgres, TestRedis,
    wait_until,
};

const SOON: Duration = Duration::from_secs(10);

async fn on_all_servers(check: impl AsyncFnOnce(&Databases) -> Result<()>) -> Result<()> {
    let state = Arc::new(State::for_run(&testkit::state::base()).await?);
    let databases = Databases::start(Arc::clone(&state), DatabaseOptions::default()).await?;
    let checked = check(&databases).await;
    let stopped = databases.stop().await;
    drop(databases);
    Arc::into_inner(state).expect("the databases let go of it").remove()?;
    checked.and(stopped)
}

/// Servers answer with whichever number type they like.
fn number(value: &Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

#[tokio::test]
async fn acknowledged_writes_are_there_after_kill_9_and_restart() {
    on_all_servers(async |databases| {
        let Databases { postgres, mongo, redis_session, .. } = databases;
        postgres.admin().create_database("shop").await?;
        postgres.admin().run("shop", "create table t as select 42 as answer".to_owned()).await?;
        mongo.admin().run("shop", doc! { "insert": "t", "documents": [{ "answer": 42 }] }).await?;
        redis_session.admin().run(3, &["SET", "answer", "42"]).await?;

        for process in [postgres.process(), mongo.process(), redis_session.process()] {
            let first = process.pid();
            process.kill().await?;
            ensure!(first.is_some() && process.pid().is_none(), "{} lives", process.name());
        }
        assert!(redis_session.admin().run(3, &["GET", "answer"]).await.is_err());
        tokio::try_join!(postgres.restart(), mongo.restart(), redis_session.restart())?;

        assert_eq!(postgres.admin().run("shop", "select answer from t".to_owned()).await?, "42\n");
        let found = mongo.admin().run("shop", doc! { "count": "t", "query": { "answer": 42 } }).await?;
        assert_eq!(found.get("n").and_then(number), Some(1), "{found}");
        assert_eq!(redis_session.admin().run(3, &["GET", "answer"]).await?, "42");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn settings_are_those_of_production_and_no_server_is_root() {
    on_all_servers(async |databases| {
        let admin = databases.postgres.admin();
        for (name, value) in [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("wal_level", "logical"),
            ("max_connections", "300"),
            ("client_connection_check_interval", "250ms"),
            ("data_checksums", "on"),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
        ] {
            assert_eq!(admin.run("postgres", format!("show {name}")).await?.trim(), value, "{name}");
        }
        let wrong = testkit::PostgresAdmin::new(&format!(
            "postgres://tristore:wrong@127.0.0.1:{}",
            databases.postgres.port()
        ));
        assert!(wrong?.run("postgres", "select 1".to_owned()).await.is_err(), "any password will do");
        let session = databases.redis_session.admin();
        assert_eq!(session.run(0, &["CONFIG", "GET", "appendfsync"]).await?, "appendfsync\nalways");
        let life = doc! { "getParameter": 1, "transactionLifetimeLimitSeconds": 1 };
        let life = databases.mongo.admin().run("admin", life).await?;
        assert_eq!(life.get("transactionLifetimeLimitSeconds").and_then(number), Some(3));

        let events = databases.redis_events.as_ref().expect("started").process();
        let Databases { postgres, mongo, redis_session, .. } = databases;
        for process in [postgres.process(), mongo.process(), redis_session.process(), events] {
            let pid = process.pid().expect("it runs");
            let status = procfs::process::Process::new(pid.cast_signed())?.status()?;
            let ids = [status.ruid, status.euid, status.suid, status.fuid];
            ensure!(!ids.contains(&0), "{} is root: {ids:?}", process.name());
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_paused_server_is_silent_until_resumed() {
    let state = State::for_run(&testkit::state::base()).await.unwrap();
    let kind = testkit::RedisUse::Sessions;
    let redis = testkit::Redis::start(&state, kind, testkit::Port::Free, Lifetime::WithParent).await.unwrap();
    redis.process().pause().unwrap();
    assert!(redis.process().is_alive());
    let answer = tokio::time::timeout(Duration::from_millis(300), redis.admin().run(0, &["PING"])).await;
    assert!(answer.is_err(), "a paused server answered {answer:?}");
    redis.process().resume().unwrap();
    assert_eq!(redis.admin().run(0, &["PING"]).await.unwrap(), "PONG");
    redis.stop().await.unwrap();
    state.remove().unwrap();
}

/// How many users and roles there are for a MongoDB database.
async fn users_and_roles(database: &str) -> Result<usize> {
    let admin = testkit::TestServers::get().mongo().await?;
    let mut found = 0;
    for (command, list) in [("usersInfo", "users"), ("rolesInfo", "roles")] {
        let answer = admin.run("admin", doc! { command: 1 }).await?;
        let names = answer.get_array(list)?.iter();
        found += names.filter(|row| row.to_string().contains(&format!("\"{database}_"))).count();
    }
    Ok(found)
}

#[tokio::test]
async fn each_test_has_databases_of_its_own_and_they_go_with_it() {
    let prepare = async |url: String| {
        let admin = testkit::PostgresAdmin::new(&url)?;
        let name = url.rsplit('/').next().expect("a name").to_owned();
        admin.run(&name, "create table migrated ()".to_owned()).await.map(drop)
    };
    let (one, two) =
        tokio::join!(TestPostgres::migrated("testkit", prepare), TestPostgres::migrated("testkit", prepare));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.name(), two.name());
    let admin = testkit::TestServers::get().postgres().await.unwrap();
    let tables = "select relname from pg_class where relname = 'migrated'";
    assert_eq!(admin.run(two.name(), tables.to_owned()).await.unwrap(), "migrated\n");
    let name = one.name().to_owned();
    drop(one);
    let gone =
        testkit::wait_until(Duration::from_secs(10), "the database to be dropped", async || {
            match admin.has_database(&name).await {
                Ok(false) => Ok(()),
                Ok(true) => Err("it is still there".to_owned()),
                Err(error) => Err(format!("{error:#}")),
            }
        });
    gone.await.unwrap();

    let (mongo, other) = (TestMongo::create().await.unwrap(), TestMongo::create().await.unwrap());
    assert!(mongo.url().contains(mongo.name()));
    assert_eq!(users_and_roles(mongo.name()).await.unwrap(), 6);
    let name = mongo.name().to_owned();
    drop(mongo);
    assert_eq!(users_and_roles(&name).await.unwrap(), 0);
    // What a killed run leaves: users without a database.
    let name = other.name().to_owned();
    std::mem::forget(other);
    testkit::TestServers::get().mongo().await.unwrap().sweep(&name).await.unwrap();
    assert_eq!(users_and_roles(&name).await.unwrap(), 0);
    let (first, second) = (TestRedis::sessions().await.unwrap(), TestRedis::sessions().await.unwrap());
    assert_ne!(first.url(), second.url());
    assert_ne!(first.prefix(), TestRedis::events().await.unwrap().prefix());
}

#[tokio::test]
async fn what_a_killed_run_left_is_ended_by_the_next() {
    let base = std::env::temp_dir().join(format!("testkit-leftover-{}", uuid::Uuid::new_v4()));
    let (state, ended) = State::open(&base, "up").await.unwrap();
    assert!(ended.is_empty());
    let sleeper = Process::start(Launch {
        name: "sleeper".to_owned(),
        program: "/bin/sleep".into(),
        args: vec!["600".into()],
        env: Vec::new(),
        folder: base.clone(),
        account: None,
        lifetime: Lifetime::UntilStopped,
        last_signal: Signal::SIGKILL,
        log: state.log("sleeper"),
        pid_file: state.pid_file("sleeper"),
    });
    let sleeper = sleeper.unwrap();
    // A killed run stops nothing; only the system releases its lock.
    drop(state);
    let (_state, ended) = State::open(&base, "up").await.unwrap();
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(ended[0].starts_with("sleeper"));
    wait_until(SOON, "the sleeper's end", async || if sleeper.is_alive() { Err("alive") } else { Ok(()) })
        .await
        .unwrap();
    std::fs::remove_dir_all(base).unwrap();
}

/// A process that is killed when the test is over, however it ends.
struct Sleeper(Child);

impl Sleeper {
    fn start(program: &Path, folder: &Path, holds: Option<&Path>) -> Result<Self> {
        let mut command = testkit::tool(program);
        command.arg("600").current_dir(folder);
        if let Some(path) = holds {
            command.stdin(File::open(path)?);
        }
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Claim: a server whose state folder was removed is found without a pid file and ended, though the folder is reached by a
/// link, and though its program has another name by itself and was replaced meanwhile. Somebody else's program in the same
/// folder, even one that holds the lock file, and the same server in a folder with a longer name, are left alone.
#[tokio::test]
async fn a_server_whose_folder_was_removed_is_ended_and_nobody_else_is() {
    let real = std::env::temp_dir().join(format!("testkit-removed-{}", uuid::Uuid::new_v4()));
    let base = real.join("link");
    let programs = real.join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    symlink(&real, &base).unwrap();
    let (state, _) = State::open(&base, "up").await.unwrap();
    // Any program of that name: what it does is of no matter.
    let (file, server) = (programs.join("redis-check-rdb"), programs.join("redis-server"));
    std::fs::copy("/bin/sleep", &file).unwrap();
    symlink(&file, &server).unwrap();
    let (inside, beside) = (state.path("redis-session"), base.join("up-2"));
    for folder in [&inside, &beside] {
        std::fs::create_dir(folder).unwrap();
    }
    let lock = state.path("lock");
    let sleep = Path::new("/bin/sleep");
    let mut own = [
        Sleeper::start(&server, &inside, None).unwrap(),
        Sleeper::start(&server, state.root(), None).unwrap(),
    ];
    let mut others = [
        Sleeper::start(sleep, &inside, None).unwrap(),
        Sleeper::start(sleep, &inside, Some(&lock)).unwrap(),
        Sleeper::start(&server, &beside, None).unwrap(),
    ];
    std::fs::remove_dir_all(state.root()).unwrap();
    std::fs::remove_dir_all(programs).unwrap();
    drop(state);

    assert!(testkit::state::is_used(&base.join("up")));
    let (state, ended) = State::open(&base, "up").await.unwrap();
    assert_eq!(ended.len(), 2, "{ended:?}");
    for Sleeper(server) in &mut own {
        let name = format!("redis-server (process {}, which works in ", server.id());
        assert!(ended.iter().any(|ended| ended.starts_with(&name)), "{name} is not in {ended:?}");
        assert!(server.wait().unwrap().signal().is_some());
    }
    for Sleeper(other) in &mut others {
        assert_eq!(other.try_wait().unwrap(), None, "it runs");
    }
    state.remove().unwrap();
    assert!(!testkit::state::is_used(&base.join("up")), "the others are no part of it");
    std::fs::remove_dir_all(real).unwrap();
}

/// Claim: servers start in a folder whose name has to be quoted wherever it is written, and keep their data there.
#[tokio::test]
async fn servers_work_in_a_folder_whose_name_has_to_be_quoted() {
    let odd = format!("testkit José's \"\\new\" folder # {}", uuid::Uuid::new_v4());
    let base = std::env::temp_dir().join(odd);
    let state = Arc::new(State::for_run(&base).await.unwrap());
    let databases = Databases::start(Arc::clone(&state), DatabaseOptions::default()).await.unwrap();
    let session = databases.redis_session.admin();
    session.run(0, &["SET", "answer", "42"]).await.unwrap();
    let folder = session.run(0, &["CONFIG", "GET", "dir"]).await.unwrap();
    let expected = state.path("redis-session").canonicalize().unwrap();
    assert_eq!(folder, format!("dir\n{}", expected.display()));
    assert!(expected.join("appendonlydir").is_dir());
    databases.stop().await.unwrap();
    drop(databases);
    std::fs::remove_dir_all(base).unwrap();
}

/// Claim: a folder that cannot stand in the configuration of a server is refused by name.
#[tokio::test]
async fn a_state_folder_with_a_line_break_is_refused() {
    let base = std::env::temp_dir().join("testkit-line\nbreak");
    let refused = State::for_run(&base).await.unwrap_err().to_string();
    assert!(refused.contains("line\\nbreak\" cannot be a state folder"), "{refused}");
    assert!(!base.exists());
}
