//! `session-service doctor`: it passes where the service can work, each check fails where it cannot, and nothing is left
//! behind.

use std::time::Duration;

use runtime::config::parse_from;
use runtime::doctor::{Line, Verdict};
use session_service::{Action, CHECKS, Command, DoctorConfig, LISTEN, Place, doctor, migrate};
use testkit::proxy::{Protocol, Proxy};
use testkit::{Lifetime, Port, Redis, RedisAdmin, RedisUse, Reference, State, TestRedis, state};

use crate::start::migration;

const RIGHTS: &str = include_str!("../../../../migrations/session/users.acl");
/// The user of [`RIGHTS`], by the password that the tests give it.
const LOGIN: &str = "session-service:right";

fn config(url: &str, arguments: &[&str]) -> DoctorConfig {
    let line = [&["session-service", "doctor", "--redis-session-url", url], arguments].concat();
    match parse_from::<Command, _>(LISTEN, line).unwrap().action {
        Action::Doctor(config) => config,
        _ => unreachable!("the line says doctor"),
    }
}

async fn examined(url: &str, arguments: &[&str]) -> Vec<Line> {
    let place = Place::reach(&config(url, arguments)).await.unwrap();
    let mut lines = Vec::new();
    CHECKS.examine(place.as_ref().map_err(Clone::clone), &[], |line| lines.push(line)).await.unwrap();
    lines
}

/// What is not as it must be. How long a synced write takes is up to the machine.
fn not_ok(lines: &[Line]) -> Vec<String> {
    let not_ok = lines.iter().filter(|line| line.verdict != Verdict::Ok);
    not_ok.filter(|line| line.check != "persistence.latency").map(ToString::to_string).collect()
}

/// A Redis of the test's own, as the service wants it, with a proxy in front.
struct World {
    state: State,
    redis: Redis,
    edge: Proxy,
}

impl World {
    async fn start() -> Self {
        let state = State::for_run(&state::base()).await.unwrap();
        let redis = Redis::start(&state, RedisUse::Sessions, Port::Free, Lifetime::WithParent).await.unwrap();
        let server = format!("127.0.0.1:{}", redis.port()).parse().unwrap();
        let edge = Proxy::start(server, Protocol::Redis).await.unwrap();
        migrate(migration(&redis.url(0))).await.unwrap();
        let world = Self { state, redis, edge };
        world.let_user(&[]).await;
        world
    }

    async fn run(&self, command: &[&str]) -> String {
        self.redis.admin().run(0, command).await.unwrap()
    }

    async fn set(&self, setting: &str, value: &str) {
        self.run(&["CONFIG", "SET", setting, value]).await;
    }

    /// Gives the service's user the rights that it needs, changed by these rules.
    async fn let_user(&self, rules: &[&str]) {
        let rights = RIGHTS.split_ascii_whitespace().skip(2).filter(|right| !rules.contains(right));
        let taken = rules.iter().filter(|rule| rule.starts_with('-'));
        let rules = ["reset", "on", ">right"].into_iter().chain(rights).chain(taken.copied());
        let command: Vec<&str> = ["ACL", "SETUSER", "session-service"].into_iter().chain(rules).collect();
        self.run(&command).await;
    }

    /// The service's user at this host and port.
    fn url_at(&self, place: &str) -> String {
        format!("redis://{LOGIN}@{place}/0")
    }

    fn url(&self) -> String {
        self.url_at(&format!("127.0.0.1:{}", self.redis.port()))
    }

    /// What is found when Redis answers a question in another way.
    async fn answering(&self, question: &str, answer: &str) -> Vec<Line> {
        let bites = self.edge.answer_instead(question, answer);
        let lines = examined(&self.url_at(&format!("127.0.0.1:{}", self.edge.port())), &[]).await;
        assert!(bites.count() > 0, "{question} was not asked");
        self.edge.heal();
        lines
    }

    /// The same where Redis tells something else of itself.
    async fn telling(&self, section: &str, told: &str) -> Vec<Line> {
        self.answering(&format!("INFO {section}"), &format!("${}\r\n{told}\r\n", told.len())).await
    }

