//! What kind of server it is.

use runtime::doctor::{Seen, clock_seen};

use super::place::Place;

const VERSION: i32 = 15;
const OLD: f64 = 3600.0;

pub(super) async fn version(place: &Place) -> anyhow::Result<Seen> {
    let query =
        "SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000";
    let (version, major): (String, i32) = place.row(query).await?;
    Ok(if major >= VERSION {
        Seen::ok(version)
    } else {
        Seen::failed(version, "pg_upgrade, or a dump that is restored into a newer server")
    })
}

pub(super) async fn primary(place: &Place) -> anyhow::Result<Seen> {
    let query = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
    let (is_standby, is_read_only): (bool, bool) = place.row(query).await?;
    if is_standby {
        return Ok(Seen::failed("a standby", "let POSTGRES_URL lead to the primary"));
    }
    if is_read_only {
        let (role, database) = place.names().await?;
        return Ok(Seen::failed(
            "transactions are read-only",
            format!(
                "ALTER ROLE {role} RESET default_transaction_read_only;\n\
                 ALTER DATABASE {database} RESET default_transaction_read_only;"
            ),
        ));
    }
    Ok(Seen::ok("a primary"))
}

/// A commit that waits for a standby which is not there waits for ever.
pub(super) async fn standbys(place: &Place) -> anyhow::Result<Seen> {
    let query =
        "SELECT current_setting('synchronous_standby_names'), count(*)::integer FROM pg_stat_replication";
    let (names, connected): (String, i32) = place.row(query).await?;
    Ok(match (names.as_str(), connected) {
        ("", connected) => Seen::ok(format!("{connected} standbys, none is waited for")),
        (names, 0) => Seen::failed(
            format!("commits wait for {names}, and no standby is connected"),
            "start the standby, or ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();",
        ),
        (names, connected) => Seen::ok(format!("{connected} standbys; commits wait for {names}")),
    })
}

pub(super) async fn clock(place: &Place) -> anyhow::Result<Seen> {
    Ok(clock_seen(place.store.database_time()).await?)
}

pub(super) async fn encoding(place: &Place) -> anyhow::Result<Seen> {
    let encoding = place.setting("server_encoding").await?;
    Ok(if encoding == "UTF8" {
        Seen::ok(encoding)
    } else {
        Seen::failed(encoding, "CREATE DATABASE <database> ENCODING 'UTF8' TEMPLATE template0")
    })
}

/// After an update of the operating system the order of texts may have changed, and indexes with it.
pub(super) async fn collation(place: &Place) -> anyhow::Result<Seen> {
    let query = "SELECT datcollate, datcollversion, pg_database_collation_actual_version(oid)
                 FROM pg_database WHERE datname = current_database()";
    let (name, built, actual): (String, Option<String>, Option<String>) = place.row(query).await?;
    if built == actual {
        return Ok(Seen::ok(format!("{name} {}", built.unwrap_or_default()).trim_end()));
    }
    let (_, database) = place.names().await?;
    Ok(Seen::failed(
        format!("{name} of {} then, {} now", built.unwrap_or_default(), actual.unwrap_or_default()),
        format!("REINDEX DATABASE {database}; ALTER DATABASE {database} REFRESH COLLATION VERSION;"),
    ))
}

pub(super) async fn functions(place: &Place) -> anyhow::Result<Seen> {
    let query = "SELECT gen_random_uuid() <> gen_random_uuid(),
                        coalesce((SELECT string_agg(extname, ', ' ORDER BY extname) FROM pg_extension), 'none')";
    let (is_random, extensions): (bool, String) = place.row(query).await?;
    Ok(if is_random {
        Seen::ok(format!("it is there; extensions: {extensions}"))
    } else {
        Seen::failed(
            "gen_random_uuid() repeats itself",
            "DROP FUNCTION gen_random_uuid, which hides the built-in one",
        )
    })
}

/// They keep what was deleted from being removed, and the log from being recycled. Whoever is no member of
/// `pg_read_all_stats` sees its own only.
pub(super) async fn transactions(place: &Place) -> anyhow::Result<Seen> {
    let query =
        "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::double precision,
                        (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - prepared)), 0)
                         FROM pg_prepared_xacts)::double precision
                 FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let (open, prepared): (f64, f64) = place.row(query).await?;
    let found = format!("the oldest open one has {open:.0} s, the oldest prepared one {prepared:.0} s");
    Ok(if open <= OLD && prepared <= OLD {
        Seen::ok(found)
    } else {
        Seen::advice(
            found,
            "SELECT pid, usename, xact_start, query FROM pg_stat_activity ORDER BY xact_start; and \
             pg_terminate_backend(pid)\n\
             SELECT gid, prepared FROM pg_prepared_xacts; and ROLLBACK PREPARED '<gid>'",
        )
    })
}
