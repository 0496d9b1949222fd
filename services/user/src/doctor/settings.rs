//! The settings of the server that answers, which is the primary: they are set on every member by itself.

use bson::{Bson, doc};
use runtime::doctor::Seen;

use super::place::{INVALID_OPTIONS, Place, plain};
use crate::storage::{LIFETIME, TRANSACTION_LIFETIME, UNAUTHORIZED, code, number};

const LOCK_TIMEOUT: &str = "maxTransactionLockRequestTimeoutMillis";
const HISTORY: &str = "minSnapshotHistoryWindowInSeconds";
const FEATURES: &str = "featureCompatibilityVersion";

/// A parameter, or what is to be said instead.
async fn parameter(place: &Place, name: &str) -> anyhow::Result<Result<Bson, Seen>> {
    match place.ask_as_any(doc! { "getParameter": 1, name: 1 }).await {
        Ok(mut answer) => {
            Ok(answer.remove(name).ok_or_else(|| place.lacks("no such parameter", "run MongoDB 8.0")))
        }
        Err(error) => match code(&error) {
            Some(UNAUTHORIZED) => {
                Ok(Err(Seen::not_tried("the login may not read it: see privileges.parameters")))
            }
            Some(INVALID_OPTIONS) => Ok(Err(place.lacks("no such parameter", "run MongoDB 8.0"))),
            _ => Err(plain(error)),
        },
    }
}

/// A parameter that must be between two numbers.
async fn between(place: &Place, name: &str, least: i64, most: i64, why: &str) -> anyhow::Result<Seen> {
    let value = match parameter(place, name).await? {
        Ok(value) => value,
        Err(seen) => return Ok(seen),
    };
    if number(&value).is_some_and(|number| (least..=most).contains(&number)) {
        return Ok(Seen::ok(format!("{value} on the primary")));
    }
    let mend = format!(
        "db.adminCommand({{setParameter: 1, {name}: {most}}})\nand, to keep it: mongod --setParameter {name}={most}, on every member"
    );
    Ok(Seen::advice(format!("{value}: {why}"), mend))
}

pub(super) async fn transaction_lifetime(place: &Place) -> anyhow::Result<Seen> {
    let why =
        "a process that hangs keeps others from what it has locked for that long, and half as long again";
    between(place, LIFETIME, 1, i64::try_from(TRANSACTION_LIFETIME.as_secs())?, why).await
}

pub(super) async fn lock_timeout(place: &Place) -> anyhow::Result<Seen> {
    let why = "a transaction waits so long behind a change of the schema, with its locks";
    between(place, LOCK_TIMEOUT, 0, 100, why).await
}

pub(super) async fn history_window(place: &Place) -> anyhow::Result<Seen> {
    let why = "keys of stamped events are read past for that many seconds";
    between(place, HISTORY, 5, 10, why).await
}

pub(super) async fn feature_version(place: &Place) -> anyhow::Result<Seen> {
    let value = match parameter(place, FEATURES).await? {
        Ok(value) => value,
        Err(seen) => return Ok(seen),
    };
    let version = value.as_document().and_then(|value| value.get_str("version").ok()).unwrap_or("unknown");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 8) {
        return Ok(Seen::ok(version));
    }
    let found = format!("{version}: writes to several collections at once are switched off");
    Ok(Seen::failed(found, r#"db.adminCommand({setFeatureCompatibilityVersion: "8.0", confirm: true})"#))
}

/// Our own statements say their concerns; this is about what others write beside the service.
pub(super) async fn default_concerns(place: &Place) -> anyhow::Result<Seen> {
    let answer = match place.ask_as_any(doc! { "getDefaultRWConcern": 1 }).await {
        Err(error) if code(&error) == Some(UNAUTHORIZED) => {
            return Ok(Seen::not_tried("the login may not read it; --admin-url names one that may"));
        }
        answer => answer.map_err(plain)?,
    };
    let write = answer.get_document("defaultWriteConcern").ok().and_then(|concern| concern.get("w"));
    let read =
        answer.get_document("defaultReadConcern").ok().and_then(|concern| concern.get_str("level").ok());
    let shown = write.map_or_else(|| "none".to_owned(), ToString::to_string);
    let found = format!("write {shown}, read {}", read.unwrap_or("none"));
    if write.and_then(Bson::as_str) == Some("majority") {
        return Ok(Seen::ok(found));
    }
    let mend = r#"db.adminCommand({setDefaultRWConcern: 1, defaultWriteConcern: {w: "majority"}})"#;
    Ok(Seen::advice(format!("{found}: what an operator writes by hand may be rolled back"), mend))
}
