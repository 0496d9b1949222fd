//! Calls that wait for a transfer to move. They hold no connection: they are woken when this process has moved
//! it, and look again every 250 ms, because another replica may have.
//!
//! Shared by all cores of the process: the consumer runs on the first one, calls on all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use types::TransferId;

use super::Coordinator;
use crate::domain::transfer::Transfer;
use crate::error::{Error, Result};

/// How often a waiting call looks for itself.
const LOOK: Duration = Duration::from_millis(250);
/// The time that a call keeps for its answer, or a fifth of what it has.
const RESERVE_MAX: Duration = Duration::from_millis(150);

/// Who waits for which transfer.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<TransferId, Waited>>);

#[derive(Debug, Default)]
struct Waited {
    moved: Arc<Notify>,
    waiting: usize,
}

impl Waiters {
    /// Wakes whoever waits for these.
    pub(crate) fn wake(&self, transfers: impl IntoIterator<Item = TransferId>) {
        let waited = self.0.lock().expect("no holder of this lock panics");
        for id in transfers {
            if let Some(waited) = waited.get(&id) {
                waited.moved.notify_waiters();
            }
        }
    }

    fn register(self: &Arc<Self>, id: TransferId) -> Registration {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        let waited = all.entry(id).or_default();
        waited.waiting += 1;
        Registration { waiters: Arc::clone(self), id, moved: Arc::clone(&waited.moved) }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Registration {
    waiters: Arc<Waiters>,
    id: TransferId,
    moved: Arc<Notify>,
}

impl Registration {
    /// Resolves when the transfer was moved after this call, or it is time to look.
    fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut all = self.waiters.0.lock().expect("no holder of this lock panics");
        if let Some(waited) = all.get_mut(&self.id) {
            waited.waiting -= 1;
            if waited.waiting == 0 {
                all.remove(&self.id);
            }
        }
    }
}

impl Coordinator {
    /// Waits for a transfer's end, at the most until shortly before `deadline`.
    ///
    /// # Errors
    /// [`Error::InProgress`] when it has not ended by then; it goes on.
    pub(crate) async fn ended(&self, id: TransferId, deadline: Option<Instant>) -> Result<Transfer> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let patience = left.map_or(self.config.transfer_deadline, |left| left - RESERVE_MAX.min(left / 5));
        let until = Instant::now() + patience;
        let waiting = self.waiters.register(id);
        loop {
            let moved = waiting.moved();
            let transfer = self.store.transfer_fetch(id).await?.ok_or(Error::TransferNotFound(id))?;
            if transfer.state.is_final() {
                return Ok(transfer);
            }
            let look = Instant::now() + LOOK.mul_f64(0.8 + 0.4 * fastrand::f64());
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep_until(look.min(until)) => {}
            }
            if Instant::now() >= until {
                return Err(Error::InProgress(id));
            }
        }
    }

    /// Waits until a transfer is no longer at `version`.
    pub(crate) async fn changed(&self, id: TransferId, version: i64) -> Result<Transfer> {
        let waiting = self.waiters.register(id);
        loop {
            let moved = waiting.moved();
            let transfer = self.store.transfer_fetch(id).await?.ok_or(Error::TransferNotFound(id))?;
            if transfer.version != version {
                return Ok(transfer);
            }
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep(LOOK.mul_f64(0.8 + 0.4 * fastrand::f64())) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_wake_after_the_look_is_not_missed_and_nobody_stays_registered() {
        let waiters = Arc::new(Waiters::default());
        let id = TransferId::from_uuid(Uuid::from_u128(1));
        let (one, two) = (waiters.register(id), waiters.register(id));
        // As in the loop: taken before the row is read, awaited after.
        let (first, second) = (one.moved(), two.moved());
        waiters.wake([id, TransferId::from_uuid(Uuid::from_u128(2))]);
        first.await;
        second.await;
        drop(one);
        assert_eq!(waiters.len(), 1);
        drop(two);
        assert_eq!(waiters.len(), 0);
    }
}
