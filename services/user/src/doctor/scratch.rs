//! The scratch database: made by the first check that writes, migrated by the next, dropped in the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use mongodb::error::Error as DriverError;
use runtime::doctor::Seen;
use types::chain;

use super::place::{Place, plain};
use crate::storage::{Store, UNAUTHORIZED, bounded_raw, code, within};

/// A collection for what is of no collection of the service.
pub(super) const PLAIN: &str = "doctor_plain";
/// Another one.
pub(super) const OTHER: &str = "doctor_other";
const DROP_WITHIN: Duration = Duration::from_secs(20);
const DROPS_MOST: usize = 5;

const MEND: &str = r#"db.getSiblingDB("admin").createUser({user: "doctor", pwd: passwordPrompt(), roles: ["readWriteAnyDatabase", "dbAdminAnyDatabase", "clusterMonitor"]})
user-service doctor --admin-url 'mongodb://doctor@HOST:27017/user_service?authSource=admin&replicaSet=rs0'    # with :PASSWORD after doctor
db.getSiblingDB("admin").dropUser("doctor")"#;
const MIGRATE: &str = "compare the role with migrations/user/roles/migrate.js";

impl Place {
    /// Why the scratch database may not be made and dropped; `None` when it was, and is there again.
    async fn refusal(&self) -> anyhow::Result<Option<&str>> {
        let try_it = || async {
            self.is_begun.store(true, Ordering::Relaxed);
            let scratch = self.scratch.database();
            for dropped in [true, false] {
                for name in [PLAIN, OTHER] {
                    if let Some(refusal) = refused_to(bounded_raw(scratch.create_collection(name)).await)? {
                        return anyhow::Ok(Some(refusal));
                    }
                }
                if dropped && let Some(refusal) = refused_to(within(DROP_WITHIN, scratch.drop()).await)? {
                    return Ok(Some(refusal));
                }
            }
            Ok(None)
        };
        let refusal = self.refusal.get_or_try_init(try_it).await.context("making a scratch database")?;
        Ok(refusal.as_deref())
    }

    /// Migrates it, once, twice at the same time, and tells how many migrations each run has applied.
    async fn migrated(&self) -> Result<(usize, usize), &str> {
        let run = || async {
            let runs = tokio::try_join!(self.scratch.migrate(), self.scratch.migrate());
            runs.map(|(one, two)| (one.len(), two.len())).map_err(|error| chain(&error))
        };
        self.migrated.get_or_init(run).await.as_ref().copied().map_err(String::as_str)
    }

    /// Drops the scratch database.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn close(self) -> anyhow::Result<()> {
        if !self.is_begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        let is_refused = matches!(self.refusal.get(), Some(Some(_)));
        let scratch = self.scratch.database();
        let what = || format!("drop it by hand: db.getSiblingDB(\"{}\").dropDatabase()", scratch.name());
        // What was on its way when somebody interrupted may come after the drop, and make the database anew.
        for _ in 0..DROPS_MOST {
            match within(DROP_WITHIN, scratch.drop()).await {
                Err(error) if is_refused && code(&error) == Some(UNAUTHORIZED) => return Ok(()),
                dropped => dropped.map_err(plain).with_context(what)?,
            }
            let left =
                bounded_raw(scratch.list_collection_names()).await.map_err(plain).with_context(what)?;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(anyhow::anyhow!("somebody writes to {}", scratch.name()).context(what()))
    }
}

/// What a server says that does not let this login do it.
fn refused_to(done: Result<(), DriverError>) -> anyhow::Result<Option<String>> {
    match done {
        Ok(()) => Ok(None),
        Err(error) if code(&error) == Some(UNAUTHORIZED) => Ok(Some(plain(error).to_string())),
        Err(error) => Err(plain(error)),
    }
}

/// Whether there is a login for a scratch database.
pub(super) async fn allowed(place: &Place) -> anyhow::Result<Seen> {
    Ok(match place.refusal().await? {
        None => Seen::ok(format!("made {}", place.scratch.database().name())),
        Some(refusal) => Seen::failed(refusal, MEND),
    })
}

/// Whether two runs of the migrations get along.
pub(super) async fn migrations(place: &Place) -> anyhow::Result<Seen> {
    if place.refusal().await?.is_some() {
        return Ok(refused());
    }
    let (one, two) = match place.migrated().await {
        Ok(applied) => applied,
        Err(why) => return Ok(Seen::failed(why, MIGRATE)),
    };
    let found = format!("one applied {one}, the other {two}");
    let is_once = one.min(two) == 0 && one.max(two) > 0;
    Ok(if is_once { Seen::ok(found) } else { Seen::failed(found, "a defect: please report it") })
}

/// Looks at the scratch database, migrated, where there is one.
pub(super) async fn on_scratch<F>(place: &Place, look: F) -> anyhow::Result<Seen>
where
    F: AsyncFnOnce(&Place, &Store) -> anyhow::Result<Seen>,
{
    if place.refusal().await?.is_some() {
        return Ok(refused());
    }
    if place.migrated().await.is_err() {
        return Ok(Seen::not_tried("scratch.migrations has failed"));
    }
    look(place, &place.scratch).await
}

fn refused() -> Seen {
    Seen::not_tried("privileges.scratch has failed")
}
