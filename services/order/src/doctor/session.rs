//! What becomes of a session of this service on its way to the server.

use std::time::{Duration, Instant};

use runtime::doctor::Seen;
use sqlx::postgres::PgConnection;
use types::chain;

use super::place::{Place, told};
use crate::storage::{session_settings, state_of};

const IN_TIME: Duration = Duration::from_secs(1);

pub(super) async fn tls(place: &Place) -> anyhow::Result<Seen> {
    let query = "SELECT ssl, coalesce(version, ''),
                        coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true)
                 FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let (has_tls, version, is_here): (bool, String, bool) = place.row(query).await?;
    Ok(match (has_tls, is_here) {
        (true, _) => Seen::ok(version),
        (false, true) => Seen::ok("none, and the server is on this machine"),
        (false, false) => Seen::advice("none", "add sslmode=verify-full&sslrootcert=<file> to POSTGRES_URL"),
    })
}

pub(super) async fn pooler(place: &Place) -> anyhow::Result<Seen> {
    let is_expected = place.store.expects_pooler();
    let sign = match place.store.sign_of_pooler().await {
        Ok(sign) => sign,
        // Some poolers refuse the settings of a session.
        Err(error) => Some(chain(&error)),
    };
    Ok(match (sign, is_expected) {
        (None, false) => Seen::ok("PostgreSQL itself"),
        (Some(sign), true) => Seen::ok(format!("a pooler: {sign}")),
        (Some(sign), false) => Seen::failed(
            sign,
            "POSTGRES_POOLER=transaction, or the address of PostgreSQL itself in POSTGRES_URL",
        ),
        (None, true) => Seen::advice(
            "no sign of a pooler, and each statement takes the four round trips that one needs",
            "unset POSTGRES_POOLER, if POSTGRES_URL leads to PostgreSQL itself",
        ),
    })
}

/// Settings can be lost on their way, or be overruled.
pub(super) async fn settings(place: &Place) -> anyhow::Result<Seen> {
    let wanted = session_settings(&place.config);
    let found = place.store.settings_of_transaction(&wanted.each_ref().map(|(name, _)| *name)).await?;
    let differ: Vec<String> = wanted
        .iter()
        .filter_map(|(name, wanted)| {
            let value = found.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
            (value != Some(wanted)).then(|| format!("{name} = {}", value.unwrap_or("nothing")))
        })
        .collect();
    Ok(if differ.is_empty() {
        Seen::ok(format!("all {}", wanted.len()))
    } else {
        Seen::failed(
            differ.join(", "),
            "POSTGRES_POOLER=transaction, if a pooler is between; else look for ALTER ROLE .. SET and event triggers",
        )
    })
}

pub(super) async fn statement_timeout(place: &Place) -> anyhow::Result<Seen> {
    let mut session = place.another().await?;
    let script = "BEGIN; SET LOCAL statement_timeout = '100ms'; SELECT pg_sleep(2)";
    Ok(ended(&mut session, script, "57014").await)
}

pub(super) async fn lock_timeout(place: &Place) -> anyhow::Result<Seen> {
    let (mut one, mut two) = (place.another().await?, place.another().await?);
    let (key,): (String,) =
        place.row("SELECT (1953655155)::text || ', ' || (random() * 1000000000)::integer").await?;
    let lock = format!("pg_advisory_xact_lock({key})");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN; SELECT {lock}"))).execute(&mut one).await?;
    let script =
        format!("BEGIN; SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '2s'; SELECT {lock}");
    let seen = ended(&mut two, &script, "55P03").await;
    sqlx::raw_sql("ROLLBACK").execute(&mut one).await?;
    Ok(seen)
}

/// Whether the server ends a statement in time, and says so with this SQLSTATE. The session is closed with its
/// transaction.
async fn ended(session: &mut PgConnection, script: &str, state: &str) -> Seen {
    let began = Instant::now();
    let outcome = sqlx::raw_sql(sqlx::AssertSqlSafe(script.to_owned())).execute(session).await;
    let took = began.elapsed();
    let after = format!("after {:.2} s", took.as_secs_f64());
    let told = match &outcome {
        Ok(_) => "it was done".to_owned(),
        Err(error) => told(error),
    };
    let is_right = outcome.is_err_and(|error| state_of(&error).as_deref() == Some(state));
    if is_right && took < IN_TIME {
        Seen::ok(after)
    } else {
        Seen::failed(
            format!("{after}: {told}"),
            "look for a pooler or a proxy that takes settings away, or a server that is overloaded",
        )
    }
}
