//! The keys that are there: their layout, and whether all of them are ours.

use anyhow::Result;
use runtime::doctor::Seen;

use super::place::Place;
use crate::storage::LAYOUT;

/// Keys that are looked at; more of them would say no more.
const KEYS_MAX: usize = 1000;

pub(super) async fn layout(place: &Place) -> Result<Seen> {
    Ok(match place.store.layout().await? {
        Some(LAYOUT) => Seen::ok(format!("layout {LAYOUT}")),
        None => Seen::advice(
            format!("none yet; this version knows {LAYOUT}, and notes it when it starts"),
            "session-service migrate",
        ),
        Some(other) => Seen::failed(
            format!("layout {other}; this version knows {LAYOUT}"),
            "run the version of session-service that wrote it, or name another number in REDIS_SESSION_URL",
        ),
    })
}

pub(super) async fn ours(place: &Place) -> Result<Seen> {
    let number = place.address.number;
    let of = match place.setting("databases").await? {
        Some(count) => format!(" of {count}"),
        None => String::new(),
    };
    let (seen, foreign) = place.store.foreign_keys(KEYS_MAX).await?;
    let found = format!("number {number}{of}; {} of {seen} keys looked at are not ours", foreign.len());
    Ok(match foreign.first() {
        None => Seen::ok(found),
        Some(key) => Seen::advice(
            format!("{found}, such as {key:?}"),
            "name a number in REDIS_SESSION_URL that nobody else uses: their FLUSHDB ends all sessions",
        ),
    })
}
