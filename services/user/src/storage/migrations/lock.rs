//! One run of migrations at a time, by a lock document and the server's clock.

use std::time::Duration;

use bson::{Document, doc};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::storage::backbone::lease;
use crate::storage::driver::{bounded, bounded_raw, classify, is_duplicate_key};
use crate::storage::{SERVER_TIME, Store};

pub(super) const COLLECTION: &str = "migration_lock";
const ID: &str = "migrations";
/// An index may take this long to build before another run thinks that this one died.
const LEASE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(200);

/// Takes the lock, waiting for its owner to release it.
pub(super) async fn take(store: &Store, owner: Uuid, within: Duration) -> Result<()> {
    let give_up = Instant::now() + within;
    while !try_take(store, owner).await? {
        if Instant::now() >= give_up {
            return Err(Error::unavailable("another run of migrations is going on"));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Says that the owner is still there.
pub(super) async fn renew(store: &Store, owner: Uuid) -> Result<()> {
    if try_take(store, owner).await? {
        return Ok(());
    }
    Err(Error::unavailable("another run of migrations took over"))
}

/// Gives the lock back.
pub(super) async fn release(store: &Store, owner: Uuid) {
    let locks = store.collection::<Document>(COLLECTION);
    // If it fails the lease runs out by itself.
    let _ = bounded_raw(locks.delete_one(doc! { "_id": ID, "owner": bson::Uuid::from(owner) })).await;
}

async fn try_take(store: &Store, owner: Uuid) -> Result<bool> {
    let owner = bson::Uuid::from(owner);
    let locks = store.collection::<Document>(COLLECTION);
    let free = doc! { "$or": [{ "$eq": ["$owner", owner] }, { "$lte": ["$lease_until", "$$NOW"] }] };
    let take = vec![doc! { "$set": { "owner": owner, "lease_until": lease::until(LEASE) } }];
    let renewed =
        locks.find_one_and_update(doc! { "_id": ID, "$expr": free }, take.clone()).max_time(SERVER_TIME);
    if bounded(renewed).await?.is_some() {
        return Ok(true);
    }
    // Nobody has it, or somebody else has: the insert tells.
    let made = locks.update_one(doc! { "_id": ID, "owner": owner }, take).upsert(true);
    match bounded_raw(made).await {
        Ok(_) => Ok(true),
        Err(error) if is_duplicate_key(&error) => Ok(false),
        Err(error) => Err(classify(error).into()),
    }
}
