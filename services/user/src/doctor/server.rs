//! What the server is.

use bson::{Document, doc};
use runtime::connections::{Budget, clients};
use runtime::doctor::{Seen, clock_seen};

use super::place::{Place, plain};
use crate::config::CONNECTIONS_OF_CLIENT;
use crate::storage::{UNAUTHORIZED, WIRE_VERSION, code, connections_allowed};

pub(super) async fn version(place: &Place) -> anyhow::Result<Seen> {
    let wire = place.hello.get_i32("maxWireVersion").unwrap_or_default();
    let found = format!("MongoDB {}, wire version {wire}", place.version);
    if wire >= WIRE_VERSION {
        return Ok(Seen::ok(found));
    }
    Ok(Seen::failed(found, "upgrade every member to 8.0, one after the other"))
}

pub(super) async fn replica_set(place: &Place) -> anyhow::Result<Seen> {
    if place.hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Ok(Seen::failed("a mongos of a sharded cluster", "point MONGODB_URL at a replica set"));
    }
    match place.hello.get_str("setName") {
        Ok(name) => Ok(Seen::ok(format!("the set {name}"))),
        Err(_) => Ok(Seen::failed(
            "a server that is no member of a set",
            "start mongod with --replSet rs0, and once: rs.initiate()",
        )),
    }
}

pub(super) async fn primary(place: &Place) -> anyhow::Result<Seen> {
    let hello = &place.hello;
    let primary = hello.get_str("primary").unwrap_or("unknown");
    if hello.get_bool("isWritablePrimary").unwrap_or_default()
        && !hello.get_bool("readOnly").unwrap_or_default()
    {
        return Ok(Seen::ok(format!("the primary {primary}")));
    }
    let me = hello.get_str("me").unwrap_or("a server");
    let found = format!("{me} takes no writes; the primary is {primary}");
    Ok(Seen::failed(
        found,
        "give MONGODB_URL all hosts and replicaSet=, and not directConnection=true; see rs.status()",
    ))
}

pub(super) async fn clock(place: &Place) -> anyhow::Result<Seen> {
    Ok(clock_seen(place.store.now()).await?)
}

pub(super) async fn arbiters(place: &Place) -> anyhow::Result<Seen> {
    let arbiters = names(&place.hello, "arbiters");
    if arbiters.is_empty() {
        return Ok(Seen::ok("none"));
    }
    Ok(Seen::advice(
        format!("{}: with one member down, no write is acknowledged by a majority", arbiters.join(", ")),
        "rs.remove(\"HOST\") the arbiter, and rs.add(\"HOST\") a member with data",
    ))
}

pub(super) async fn connections(place: &Place) -> anyhow::Result<Seen> {
    let status = match place.ask_as_any(doc! { "serverStatus": 1 }).await {
        Err(error) if code(&error) == Some(UNAUTHORIZED) => {
            return Ok(Seen::not_tried(
                "the login may not ask for serverStatus; --admin-url names one that may",
            ));
        }
        status => status.map_err(plain)?,
    };
    let Some(allowed) = connections_allowed(&status) else {
        return Ok(Seen::not_provided("the server does not count its connections"));
    };
    // As many clients as it may have on however many threads.
    let clients = clients(place.config.connections as usize, CONNECTIONS_OF_CLIENT, usize::MAX);
    let each = place.config.connections_of(clients);
    let needed = Budget { replicas: place.replicas, each }.needed();
    let found = format!("{} replicas may need {needed} of {allowed}", place.replicas);
    if needed <= allowed {
        return Ok(Seen::ok(found));
    }
    Ok(Seen::advice(found, "lower MONGODB_CONNECTIONS, or raise net.maxIncomingConnections"))
}

/// A list of hosts in a greeting.
pub(super) fn names(hello: &Document, list: &str) -> Vec<String> {
    let names = hello.get_array(list).into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
