//! How we connect, and how many of us may.

use anyhow::Result;
use runtime::connections::Budget;
use runtime::doctor::Seen;

use super::place::{Place, set};

/// The shortest `timeout` in seconds that closes no connection of a service that lives: readiness asks every second.
const IDLE_SECONDS_MIN: u64 = 10;

pub(super) async fn encrypted(place: &Place) -> Result<Seen> {
    Ok(if place.address.is_readable {
        Seen::advice(
            "what is sent can be read on its way",
            "let REDIS_SESSION_URL begin with rediss://, and Redis have `tls-port`",
        )
    } else {
        Seen::ok("nobody reads what is sent")
    })
}

pub(super) async fn password(place: &Place) -> Result<Seen> {
    let user = &place.address.user;
    Ok(if place.address.has_password {
        Seen::ok(format!("user {user} with a password"))
    } else {
        Seen::advice(
            format!("user {user} without a password"),
            "make the user of migrations/session/users.acl, name it in REDIS_SESSION_URL, and close the default one:\n\
             ACL SETUSER default off",
        )
    })
}

pub(super) async fn room(place: &Place) -> Result<Seen> {
    let Some(allowed) = place.store.connections_allowed().await? else {
        return Ok(Seen::not_provided("the server does not say how many it allows"));
    };
    let Place { replicas, connections, .. } = *place;
    let budget = Budget { replicas, each: connections };
    let needed = budget.needed();
    let found = format!(
        "{allowed} are allowed; {replicas} replicas with {connections} each and some others need {needed}"
    );
    Ok(if budget.fits(allowed) {
        Seen::ok(found)
    } else {
        let maxclients = set("maxclients", &needed.to_string());
        Seen::failed(found, format!("lower REDIS_SESSION_CONNECTIONS, correct REPLICAS, or:\n{maxclients}"))
    })
}

pub(super) async fn idle(place: &Place) -> Result<Seen> {
    let Some(seconds) = place.setting("timeout").await? else {
        return Ok(Seen::not_provided("the server has no `timeout`"));
    };
    let found = format!("`timeout` is {seconds}");
    Ok(match seconds.parse::<u64>()? {
        1..IDLE_SECONDS_MIN => Seen::advice(found, set("timeout", "0")),
        _ => Seen::ok(found),
    })
}
