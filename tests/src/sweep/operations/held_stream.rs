//! Stream `user` held still: somebody who does nothing has the lease of its sequencer. What user service commits
//! meanwhile reaches nobody, for as long as a case needs it.

use std::cell::Cell;

use anyhow::{Result, ensure};
use bson::{Bson, doc};

use crate::sweep::rest::database_name;
use crate::sweep::stage::Stage;

/// Longer than any case.
const HELD_FOR_MS: i64 = 3_600_000;

/// Whether the stream is held.
#[derive(Debug, Default)]
pub(super) struct HeldStream(Cell<bool>);

impl HeldStream {
    /// Takes the lease, if it is not taken yet.
    pub(super) async fn hold(&self, stage: &Stage) -> Result<()> {
        if self.0.replace(true) {
            return Ok(());
        }
        let until = doc! { "startDate": "$$NOW", "unit": "millisecond", "amount": HELD_FOR_MS };
        lease(stage, Bson::Document(doc! { "$dateAdd": until })).await
    }

    /// Gives it back, if it was taken.
    pub(super) async fn release(&self, stage: &Stage) -> Result<()> {
        if !self.0.replace(false) {
            return Ok(());
        }
        lease(stage, Bson::DateTime(bson::DateTime::from_millis(0))).await
    }
}

async fn lease(stage: &Stage, until: Bson) -> Result<()> {
    let databases = &stage.system.stack.databases;
    let url = databases.urls_for_services().await?.mongodb;
    let owner = bson::Uuid::new();
    let taken = doc! { "owner": owner, "fence": { "$add": ["$fence", 1_i64] }, "lease_until": until };
    let update = doc! { "q": { "_id": "user" }, "u": [{ "$set": taken }] };
    let answer = databases
        .mongo
        .admin()
        .run(database_name(&url), doc! { "update": "outbox_lease", "updates": [update] });
    let found = answer.await?.get_i32("n")?;
    ensure!(found == 1, "{found} leases of stream `user`");
    Ok(())
}
