//! What somebody reads who has made a mistake in a setting: the mistake, at the start.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::{Service, ServiceName, wait_until};
use tests::System;

const SOON: Duration = Duration::from_secs(20);
/// What no message may show.
const SECRET: &str = "s3cret";

/// What a service says when it is started with this setting.
async fn refusal(service: &Service, flag: &str, value: &str) -> Result<String> {
    match service.command(&["serve", flag, value], "").await {
        Ok(_) => anyhow::bail!("{} {flag} {value:?} starts", service.name()),
        // Before that stands the command, as the test has written it.
        Err(error) => Ok(format!("{error:#}").split(" failed: ").skip(1).collect()),
    }
}

/// Claim: an address that cannot be meant is refused by every service, with flag, variable and rule, and without its
/// password.
#[tokio::test]
async fn an_address_that_cannot_be_meant_is_refused_by_name() -> Result<()> {
    let system = System::shared().await?;
    let peers = [
        ("", "is empty"),
        ("localhost:50051", "has no scheme"),
        ("grpc://localhost:50051", "the scheme is not http"),
        ("http://localhost", "has no port"),
        ("http://localhost:0", "has a port that is not a number"),
        ("http://localhost:50051/users", "has a path"),
        ("http://local host:50051", "has white space"),
        ("http://app:s3cret@localhost:50051", "services show SERVICE_TOKEN or a certificate instead"),
    ];
    let databases = [
        ("", "is empty"),
        ("localhost/s3cret", "has no scheme"),
        ("http://app:s3cret@localhost/x", "has the scheme of something else"),
    ];
    let events = ("--redis-events-url", "REDIS_EVENTS_URL");
    for (name, peer_settings, database) in [
        (
            ServiceName::User,
            &[("--order-url", "ORDER_URL"), ("--session-url", "SESSION_URL")][..],
            ("--mongodb-url", "MONGODB_URL"),
        ),
        (
            ServiceName::Order,
            &[("--user-url", "USER_URL"), ("--session-url", "SESSION_URL")],
            ("--postgres-url", "POSTGRES_URL"),
        ),
        (ServiceName::Session, &[("--user-url", "USER_URL")], ("--redis-session-url", "REDIS_SESSION_URL")),
    ] {
        let service = system.stack.services.get(name);
        let peers = peer_settings.iter().flat_map(|setting| peers.map(|case| (*setting, case)));
        let databases =
            [database, events].into_iter().flat_map(|setting| databases.map(|case| (setting, case)));
        for ((flag, variable), (value, rule)) in peers.chain(databases) {
            let told = refusal(service, flag, value).await?;
            let names = format!("'{flag} <URL> ({variable})'");
            ensure!(told.contains(&names) && told.contains(rule), "{name} {flag} {value:?}: {told}");
            ensure!(!told.contains(SECRET), "{name} {flag}: {told}");
        }
    }
    Ok(())
}

/// Claim: a variable that is nearly a setting is told of once, without its value; what all services are given is not.
#[tokio::test]
async fn a_variable_that_is_nearly_a_setting_is_told_of_once() -> Result<()> {
    let system = System::shared().await?;
    for name in ServiceName::ALL {
        let service = system.stack.services.get(name);
        let known = lines_of(service, "is not known, and looks like a setting");
        ensure!(known.is_empty(), "{name} does not know what it is given: {known:?}");
        let replica = service.replica_with(|launch| {
            launch.env.push(("ORDER_ULR".to_owned(), format!("http://{SECRET}:1")));
            launch.env.push(("ORDER_SERVICE_PORT".to_owned(), "tcp://10.0.0.1:50052".to_owned()));
        })?;
        replica.serving().await?;
        let told = lines_of(&replica, "is not known, and looks like a setting");
        let is_it = |line: &String| line.contains("ORDER_ULR") && line.contains("ORDER_URL");
        ensure!(told.len() == 1 && told.iter().all(is_it), "{name}: {told:?}");
        ensure!(lines_of(&replica, SECRET).is_empty(), "{name} shows the value");
        replica.stop().await?;
    }
    // Where the setting itself is missing, the refusal says what stands in its place.
    let user = &system.stack.services.user;
    let refused = user.replica_with(|launch| {
        launch.env.retain(|(name, _)| name != "ORDER_URL");
        launch.env.push(("ORDER_ULR".to_owned(), format!("http://{SECRET}:1")));
    })?;
    let status = refused.process().ended(SOON).await?.context("it has ended")?;
    let told = refused.log().lines().join("\n");
    ensure!(status.code() == Some(2), "{status}: {told}");
    ensure!(told.contains("--order-url <URL> (ORDER_URL)"), "{told}");
    ensure!(told.contains(r#"the variable "ORDER_ULR" is not known; is ORDER_URL meant?"#), "{told}");
    ensure!(!told.contains(SECRET), "{told}");
    Ok(())
}

/// Claim: a process that finds another service at its peer's address says so, once, and does not say that it serves.
#[tokio::test]
async fn the_address_of_another_service_is_told_and_keeps_a_process_from_serving() -> Result<()> {
    let system = System::shared().await?;
    let services = &system.stack.services;
    for (name, variable, other, serves) in [
        (ServiceName::Order, "USER_URL", ServiceName::Session, "session.v1.SessionService"),
        (ServiceName::User, "SESSION_URL", ServiceName::Order, "order.v1."),
        (ServiceName::Session, "USER_URL", ServiceName::Order, "order.v1."),
    ] {
        let wrong = services.get(other).url();
        let replica =
            services.get(name).replica_with(|launch| launch.env.push((variable.to_owned(), wrong)))?;
        let reason = wait_until(SOON, "the reason", async || {
            lines_of(&replica, "not serving yet").pop().ok_or("it has not said why it does not serve")
        });
        let reason = reason.await?;
        let flag = format!("--{}", variable.to_lowercase().replace('_', "-"));
        ensure!(reason.contains(&flag) && reason.contains(serves), "{name}: {reason}");
        let told = lines_of(&replica, "a peer is not the service that is meant");
        ensure!(told.len() == 1 && told[0].contains(&flag), "{name}: {told:?}");
        ensure!(testkit::serving(&replica.url()).await.is_err(), "{name} says that it serves");
        replica.stop().await?;
    }
    Ok(())
}

fn lines_of(service: &Service, text: &str) -> Vec<String> {
    service.log().lines().into_iter().filter(|line| line.contains(text)).collect()
}
