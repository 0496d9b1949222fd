//! Whether our Lua scripts compile and run.

use anyhow::{Context as _, Result};
use events::Mark;
use runtime::doctor::Seen;
use types::chain;
use uuid::Uuid;

use super::place::Place;

pub(super) async fn load(place: &Place) -> Result<Seen> {
    Ok(match place.store.scripts_load().await {
        Ok(count) => Seen::ok(format!("{count} scripts")),
        Err((name, error)) => Seen::failed(
            format!("{name}: {}", chain(&error)),
            format!("ACL SETUSER {} +script|load", place.address.user),
        ),
    })
}

/// Begins the mark of a consumer that does not exist, reads it, and removes it.
pub(super) async fn run(place: &Place) -> Result<Seen> {
    let Place { store, scratch, .. } = place;
    let mark = Mark { epoch: Uuid::new_v4(), position: 1, event_id: None };
    let written = store.mark_begin(scratch, &mark).await;
    let read = match written {
        Ok(_) => store.mark_fetch(scratch).await,
        Err(error) => Err(error),
    };
    let removed = store.mark_remove(scratch).await;
    let read = match read {
        Ok(read) => read.context("what a script wrote is not there")?,
        Err(error) => {
            let mend = format!("ACL SETUSER {} +evalsha", place.address.user);
            return Ok(Seen::failed(chain(&error), mend));
        }
    };
    removed?;
    anyhow::ensure!(read.mark == mark, "what a script wrote is read as something else");
    Ok(Seen::ok("written, read and removed"))
}
