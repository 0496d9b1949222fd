//! Looks at the files again and again, and puts new ones to use.

use std::sync::{Arc, PoisonError};

use anyhow::Context as _;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ended::{Reload, reload_ended};
use super::setup::Setup;
use super::{Current, Tls};

impl Tls {
    /// Reads the files again at each interval, until `stop`. Run it once in a process.
    pub async fn watch(self, stop: CancellationToken) {
        if self.0.active.is_none() {
            return;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(self.0.settings.poll_every) => {}
            }
            let this = self.clone();
            let looked = spawn_blocking(move || this.look()).await;
            match looked.context("reading the files").and_then(|looked| looked) {
                Ok(false) => {}
                Ok(true) => {
                    reload_ended(Reload::Ok);
                    let (id, not_after) = (self.id(), self.not_after());
                    let id = id.as_ref().map(tracing::field::display);
                    let not_after = not_after.map(tracing::field::display);
                    tracing::info!(id, not_after, "new TLS files are in use");
                }
                Err(error) => {
                    reload_ended(Reload::Failed);
                    let error = format!("{error:#}");
                    tracing::warn!(
                        error,
                        "the TLS files cannot be used; those that were read before stay in use"
                    );
                }
            }
        }
    }

    /// Whether there are new files, which are in use from now on.
    fn look(&self) -> anyhow::Result<bool> {
        let Some(active) = &self.0.active else { return Ok(false) };
        let contents = active.files.read()?;
        if self.current().is_some_and(|current| current.contents == contents) {
            return Ok(false);
        }
        let clock = &self.0.settings.clock;
        let setup = contents.check(clock.now()).and_then(|checked| Setup::new(checked, clock));
        let mut refused = active.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let setup = match setup {
            Ok(setup) => setup,
            // Somebody may be about to replace one file after the other, so it is told of what is still so the next time, once.
            Err(error) => {
                let was_told = refused.take().filter(|(before, _)| *before == contents).map(|(_, told)| told);
                *refused = Some((contents, was_told.is_some()));
                return if was_told == Some(false) { Err(error) } else { Ok(false) };
            }
        };
        *refused = None;
        *active.current.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Current { contents, setup });
        Ok(true)
    }
}
