//! The scratch database: made by the first check that writes, migrated by the next, dropped in the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use runtime::doctor::Seen;

use super::place::{Place, UNAUTHORIZED, plain};
use crate::storage::{Store, bounded_raw, code, within};

/// A collection for what is of no collection of the service.
pub(super) const PLAIN: &str = "doctor_plain";
/// Another one.
pub(super) const OTHER: &str = "doctor_other";
const DROP_WITHIN: Duration = Duration::from_secs(20);

const MEND: &str = r#"db.getSiblingDB("admin").createUser({user: "doctor", pwd: passwordPrompt(), roles: ["readWriteAnyDatabase", "dbAdminAnyDatabase"]})
user-service doctor --admin-url 'mongodb://doctor:PASSWORD@host:27017/user_service?authSource=admin&replicaSet=rs0'
db.getSiblingDB("admin").dropUser("doctor")"#;

impl Place {
    /// Why the scratch database may not be made; `None` when it was.
    async fn refusal(&self) -> anyhow::Result<Option<&str>> {
        let make = || async {
            self.is_begun.store(true, Ordering::Relaxed);
            for name in [PLAIN, OTHER] {
                match bounded_raw(self.scratch.database().create_collection(name)).await {
                    Ok(()) => {}
                    Err(error) if code(&error) == Some(UNAUTHORIZED) => {
                        return anyhow::Ok(Some(plain(error).to_string()));
                    }
                    Err(error) => return Err(plain(error)),
                }
            }
            Ok(None)
        };
        let refusal = self.refusal.get_or_try_init(make).await.context("making a scratch database")?;
        Ok(refusal.as_deref())
    }

    /// Migrates it, twice at once, and tells how many migrations each run has applied.
    async fn migrated(&self) -> anyhow::Result<(usize, usize)> {
        let run = || async {
            let (one, two) = tokio::try_join!(self.scratch.migrate(), self.scratch.migrate())?;
            anyhow::Ok((one.len(), two.len()))
        };
        self.migrated.get_or_try_init(run).await.copied()
    }

    /// Drops the scratch database.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn close(self) -> anyhow::Result<()> {
        let is_refused = matches!(self.refusal.get(), Some(Some(_)));
        if is_refused || !self.is_begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        let scratch = self.scratch.database();
        let what = || format!("drop it by hand: use {}, db.dropDatabase()", scratch.name());
        within(DROP_WITHIN, scratch.drop()).await.map_err(plain).with_context(what)
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
    let (one, two) = place.migrated().await?;
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
