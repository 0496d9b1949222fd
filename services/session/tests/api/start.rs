//! What a start and a migration refuse.

use runtime::config::{ServerConfig, parse_from};
use runtime::server::start_in_process;
use session_service::{Action, Command, DOMAIN, LISTEN, RedisConfig, SessionService, migrate};
use testkit::{RedisAdmin, TestRedis, not_serving, serving, wait_until};

use crate::harness::{Harness, SOON, configuration, service};

pub(crate) fn migration(url: &str) -> RedisConfig {
    let line = ["session-service", "migrate", "--redis-session-url", url];
    match parse_from::<Command, _>(LISTEN, line).unwrap().action {
        Action::Migrate(config) => config.redis,
        _ => unreachable!("the line says migrate"),
    }
}

#[tokio::test]
async fn a_redis_that_would_lose_sessions_is_refused_with_what_to_change() {
    let cache = TestRedis::events().await.unwrap();
    let service = service(cache.url(), cache.url(), "http://127.0.0.1:1", &[]);
    let started = start_in_process(ServerConfig::for_tests(), DOMAIN, |core| service.start(core)).await;
    let told = format!("{:#}", started.unwrap_err());
    for setting in
        ["`appendonly` is no; yes is needed", "`maxmemory-policy` is allkeys-lfu; noeviction is needed"]
    {
        assert!(told.contains(setting), "{told}");
    }
    let told = format!("{:#}", migrate(migration(cache.url())).await.unwrap_err());
    assert!(told.contains("may not keep sessions"), "{told}");
}

/// Claim: who starts with a login that Redis does not take hears what to look at, and does not wait for it.
#[tokio::test]
async fn a_refused_login_is_told_without_waiting() {
    let redis = TestRedis::sessions().await.unwrap();
    let (_, place) = redis.url().rsplit_once('@').unwrap();
    for login in ["", ":very-s3cret@", "nobody:very-s3cret@"] {
        let url = format!("redis://{login}{place}");
        let service = service(&url, &url, "http://127.0.0.1:1", &[]);
        let started = async {
            [
                start_in_process(ServerConfig::for_tests(), DOMAIN, |core| service.start(core))
                    .await
                    .unwrap_err(),
                migrate(migration(&url)).await.unwrap_err(),
            ]
        };
        for error in tokio::time::timeout(SOON, started).await.expect("nobody waits") {
            let told = format!("{error:#}");
            assert!(told.contains("the session Redis cannot be used: it refuses the login"), "{told}");
            assert!(told.contains("REDIS_SESSION_URL") && !told.contains("s3cret"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_migrated_redis_serves_and_one_of_another_layout_does_not() {
    let redis = TestRedis::sessions().await.unwrap();
    migrate(migration(redis.url())).await.unwrap();
    migrate(migration(redis.url())).await.unwrap();
    let harness = Harness::start_on(redis.url(), &[]).await;
    let url = harness.session.url();
    wait_until(SOON, "health", async || serving(&url).await).await.unwrap();

    harness.redis(&["SET", "session:schema", "2"]).await;
    wait_until(SOON, "health to say so", async || not_serving(&url).await).await.unwrap();
    let told = format!("{:#}", migrate(migration(redis.url())).await.unwrap_err());
    assert!(told.contains("the keys have layout 2; this version knows 1"), "{told}");
}

#[tokio::test]
async fn lives_that_do_not_fit_together_are_refused() {
    for (arguments, rule) in [
        (["--access-token-life", "30m"], "must not exceed the idle life"),
        (["--session-idle-life", "13h"], "must not exceed the absolute life"),
        (["--sessions-per-user-max", "0"], "must be above zero"),
        (["--login-failure-memory", "59s"], "at least as long as the longest wait"),
        (["--login-longest-wait", "999ms"], "must not be shorter than the first one"),
        (["--login-free-failures-in-all", "4"], "at least as many free failures in all"),
        (["--login-tries-at-once", "0"], "must be above zero"),
        (["--login-known-sources-max", "0"], "must be above zero"),
    ] {
        let service = service("redis://127.0.0.1:1", "redis://127.0.0.1:1", "http://127.0.0.1:1", &arguments);
        let started = start_in_process(ServerConfig::for_tests(), DOMAIN, |core| service.start(core)).await;
        let told = format!("{:#}", started.unwrap_err());
        assert!(told.contains(rule), "{told}");
    }
}

/// Claim: settings of TLS that do not fit together are refused before anybody is connected to.
#[test]
fn settings_of_tls_that_do_not_fit_together_are_refused() {
    for (user, arguments, rule) in [
        ("https://127.0.0.1:1", &[][..], "--user-url: https:// needs --tls-ca"),
        ("http://127.0.0.1:1", &["--require-tls", "true"], "--require-tls (REQUIRE_TLS): --tls-certificate"),
    ] {
        let config = configuration("redis://127.0.0.1:1", "redis://127.0.0.1:1", user, arguments);
        let told = format!("{:#}", SessionService::new(config).unwrap_err());
        assert!(told.contains(rule), "{told}");
    }
}

#[test]
fn times_of_which_zero_makes_no_sense_are_refused() {
    for flag in [
        "--redis-command-timeout",
        "--access-token-life",
        "--session-idle-life",
        "--session-life",
        "--session-touch-interval",
        "--request-life",
        "--login-source-period",
        "--login-known-source-life",
        "--login-first-wait",
        "--login-longest-wait",
        "--login-failure-memory",
        "--login-free-failure-memory",
    ] {
        let line = ["session-service", "serve", flag, "0s"];
        let told = parse_from::<Command, _>(LISTEN, line).unwrap_err().to_string();
        assert!(told.contains(flag) && told.contains("must be above zero"), "{told}");
    }
}

#[tokio::test]
async fn the_event_redis_and_user_service_may_be_away_at_the_start() {
    let redis = TestRedis::sessions().await.unwrap();
    let service = service(redis.url(), "redis://127.0.0.1:1", "http://127.0.0.1:1", &[]);
    let running =
        start_in_process(ServerConfig::for_tests(), DOMAIN, |core| service.start(core)).await.unwrap();
    let url = running.url();
    wait_until(SOON, "health", async || serving(&url).await).await.unwrap();
    running.stop().await;
    let admin = RedisAdmin::new(redis.url()).unwrap();
    let database = redis.url().rsplit('/').next().unwrap().parse().unwrap();
    // A stopped relay gives its lease back.
    assert_eq!(admin.run(database, &["EXISTS", "{relay}:lease"]).await.unwrap(), "0");
}
