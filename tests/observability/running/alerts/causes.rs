//! What alerts are there for, done to a running system and mended again.

mod databases;
mod events;
mod processes;
mod transfers;

use std::pin::Pin;

use anyhow::Result;

use super::stage::Stage;

type Doing<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
type Act = for<'a> fn(&'a Stage) -> Doing<'a>;

/// What is done, in this order.
pub(super) const CAUSES: [(&str, Act); 15] = [
    ("nothing", |stage| Box::pin(stage.fire(&[("Watchdog", &[])]))),
    ("the ledger has a cent too much", |stage| Box::pin(transfers::drift(stage))),
    ("a transfer can be neither confirmed nor cancelled", |stage| Box::pin(transfers::undecided(stage))),
    ("a decided transfer cannot end", |stage| Box::pin(transfers::unfinished(stage))),
    ("events cannot be stamped", |stage| Box::pin(events::not_stamped(stage))),
    ("a consumer cannot write", |stage| Box::pin(events::not_applied(stage))),
    ("an event breaks a rule of the database", |stage| Box::pin(events::parked(stage))),
    ("a consumer is ahead of its stream", |stage| Box::pin(events::rewound(stage))),
    ("user service is killed", |stage| Box::pin(processes::user_service_killed(stage))),
    ("order service is killed", |stage| Box::pin(processes::order_service_killed(stage))),
    ("session service hangs", |stage| Box::pin(processes::session_service_hangs(stage))),
    ("somebody locks a table", |stage| Box::pin(databases::locked(stage))),
    ("PostgreSQL is down", |stage| Box::pin(databases::postgres_down(stage))),
    ("a certificate is near its end", |stage| Box::pin(processes::certificate_ends(stage))),
    ("a certificate comes with another key", |stage| Box::pin(processes::wrong_key(stage))),
];
