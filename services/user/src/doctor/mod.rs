//! `user-service doctor`: whether MongoDB is and does what this service takes for granted.
//!
//! [`CHECKS`] has a row for each thing; the file of its subject looks. What must be written to find out is written to a
//! scratch database of a random name, which is dropped at the end, whatever the checks came to; everywhere else a check
//! only reads, or rolls back, and only `--failover` has the primary step down. What the statements of the service are is not
//! repeated here: `journey.rs` has the service itself send them, and `plans.rs` asks the server how it would do each.

mod failover;
mod journey;
mod login;
mod pace;
mod place;
mod plans;
mod privileges;
mod recorder;
mod schema;
mod scratch;
mod server;
mod settings;
mod statement;
mod transactions;

use std::time::Duration;

use runtime::doctor::{Check, Seen, Table};
use tokio::signal::unix::{SignalKind, signal};

pub use place::Place;

use crate::config::DoctorConfig;
use scratch::on_scratch;

/// Checks that write much or wait for the server's own limits.
const LONG: Duration = Duration::from_secs(40);

/// All checks.
pub static CHECKS: Table<Place> = Table {
    service: "user-service",
    reached: "server.reached",
    reached_wanted: "a server that answers with the URL's login",
    checks: &[
        Check::new("server.version", "MongoDB 8.0 or later", |place| Box::pin(server::version(place))),
        Check::new("server.replica_set", "a member of a replica set, no mongos", |place| {
            Box::pin(server::replica_set(place))
        }),
        Check::new("server.primary", "a primary that takes writes", |place| Box::pin(server::primary(place))),
        Check::new("server.clock", "at most a second from ours", |place| Box::pin(server::clock(place))),
        Check::new("server.arbiters", "no member without data", |place| Box::pin(server::arbiters(place))),
        Check::new("server.connections", "room for the connections of all replicas", |place| {
            Box::pin(server::connections(place))
        }),
        Check::new(
            "login.hosts",
            "every host of the set resolves and connects, and the URL follows a failover",
            |place| Box::pin(login::hosts(place)),
        ),
        Check::new("login.tls", "TLS to every host beyond this machine", |place| Box::pin(login::tls(place))),
        Check::new("login.mechanism", "SCRAM-SHA-256 or a certificate", |place| {
            Box::pin(login::mechanism(place))
        }),
        Check::new("login.source", "a URL that says in which database the user is", |place| {
            Box::pin(login::source(place))
        }),
        Check::new("settings.feature_version", "featureCompatibilityVersion 8.0 or later", |place| {
            Box::pin(settings::feature_version(place))
        }),
        Check::new(
            "settings.transaction_lifetime",
            "transactionLifetimeLimitSeconds of at most 3",
            |place| Box::pin(settings::transaction_lifetime(place)),
        ),
        Check::new(
            "settings.lock_timeout",
            "maxTransactionLockRequestTimeoutMillis from 0 to 100",
            |place| Box::pin(settings::lock_timeout(place)),
        ),
        Check::new("settings.history_window", "minSnapshotHistoryWindowInSeconds from 5 to 10", |place| {
            Box::pin(settings::history_window(place))
        }),
        Check::new("settings.default_concerns", "a default write concern of majority", |place| {
            Box::pin(settings::default_concerns(place))
        }),
        Check::new("schema.applied", "every migration of this program", |place| {
            Box::pin(schema::applied(place))
        }),
        Check::new("schema.indexes", "every index of the migrations, as they make it", |place| {
            Box::pin(schema::indexes(place))
        }),
        Check::new("schema.validators", "every validator of the migrations, and that it refuses", |place| {
            Box::pin(schema::validators(place))
        }),
        Check::new("schema.foreign", "no collection that is not this service's", |place| {
            Box::pin(schema::foreign(place))
        }),
        Check::new("privileges.find", "find on every collection", |place| Box::pin(privileges::find(place)))
            .within(LONG),
        Check::new("privileges.insert", "insert on every collection", |place| {
            Box::pin(privileges::insert(place))
        })
        .within(LONG),
        Check::new("privileges.update", "update on every collection", |place| {
            Box::pin(privileges::update(place))
        })
        .within(LONG),
        Check::new("privileges.remove", "remove on every collection", |place| {
            Box::pin(privileges::remove(place))
        })
        .within(LONG),
        Check::new("privileges.identity", "replSetGetConfig, by which the set is known", |place| {
            Box::pin(privileges::identity(place))
        }),
        Check::new(
            "privileges.parameters",
            "getParameter, by which the start looks at the life of a transaction",
            |place| Box::pin(privileges::parameters(place)),
        ),
        Check::new("privileges.scratch", "a login that may make and drop a scratch database", |place| {
            Box::pin(scratch::allowed(place))
        }),
        Check::new("scratch.migrations", "two runs at once apply each migration once", |place| {
            Box::pin(scratch::migrations(place))
        })
        .within(LONG),
        Check::new("scratch.validators", "each validator refuses each wrongly typed field", |place| {
            Box::pin(on_scratch(place, schema::refusals))
        })
        .within(LONG),
        Check::new("plans.scans", "an index for every statement", |place| {
            Box::pin(on_scratch(place, plans::scans))
        })
        .within(LONG),
        Check::new("plans.sorts", "an index for every order", |place| {
            Box::pin(on_scratch(place, plans::sorts))
        })
        .within(LONG),
        Check::new("plans.indexes", "the index that each statement is meant to use", |place| {
            Box::pin(on_scratch(place, plans::indexes))
        })
        .within(LONG),
        Check::new(
            "transactions.bulk_write",
            "a bulk write as the first statement, over several collections, with its counts",
            |place| Box::pin(on_scratch(place, transactions::bulk_write)),
        ),
        Check::new("transactions.duplicate", "a duplicate key is 11000 and ends the transaction", |place| {
            Box::pin(on_scratch(place, transactions::duplicate))
        }),
        Check::new(
            "transactions.conflict",
            "the second of two writers hears 112 with its label at once",
            |place| Box::pin(on_scratch(place, transactions::conflict)),
        ),
        Check::new(
            "transactions.outside",
            "a write outside a transaction waits for the transaction's end",
            |place| Box::pin(on_scratch(place, transactions::outside)),
        ),
        Check::new(
            "transactions.index",
            "an index is built although a transaction is open, and the transaction commits",
            |place| Box::pin(on_scratch(place, transactions::index)),
        )
        .within(LONG),
        Check::new(
            "transactions.abandoned",
            "locks of a client that is gone are free within 6 seconds",
            |place| Box::pin(on_scratch(place, transactions::abandoned)),
        )
        .within(LONG),
        Check::new(
            "transactions.commit_twice",
            "a commit that is sent again is answered as the first",
            |place| Box::pin(on_scratch(place, transactions::commit_twice)),
        ),
        Check::new("transactions.commit_after_abort", "251, and nothing is written", |place| {
            Box::pin(on_scratch(place, transactions::commit_after_abort))
        }),
        Check::new(
            "transactions.lease",
            "a lease by the server's clock has one owner, and is free when it has run out",
            |place| Box::pin(on_scratch(place, transactions::lease)),
        ),
        Check::new("pace.commits", "100 commits with a median of at most 25 ms", |place| {
            Box::pin(on_scratch(place, pace::commits))
        })
        .within(LONG),
        Check::new("pace.stamp", "1,000 events stamped within a second", |place| {
            Box::pin(on_scratch(place, pace::stamp))
        })
        .within(LONG),
        Check::new("pace.tombstones", "the same over 100,000 deleted keys", |place| {
            Box::pin(on_scratch(place, pace::tombstones))
        })
        .within(LONG),
        Check::new(
            "pace.hot_wallet",
            "32 writers on one wallet are done within 10 seconds, with the right sum",
            |place| Box::pin(on_scratch(place, pace::hot_wallet)),
        )
        .within(LONG),
        Check::new(
            "failover.step_down",
            "nothing lost or doubled, and writes again within 30 seconds",
            |place| Box::pin(on_scratch(place, failover::step_down)),
        )
        .within(Duration::from_secs(90)),
    ],
};

/// Does all checks and prints them. The scratch database is dropped also when a check fails, and when the process is told
/// to end.
///
/// # Errors
/// When a check has failed, when the lines cannot be printed, and when the scratch database cannot be dropped.
pub async fn doctor(config: &DoctorConfig) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let place = match Place::open(config).await {
        Ok(place) => place,
        Err(seen) => return CHECKS.print(Err::<&Place, Seen>(seen), &config.options).await,
    };
    let printed = tokio::select! {
        printed = CHECKS.print(Ok(&place), &config.options) => printed,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        _ = hang_up.recv() => Err(anyhow::anyhow!("the terminal is gone")),
    };
    match (printed, place.close().await) {
        (Err(printed), Err(left)) => Err(left.context(format!("{printed:#}"))),
        (printed, closed) => printed.and(closed),
    }
}
