//! `session-service doctor`: whether everything that the service takes for granted of Redis is so. One file has the
//! checks of one subject; [`CHECKS`] lists all of them in the order in which they are done.
//!
//! It asks as the service's own user and with no more rights. What it writes are scratch keys, which it removes.

mod connections;
mod keys;
mod memory;
mod persistence;
mod place;
mod replicas;
mod rights;
mod scripts;
mod server;

use std::time::Duration;

use anyhow::Result;
use runtime::doctor::{Check, Table};

pub use place::Place;

use crate::config::DoctorConfig;

/// All checks.
pub static CHECKS: Table<Place> = Table {
    service: "session-service",
    reached: "server.reached",
    reached_wanted: "Redis answers, and lets our user in",
    checks: &[
        Check::new("server.version", "Redis 7.0 or newer", |place| Box::pin(server::version(place))),
        Check::new("server.mode", "one Redis, not a node of a cluster, not a Sentinel", |place| {
            Box::pin(server::mode(place))
        }),
        Check::new("server.role", "a master", |place| Box::pin(server::role(place))),
        Check::new("server.clock", "at most 1 s away from ours", |place| Box::pin(server::clock(place))),
        Check::new("server.apart", "another server than the Redis of the events", |place| {
            Box::pin(server::apart(place))
        }),
        Check::new("connections.encrypted", "TLS, or a server on this machine", |place| {
            Box::pin(connections::encrypted(place))
        }),
        Check::new("connections.password", "a user with a password", |place| {
            Box::pin(connections::password(place))
        }),
        Check::new("connections.room", "room for every connection of every replica", |place| {
            Box::pin(connections::room(place))
        }),
        Check::new("connections.idle", "`timeout` 0, or 10 s and more: idle connections are kept", |place| {
            Box::pin(connections::idle(place))
        }),
        Check::new("rights.commands", "every command that the service sends", |place| {
            Box::pin(rights::commands(place))
        }),
        Check::new("rights.keys", "reading and writing every key of the service", |place| {
            Box::pin(rights::keys(place))
        }),
        Check::new("persistence.appendonly", "`appendonly yes`", |place| {
            Box::pin(place.needed("appendonly"))
        }),
        Check::new("persistence.appendfsync", "`appendfsync always`", |place| {
            Box::pin(place.needed("appendfsync"))
        }),
        Check::new(
            "persistence.written",
            "the last write and rewrite of the append-only file succeeded",
            |place| Box::pin(persistence::written(place)),
        ),
        Check::new("persistence.latency", "99 of 100 synced writes take at most 20 ms", |place| {
            Box::pin(persistence::latency(place))
        })
        .within(Duration::from_secs(60)),
        Check::new("memory.eviction", "`maxmemory-policy noeviction`", |place| {
            Box::pin(place.needed("maxmemory-policy"))
        }),
        Check::new("memory.used", "at most 80 % of `maxmemory`", |place| Box::pin(memory::used(place))),
        Check::new(
            "replicas.acknowledge",
            "`min-replicas-to-write` 1 or more, where there are replicas",
            |place| Box::pin(replicas::acknowledge(place)),
        ),
        Check::new("scripts.load", "every script compiles", |place| Box::pin(scripts::load(place))),
        Check::new("scripts.run", "a script writes, and what it wrote can be read", |place| {
            Box::pin(scripts::run(place))
        }),
        Check::new("keys.layout", "`session:schema` is the layout of this version", |place| {
            Box::pin(keys::layout(place))
        }),
        Check::new("keys.ours", "no keys of anybody else under this number", |place| {
            Box::pin(keys::ours(place))
        }),
    ],
};

/// Does the checks that are asked for and prints them.
///
/// # Errors
/// When a check has failed, when a URL cannot be used, and when nothing can be printed.
pub async fn doctor(config: &DoctorConfig) -> Result<()> {
    let place = Place::reach(config).await?;
    CHECKS.print(place.as_ref().map_err(Clone::clone), &config.options).await
}
