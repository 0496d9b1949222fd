//! Settings of the server that what is acknowledged depends on.

use runtime::connections::Budget;
use runtime::doctor::Seen;

use super::place::Place;

pub(super) async fn fsync(place: &Place) -> anyhow::Result<Seen> {
    is_on(place, "fsync").await
}

pub(super) async fn full_page_writes(place: &Place) -> anyhow::Result<Seen> {
    is_on(place, "full_page_writes").await
}

async fn is_on(place: &Place, name: &str) -> anyhow::Result<Seen> {
    let value = place.setting(name).await?;
    Ok(if value == "on" {
        Seen::ok(value)
    } else {
        Seen::failed(value, format!("ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();"))
    })
}

pub(super) async fn synchronous_commit(place: &Place) -> anyhow::Result<Seen> {
    let value = place.setting("synchronous_commit").await?;
    if value != "off" {
        return Ok(Seen::ok(value));
    }
    let (role, database) = place.names().await?;
    Ok(Seen::failed(
        value,
        format!(
            "ALTER DATABASE {database} SET synchronous_commit = on;\n\
             ALTER ROLE {role} IN DATABASE {database} RESET synchronous_commit;"
        ),
    ))
}

pub(super) async fn wal_level(place: &Place) -> anyhow::Result<Seen> {
    let value = place.setting("wal_level").await?;
    Ok(match value.as_str() {
        "minimal" => Seen::failed(value, "ALTER SYSTEM SET wal_level = replica, and a restart"),
        "replica" => Seen::ok("replica; Debezium would need logical"),
        _ => Seen::ok(value),
    })
}

pub(super) async fn connections(place: &Place) -> anyhow::Result<Seen> {
    if place.store.expects_pooler() {
        return Ok(Seen::not_tried("behind a pooler, its limits count"));
    }
    let allowed = place.store.sessions_allowed().await?;
    let budget = Budget { replicas: place.replicas, each: place.config.postgres_connections };
    let Budget { replicas, each } = budget;
    let found =
        format!("{allowed} are allowed; {replicas} replicas with {each} each need {}", budget.needed());
    Ok(if budget.fits(allowed) {
        Seen::ok(found)
    } else {
        Seen::failed(
            found,
            format!(
                "POSTGRES_CONNECTIONS={}, REPLICAS as they are, or ALTER SYSTEM SET max_connections and a restart",
                budget.share(allowed)
            ),
        )
    })
}