    async fn with_user(&self, rules: &[&str]) -> Vec<Line> {
        self.let_user(rules).await;
        let lines = examined(&self.url(), &[]).await;
        self.let_user(&[]).await;
        lines
    }

    async fn with_setting(&self, setting: &str, value: &str, before: &str) -> Vec<Line> {
        self.set(setting, value).await;
        let lines = examined(&self.url(), &[]).await;
        self.set(setting, before).await;
        lines
    }

    async fn with_key(&self, key: &str, value: &str) -> Vec<Line> {
        let before = self.run(&["GET", key]).await;
        self.run(&["SET", key, value]).await;
        let lines = examined(&self.url(), &[]).await;
        match before.as_str() {
            "" => self.run(&["DEL", key]).await,
            before => self.run(&["SET", key, before]).await,
        };
        lines
    }

    /// What is found where a check fails, what it says then, and a part of what it says to type.
    async fn broken(&self, check: &str) -> (Vec<Line>, Verdict, &'static str) {
        use Verdict::{Advice, Failed};
        match check {
            "server.reached" => {
                let url = format!("redis://session-service:wrong@127.0.0.1:{}", self.redis.port());
                (examined(&url, &[]).await, Failed, "correct REDIS_SESSION_URL")
            }
            "server.version" => {
                (self.telling("server", "redis_version:6.2.14").await, Failed, "Redis 7.0 or newer")
            }
            "server.mode" => {
                let told = "redis_version:7.4.0\r\nredis_mode:cluster";
                (self.telling("server", told).await, Failed, "cluster-enabled no")
            }
            "server.role" => {
                self.run(&["REPLICAOF", "127.0.0.1", "1"]).await;
                let lines = examined(&self.url(), &[]).await;
                self.run(&["REPLICAOF", "NO", "ONE"]).await;
                (lines, Failed, "REPLICAOF NO ONE")
            }
            "server.clock" => {
                let year_2001 = "*2\r\n$10\r\n1000000000\r\n$1\r\n0\r\n";
                (self.answering("TIME", year_2001).await, Failed, "chronyc tracking")
            }
            "server.apart" => {
                let events = ["--redis-events-url", &self.url()];
                (examined(&self.url(), &events).await, Advice, "REDIS_EVENTS_URL")
            }
            "connections.encrypted" => {
                // A name of this machine that does not say so.
                let url = self.url_at(&format!("127.1:{}", self.redis.port()));
                (examined(&url, &[]).await, Advice, "rediss://")
            }
            "connections.password" => {
                let password = self.run(&["CONFIG", "GET", "requirepass"]).await;
                let password = password.lines().last().unwrap().to_owned();
                self.set("requirepass", "").await;
                let open = format!("redis://127.0.0.1:{}", self.redis.port());
                let lines = examined(&open, &[]).await;
                // A password is refused where none is set.
                let admin = RedisAdmin::new(&open).unwrap();
                admin.run(0, &["CONFIG", "SET", "requirepass", &password]).await.unwrap();
                (lines, Advice, "ACL SETUSER default off")
            }
            "connections.room" => {
                (examined(&self.url(), &["--replicas", "1000"]).await, Failed, "CONFIG SET maxclients 16008")
            }
            "connections.idle" => {
                (self.with_setting("timeout", "5", "0").await, Advice, "CONFIG SET timeout 0")
            }
            "rights.commands" => {
                let lines = self.with_user(&["-zadd", "-config|get"]).await;
                (lines, Failed, "ACL SETUSER session-service +config|get +zadd")
            }
            "rights.keys" => {
                (self.with_user(&["~login:*"]).await, Failed, "ACL SETUSER session-service ~login:*")
            }
            "persistence.appendonly" => {
                (self.with_setting("appendonly", "no", "yes").await, Failed, "CONFIG SET appendonly yes")
            }
            "persistence.appendfsync" => {
                let lines = self.with_setting("appendfsync", "everysec", "always").await;
                (lines, Failed, "CONFIG SET appendfsync always")
            }
            "persistence.written" => {
                let told = "aof_last_write_status:err\r\naof_last_bgrewrite_status:ok";
                (self.telling("persistence", told).await, Failed, "BGREWRITEAOF")
            }
            "persistence.latency" => {
                let bites = self.edge.delay(Duration::from_millis(15));
                let lines = examined(&self.url_at(&format!("127.0.0.1:{}", self.edge.port())), &[]).await;
                assert!(bites.count() > 0);
                self.edge.heal();
                (lines, Advice, "put Redis nearer")
            }
            "memory.eviction" => {
                let lines = self.with_setting("maxmemory-policy", "allkeys-lru", "noeviction").await;
                (lines, Failed, "CONFIG SET maxmemory-policy noeviction")
            }
            "memory.used" => {
                (self.with_setting("maxmemory", "1", "0").await, Failed, "CONFIG SET maxmemory <bytes>")
            }
            "replicas.acknowledge" => {
                let told = "role:master\r\nconnected_slaves:1";
                (self.telling("replication", told).await, Advice, "CONFIG SET min-replicas-to-write 1")
            }
            "scripts.load" => {
                (self.with_user(&["-script|load"]).await, Failed, "ACL SETUSER session-service +script|load")
            }
            "scripts.run" => {
                (self.with_user(&["-evalsha"]).await, Failed, "ACL SETUSER session-service +evalsha")
            }
            "keys.layout" => (self.with_key("session:schema", "2").await, Failed, "another number"),
            "keys.ours" => (self.with_key("somebody", "else").await, Advice, "nobody else uses"),
            other => panic!("nobody shows how {other} fails"),
        }
    }
}

