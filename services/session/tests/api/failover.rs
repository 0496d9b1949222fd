//! Behind Sentinels the service follows the master, and loses nobody who was told to be logged in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::{Lifetime, Redis, State, WatchedRedis, serving, state, wait_until};
use tonic::Code;
use types::Role;

use crate::harness::{Harness, LoggedIn, SOON};
use crate::peer::User;

/// How many log in at the same time.
const AT_ONCE: usize = 4;
/// How many logins there are before anything happens.
const BEFORE: usize = 20;

struct Stage {
    redis: WatchedRedis,
    state: State,
    limit: [&'static str; 2],
}

impl Stage {
    async fn set() -> Self {
        let state = State::for_run(&state::base()).await.unwrap();
        let redis = WatchedRedis::start(&state, Lifetime::WithParent).await.unwrap();
        // What production has; the tests' is longer than a failover takes.
        let stage = Self { redis, state, limit: ["--redis-command-timeout", "250ms"] };
        stage.two_replicas().await;
        wait_until(SOON, "a quorum of Sentinels", async || stage.redis.quorum().await).await.unwrap();
        stage
    }

    /// Waits until the master has its two replicas, and gives its port.
    async fn two_replicas(&self) -> u16 {
        wait_until(SOON, "two replicas", async || {
            let master = self.redis.master_by(0).await?;
            let info = self.server_at(master).admin().run(0, &["INFO", "replication"]).await?;
            anyhow::ensure!(info.matches("state=online").count() == 2, "{info}");
            Ok(master)
        })
        .await
        .unwrap()
    }

    fn server_at(&self, port: u16) -> &Redis {
        self.redis.servers.iter().find(|server| server.port() == port).unwrap()
    }

    /// Until all Sentinels name another master than the one at this port.
    async fn moved_from(&self, old: u16) -> u16 {
        wait_until(SOON, "another master", async || {
            let named = [0, 1, 2].map(|sentinel| self.redis.master_by(sentinel));
            let [a, b, c] = named;
            let named = [a.await?, b.await?, c.await?];
            anyhow::ensure!(named[0] != old && named.iter().all(|it| *it == named[0]), "{named:?}");
            Ok(named[0])
        })
        .await
        .unwrap()
    }
}

/// Logs somebody in again and again until `is_over`, and gives all that was acknowledged, with the longest time without.
/// The logins of all.
#[derive(Default)]
struct Logins {
    acknowledged: AtomicUsize,
    are_over: AtomicBool,
}

async fn log_in_until_over(harness: &Harness, users: &[User], logins: &Logins) -> (Vec<LoggedIn>, Duration) {
    let (mut acknowledged, mut longest, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
    for user in users.iter().cycle() {
        if logins.are_over.load(Ordering::SeqCst) {
            break;
        }
        match harness.log_in(user).await {
            Ok(login) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                acknowledged.push(login);
                logins.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            // What is not acknowledged may have happened or not.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    (acknowledged, longest)
}

/// How many of these sessions are not there.
async fn lost(harness: &Harness, logins: &[LoggedIn]) -> usize {
    let mut lost = 0;
    for login in logins {
        match harness.validate(&login.access_token).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::Unauthenticated => lost += 1,
            Err(status) => panic!("{status:?}"),
        }
    }
    lost
}

/// Claim: the master dies while people log in, Sentinels make another server the master, and the service goes on with that
/// one by itself. Every session that was acknowledged is there. The same when that one is stopped in order, as in a roll-out.
#[tokio::test]
async fn a_master_that_dies_or_is_stopped_costs_seconds_and_no_session() {
    let stage = Stage::set().await;
    let harness = Harness::start_on(&stage.redis.url(), &stage.limit).await;
    for is_killed in [true, false] {
        let master = stage.two_replicas().await;
        let server = stage.server_at(master);
        let course = under_load(&harness, async || {
            if is_killed { server.process().kill().await } else { server.stop().await }.unwrap();
            stage.moved_from(master).await;
        });
        let (logins, longest) = course.await;
        let what = if is_killed { "killed" } else { "stopped" };
        eprintln!("master {what}: {} logins acknowledged, at most {longest:?} without one", logins.len());
        assert_eq!(lost(&harness, &logins).await, 0, "{what}");
        wait_until(SOON, "health", async || serving(&harness.session.url()).await).await.unwrap();
        server.restart().await.unwrap();
    }
    drop(harness);
    drop(stage.redis);
    stage.state.remove().unwrap();
}

/// Claim: an operator has Sentinels make another server the master while the present one runs. The service follows. Redis
/// does not hand over in this case: what the old master takes until it hears of the new one is gone, so sessions may be.
#[tokio::test]
async fn a_master_that_is_changed_while_it_runs_is_followed() {
    let stage = Stage::set().await;
    let harness = Harness::start_on(&stage.redis.url(), &stage.limit).await;
    let master = stage.two_replicas().await;
    let (logins, longest) = under_load(&harness, async || {
        stage.redis.switch().await.unwrap();
        stage.moved_from(master).await;
    })
    .await;
    let lost = lost(&harness, &logins).await;
    eprintln!("master changed: {} logins, {lost} lost, at most {longest:?} without one", logins.len());
    drop(harness);
    drop(stage.redis);
    stage.state.remove().unwrap();
}

/// What people who log in are acknowledged while something happens, and for a while after that.
async fn under_load(harness: &Harness, happens: impl AsyncFnOnce()) -> (Vec<LoggedIn>, Duration) {
    let logins = Logins::default();
    let crowds: Vec<Vec<User>> =
        (0..AT_ONCE).map(|_| (0..20).map(|_| harness.peer.sign_up(Role::Customer)).collect()).collect();
    let load =
        futures_util::future::join_all(crowds.iter().map(|users| log_in_until_over(harness, users, &logins)));
    let course = async {
        let enough = async || match logins.acknowledged.load(Ordering::SeqCst) {
            BEFORE.. => Ok(()),
            few => Err(format!("{few} so far")),
        };
        wait_until(SOON, "logins before it", enough).await.unwrap();
        happens().await;
        // Whoever logs in now does so at the new master.
        let user = harness.peer.sign_up(Role::Customer);
        wait_until(SOON, "a login after it", async || harness.log_in(&user).await).await.unwrap();
        logins.are_over.store(true, Ordering::SeqCst);
    };
    let (told, ()) = tokio::join!(load, course);
    let longest = told.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
    (told.into_iter().flat_map(|(logins, _)| logins).collect(), longest)
}

/// The teeth: with the address of the first master itself, the service never comes back.
#[tokio::test]
async fn an_address_of_one_server_does_not_follow_the_master() {
    let stage = Stage::set().await;
    let first = stage.redis.master_by(0).await.unwrap();
    let harness = Harness::start_on(&stage.server_at(first).url(0), &stage.limit).await;
    let (user, _) = harness.somebody().await;
    stage.redis.switch().await.unwrap();
    stage.moved_from(first).await;
    wait_until(SOON, "the old master to be a replica", async || {
        let role = stage.server_at(first).admin().run(0, &["ROLE"]).await?;
        anyhow::ensure!(role.starts_with("slave"), "{role}");
        Ok(())
    })
    .await
    .unwrap();
    for _ in 0..20 {
        harness.log_in(&user).await.unwrap_err();
    }
    drop(harness);
    drop(stage.redis);
    stage.state.remove().unwrap();
}
