//! `doctor`: whether what this service takes for granted of its PostgreSQL is so. It changes nothing: what it tries is
//! rolled back, and what its commits are timed with is a message in the log that no table has.

mod pace;
mod place;
mod plans;
mod role;
mod schema;
mod server;
mod session;
mod settings;

use std::time::Duration;

use runtime::doctor::{Check, Options, Table};

pub use place::Place;

use crate::config::PostgresConfig;

/// All checks of this service.
pub static CHECKS: Table<Place> = Table {
    service: "order-service",
    reached: "server.reached",
    reached_wanted: "a login at `--postgres-url` within 5 s",
    checks: &[
        Check::new("server.version", "PostgreSQL 15 or newer", |place| Box::pin(server::version(place))),
        Check::new("server.primary", "a server that takes writes", |place| Box::pin(server::primary(place))),
        Check::new("server.standbys", "if commits wait for a standby, one that is there", |place| {
            Box::pin(server::standbys(place))
        }),
        Check::new("server.clock", "the time of this machine, within 1 s", |place| {
            Box::pin(server::clock(place))
        }),
        Check::new("server.encoding", "UTF8", |place| Box::pin(server::encoding(place))),
        Check::new("server.collation", "the version that the database's indexes were built with", |place| {
            Box::pin(server::collation(place))
        }),
        Check::new("server.functions", "`gen_random_uuid()`, which is built in; no extension", |place| {
            Box::pin(server::functions(place))
        }),
        Check::new("server.transactions", "none that is open or prepared for more than an hour", |place| {
            Box::pin(server::transactions(place))
        }),
        Check::new("settings.fsync", "on", |place| Box::pin(settings::fsync(place))),
        Check::new("settings.full_page_writes", "on", |place| Box::pin(settings::full_page_writes(place))),
        Check::new("settings.synchronous_commit", "anything but off, so that a commit is on disk", |place| {
            Box::pin(settings::synchronous_commit(place))
        }),
        Check::new("settings.wal_level", "replica or logical, so that there can be backups", |place| {
            Box::pin(settings::wal_level(place))
        }),
        Check::new("settings.connections", "room for all replicas, and 8 connections of others", |place| {
            Box::pin(settings::connections(place))
        }),
        Check::new("session.tls", "TLS, unless the server is on this machine", |place| {
            Box::pin(session::tls(place))
        }),
        Check::new("session.pooler", "what `--postgres-pooler` says", |place| {
            Box::pin(session::pooler(place))
        }),
        Check::new("session.settings", "those that the service asks for", |place| {
            Box::pin(session::settings(place))
        }),
        Check::new("session.statement_timeout", "a statement of 2 s ends after 0.1 s", |place| {
            Box::pin(session::statement_timeout(place))
        }),
        Check::new("session.lock_timeout", "a wait for a lock ends after 0.1 s", |place| {
            Box::pin(session::lock_timeout(place))
        }),
        Check::new("role.ordinary", "no superuser", |place| Box::pin(role::ordinary(place))),
        Check::new("role.statements", "each statement of the service is allowed and known", |place| {
            Box::pin(role::statements(place))
        })
        .within(Duration::from_secs(30)),
        Check::new(
            "schema.migrations",
            "every one that this binary has, and none that it does not know",
            |place| Box::pin(schema::migrations(place)),
        ),
        Check::new("schema.indexes", "those of the migrations, and all of them valid", |place| {
            Box::pin(schema::indexes(place))
        }),
        Check::new("schema.constraints", "every row checked", |place| Box::pin(schema::constraints(place))),
        Check::new("schema.publication", "`outbox`, of inserts only, for Debezium", |place| {
            Box::pin(schema::publication(place))
        }),
        Check::new("plans.scans", "no statement reads a table whole that grows", |place| {
            Box::pin(plans::scans(place))
        })
        .within(Duration::from_secs(30)),
        Check::new("pace.round_trip", "a median of 5 ms at the most", |place| {
            Box::pin(pace::round_trip(place))
        }),
        Check::new("pace.commit", "a median of 20 ms at the most, each on disk", |place| {
            Box::pin(pace::commit(place))
        }),
    ],
};

/// Examines the database and prints what was found.
///
/// # Errors
/// When a check has failed.
pub async fn doctor(config: PostgresConfig, options: &Options) -> anyhow::Result<()> {
    let place = Place::open(config, options.replicas).await;
    CHECKS.print(place.as_ref().map_err(Clone::clone), options).await
}