/// Claim: on a Redis as the service wants it and with the rights that it needs, everything is as it must be.
#[tokio::test]
async fn all_is_well_with_the_least_rights_and_nothing_is_left_behind() {
    let events = TestRedis::events().await.unwrap();
    let world = World::start().await;
    let before = world.run(&["KEYS", "*"]).await;
    let lines = examined(&world.url(), &["--redis-events-url", events.url()]).await;
    assert_eq!(not_ok(&lines), [""; 0]);
    assert_eq!(world.run(&["KEYS", "*"]).await, before);
    assert_eq!(before, "session:schema");
    // Before the first migration there is no layout, which is no failure; and none is made.
    world.run(&["DEL", "session:schema"]).await;
    let lines = examined(&world.url(), &["--redis-events-url", events.url()]).await;
    let [layout] = &not_ok(&lines)[..] else { panic!("{lines:#?}") };
    assert!(layout.starts_with("advice") && layout.ends_with("session-service migrate"), "{layout}");
    assert_eq!(world.run(&["DBSIZE"]).await, "0");
    world.state.remove().unwrap();
}

/// Claim: each check of the table is there for something. Where that is missing the check says so, and what to type.
#[tokio::test]
async fn each_check_fails_where_what_it_wants_is_missing() {
    let world = World::start().await;
    for check in CHECKS.names() {
        let (lines, verdict, mend) = world.broken(check).await;
        let line = lines.iter().find(|line| line.check == check).unwrap();
        let told = line.mend.clone().unwrap_or_default();
        assert!(line.verdict == verdict && told.contains(mend), "{check}: {line}");
        assert_eq!(world.run(&["KEYS", "*"]).await, "session:schema", "{check}");
        let after = examined(&world.url(), &[]).await;
        let after = after.into_iter().filter(|line| line.verdict != Verdict::NotTried).collect::<Vec<_>>();
        assert_eq!(not_ok(&after), [""; 0], "after {check}");
    }
    world.edge.understood().unwrap();
    world.state.remove().unwrap();
}

#[tokio::test]
async fn the_command_fails_when_a_check_has() {
    let cache = TestRedis::events().await.unwrap();
    let told = doctor(&config(cache.url(), &[])).await.unwrap_err().to_string();
    assert_eq!(told, format!("3 of {} checks have failed", CHECKS.names().count()));
    doctor(&config(cache.url(), &["--only", "server.version"])).await.unwrap();
}

#[test]
fn the_readme_has_the_table_of_checks() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    Reference::new(readme, "checks").check(&CHECKS.reference()).unwrap();
}
