//! The server itself: whether it is one that the service can work with.

use anyhow::Result;
use runtime::doctor::{Seen, clock_seen};
use types::chain;

use super::place::Place;
use crate::storage::MAJOR_MIN;

pub(super) async fn version(place: &Place) -> Result<Seen> {
    Ok(match place.store.version_fits().await? {
        Ok(version) => Seen::ok(version),
        Err(version) => {
            Seen::failed(format!("version {version}"), format!("install Redis {MAJOR_MIN}.0 or newer"))
        }
    })
}

/// The service follows no MOVED. It follows a failover where the address is that of Sentinels, or leads to the new master by
/// itself.
pub(super) async fn mode(place: &Place) -> Result<Seen> {
    let mode: String = place.store.info("server").await?.get("redis_mode").unwrap_or_default();
    Ok(match mode.as_str() {
        "cluster" => Seen::failed(
            "a node of a cluster",
            "let REDIS_SESSION_URL be a Redis with `cluster-enabled no`: the service follows no MOVED",
        ),
        "sentinel" => Seen::failed(
            "a Sentinel",
            "name it as one: redis-sentinel://user:password@host:port,host:port/number?master=name",
        ),
        mode => Seen::ok(mode),
    })
}

pub(super) async fn role(place: &Place) -> Result<Seen> {
    let info = place.store.info("replication").await?;
    let role: String = info.get("role").unwrap_or_default();
    if role == "master" {
        return Ok(Seen::ok(role));
    }
    let (host, port) = (info.get::<String>("master_host"), info.get::<String>("master_port"));
    let master = host.zip(port).map_or_else(String::new, |(host, port)| format!(" of {host}:{port}"));
    let mend = "let REDIS_SESSION_URL name the Sentinels, or be an address that always leads to the master; to make this \
                one the master:\n\
                REPLICAOF NO ONE";
    Ok(Seen::failed(format!("a replica{master}"), mend))
}

/// Ours at the middle of the question is compared with Redis' in the answer.
pub(super) async fn clock(place: &Place) -> Result<Seen> {
    Ok(clock_seen(place.store.database_time()).await?)
}

pub(super) async fn apart(place: &Place) -> Result<Seen> {
    let Some(events) = &place.events else {
        return Ok(Seen::not_tried("REDIS_EVENTS_URL is not set"));
    };
    let other = match events.run_id().await {
        Ok(other) => other,
        Err(error) => {
            return Ok(Seen::not_tried(format!("the Redis of the events does not say: {}", chain(&error))));
        }
    };
    Ok(if other == place.store.run_id().await? {
        Seen::advice(
            "the same server",
            "let REDIS_EVENTS_URL be a Redis of its own: what events and caches fill refuses logins here, and a policy \
             that evicts there ends sessions here",
        )
    } else {
        Seen::ok("another server")
    })
}
