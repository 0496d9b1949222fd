//! Claim: `tristore doctor` passes on a system where all is well, and names what is wrong where it is not: a peer that is
//! away, a token that the others do not know, a consumer that is halted.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::doctor::v1::GetIdentityRequest;
use serde_json::Value;
use testkit::{DatabaseOptions, RedisAdmin, ServiceName, wait_until};
use tests::System;
use tests::people::{Market, PRICE};
use tests::streams::caught_up;

const CONSUMERS: [&str; 6] = [
    "user.transfers",
    "user.statistics",
    "user.counters",
    "order.customers",
    "order.transfers",
    "session.revocations",
];

/// The lines of `tristore doctor`.
struct Told {
    code: i32,
    lines: Vec<Value>,
}

impl Told {
    async fn by(system: &System, token: &str) -> Result<Self> {
        let (code, printed) = system.tristore(token, &["doctor", "--output", "json"]).await?;
        let objects = printed.lines().filter(|line| line.starts_with('{'));
        let lines = objects.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>().context(printed)?;
        Ok(Self { code, lines })
    }

    /// Service, check and what was found of each line with this verdict.
    fn with(&self, verdict: &str) -> Vec<String> {
        let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let lines = self.lines.iter().filter(|line| line["verdict"] == verdict);
        lines.map(|line| ["service", "check", "found"].map(|field| text(line, field)).join(" ")).collect()
    }

    /// What to type for the failure of a check at a service.
    fn mend(&self, service: &str, check: &str) -> String {
        let is_it = |line: &&Value| {
            line["service"] == service && line["check"] == check && line["verdict"] == "failed"
        };
        self.lines.iter().find(is_it).and_then(|line| line["mend"].as_str()).unwrap_or_default().to_owned()
    }
}

/// Starts a service again with another token than the others know.
async fn give_wrong_token(system: &System, name: ServiceName) -> Result<()> {
    let service = system.stack.services.get(name);
    service.stop().await?;
    let wrong = ("SERVICE_TOKEN".to_owned(), "a-token-that-nobody-knows-0123456789abcdef".to_owned());
    service.process().relaunch_with(|launch| launch.env.push(wrong));
    service.restart().await
}

#[tokio::test]
async fn it_passes_where_all_is_well_and_names_what_is_not() -> Result<()> {
    let system = Box::pin(System::start(DatabaseOptions::default())).await?;
    let market = Market::open(&system, PRICE, 1).await?;
    market.paid_order(1).await?;
    let admin = system.admin.access_token.clone();
    for consumer in CONSUMERS {
        caught_up(&system.admin.caller, consumer).await?;
    }

    let told = Told::by(&system, &admin).await?;
    assert_eq!(told.with("failed"), [""; 0]);
    assert_eq!((told.with("advice").len(), told.with("not_tried").len(), told.code), (0, 0, 0));
    let count = |check: &str| told.lines.iter().filter(|line| line["check"] == check).count();
    // Five services are called: by user and order service two each, by session service one.
    let counts = ["service.reached", "peer.token", "stream.head", "consumer.parked"].map(count);
    assert_eq!(counts, [3, 5, 18, CONSUMERS.len()]);
    let (code, printed) = system.tristore(&admin, &["doctor"]).await?;
    assert_eq!(code, 0, "{printed}");
    let first = printed.lines().next().unwrap_or_default();
    assert!(first.starts_with("ok            service.reached               user-service "), "{printed}");

    halted_consumer(&system, &admin).await?;
    peer_away(&system, &admin).await?;
    wrong_tokens(&system, &admin).await
}

async fn halted_consumer(system: &System, admin: &str) -> Result<()> {
    let redis = system.stack.databases.urls_for_services().await?.redis_session;
    let number = redis.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    let redis = RedisAdmin::new(&redis)?;
    let halt = async |reason: &str| {
        let mark = "{consumer:session.revocations}:mark";
        redis.run(number, &["HSET", mark, "halted", reason]).await
    };
    halt("stream_rewound").await?;
    let told = Told::by(system, admin).await?;
    assert_eq!(told.with("failed"), ["session-service consumer.running session.revocations: stream_rewound"]);
    let mend = told.mend("session-service", "consumer.running");
    assert!(mend.ends_with("tristore resync session.revocations --yes-change-state"), "{mend}");
    assert_eq!(told.code, 1);
    halt("").await?;
    assert_eq!(Told::by(system, admin).await?.code, 0);
    Ok(())
}

async fn peer_away(system: &System, admin: &str) -> Result<()> {
    let user = &system.stack.services.user;
    user.process().kill().await?;
    let told = Told::by(system, admin).await?;
    let away = |service: &str| {
        format!("{service} peer.identity {service} to user.v1.UserService at {}: nobody answers", user.url())
    };
    let failed = told.with("failed");
    let [reached, peers @ ..] = &failed[..] else { anyhow::bail!("nothing has failed") };
    assert!(reached.starts_with("user-service service.reached user-service: "), "{reached}");
    // A consumer of its stream may have failed to apply something, which is not asked for here.
    assert_eq!(peers, [away("order-service"), away("session-service")]);
    assert_eq!(told.mend("user-service", "service.reached"), "start user-service, or correct USER_URL");
    assert_eq!(told.code, 1);
    user.restart().await
}

/// Waits until these checks have failed and no others: a service that was started again is there for its peers only when
/// they have connected again.
async fn until_failed(system: &System, token: &str, expected: &[String]) -> Result<()> {
    wait_until(Duration::from_secs(20), "the peers to be there again", async || {
        let told = Told::by(system, token).await.map_err(|error| format!("{error:#}"))?;
        let failed = told.with("failed");
        if failed == expected { Ok(()) } else { Err(format!("{failed:#?}")) }
    })
    .await
}

async fn wrong_tokens(system: &System, admin: &str) -> Result<()> {
    give_wrong_token(system, ServiceName::Session).await?;
    let url = |name| system.stack.services.get(name).url();
    let refused = |service: &str, meant: &str, name| {
        format!("{service} peer.token {service} to {meant} at {}: refused", url(name))
    };
    let expected = refused("session-service", "user.v1.UserService", ServiceName::User);
    until_failed(system, admin, std::slice::from_ref(&expected)).await?;
    let mend = Told::by(system, admin).await?.mend("session-service", "peer.token");
    assert!(mend.contains("have `session-service=<SERVICE_TOKEN of session-service>`"), "{mend}");

    // Order service cannot verify anybody's session now, so that no admin is let in; a service is.
    give_wrong_token(system, ServiceName::Order).await?;
    let told = Told::by(system, admin).await?;
    let mend = told.mend("order-service", "service.reached");
    assert!(
        mend.contains("have `order-service=<SERVICE_TOKEN of order-service>`"),
        "{mend}\n{:#?}",
        told.lines
    );
    assert_eq!(told.code, 1);
    let token = system.stack.databases.state().secret("user-service.token")?;
    let expected = [
        refused("order-service", "user.v1.UserService", ServiceName::User),
        refused("order-service", "session.v1.SessionService", ServiceName::Session),
        expected,
    ];
    until_failed(system, &token, &expected).await?;
    // It is told whose token it is that it shows.
    let caller = system.api.bearer(&token)?;
    let identity =
        caller.doctor(ServiceName::Session).get_identity(GetIdentityRequest {}).await?.into_inner();
    assert_eq!((&*identity.service, &*identity.caller), ("session-service", "user-service"));
    Ok(())
}
