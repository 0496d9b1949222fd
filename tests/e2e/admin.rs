//! The admin port and `health` of each service, as operators and probes use them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::admin_port::told;
use testkit::{ServiceName, wait_until};
use tests::System;

const SOON: Duration = Duration::from_secs(20);
/// Nobody listens there.
const NOWHERE: [(&str, &str); 3] = [
    ("MONGODB_URL", "mongodb://127.0.0.1:1/user_service?directConnection=true"),
    ("POSTGRES_URL", "postgres://order:word@127.0.0.1:1/order_service"),
    ("REDIS_SESSION_URL", "redis://127.0.0.1:1/0"),
];

/// Claim: a service that serves says so on its admin port, and its own command `health` finds it.
#[tokio::test]
async fn each_service_tells_that_it_is_alive_and_serves() -> Result<()> {
    let system = System::shared().await?;
    for name in ServiceName::ALL {
        let service = system.stack.services.get(name);
        for path in ["/livez", "/readyz"] {
            let told = told(&service.admin_address(), path).await.with_context(|| name.to_string())?;
            ensure!(told.starts_with("HTTP/1.1 200 OK"), "{name} {path}: {told}");
        }
        let said = service.command(&["health"], "").await?;
        ensure!(said.lines().next() == Some("serving"), "{name}: {said}");
    }
    Ok(())
}

/// Claim: a service that waits for its database is alive and not ready, so that nobody restarts it and nobody calls it.
#[tokio::test]
async fn a_service_without_its_database_is_alive_and_not_ready() -> Result<()> {
    let system = System::shared().await?;
    for name in ServiceName::ALL {
        let replica = system.stack.services.get(name).replica_with(|launch| {
            let nowhere = NOWHERE.map(|(name, url)| (name.to_owned(), url.to_owned()));
            launch.env.extend(nowhere);
        })?;
        let address = replica.admin_address();
        wait_until(SOON, "an answer", async || {
            told(&address, "/livez").await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        let live = told(&address, "/livez").await?;
        ensure!(live.starts_with("HTTP/1.1 200 OK"), "{name}: {live}");
        let ready = told(&address, "/readyz").await?;
        ensure!(ready.starts_with("HTTP/1.1 503") && ready.contains("not serving"), "{name}: {ready}");
        let refused = replica.command(&["health"], "").await;
        ensure!(refused.is_err(), "{name}: {refused:?}");
        replica.process().kill().await?;
    }
    Ok(())
}
