//! Calls that wait for a transfer. They hold no connection: they are woken when this process has moved the transfer, or
//! when stream `order` tells that another replica has. The stream is listened to only while a call waits for what another
//! replica may do: else Redis would send every event to each replica.
//!
//! Shared by all cores of the process: the consumer and the listener run on the first one, calls on all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use types::TransferId;

use crate::domain::transfer::Transfer;

/// A process that has applied an answer within this time applies all answers, so it need not listen to the stream.
const APPLIES_HERE: Duration = Duration::from_secs(1);

/// The calls that wait, by transfer.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    transfers: HashMap<TransferId, watch::Sender<Moves>>,
    applied_at: Option<Instant>,
}

/// How often a transfer was moved. Its row says how far it is, so its moves are only counted.
#[derive(Debug, Default, Clone, Copy)]
struct Moves {
    all: u64,
    last: u64,
}

/// How far a transfer was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Perhaps to its end: calls that wait for the end look at its row.
    ToItsEnd,
    /// On, but not to its end: only watchers are woken.
    On,
}

impl Moved {
    /// How far a transfer was moved whose row was read.
    pub(crate) const fn to(transfer: &Transfer) -> Self {
        if transfer.state.is_final() { Self::ToItsEnd } else { Self::On }
    }
}

impl Waiters {
    /// Wakes the calls that wait for these transfers.
    pub(crate) fn wake(&self, transfers: impl IntoIterator<Item = (TransferId, Moved)>) {
        let waiting = self.lock();
        for (id, moved) in transfers {
            if let Some(moves) = waiting.transfers.get(&id) {
                moves.send_modify(|moves| {
                    moves.all += 1;
                    moves.last += u64::from(moved == Moved::ToItsEnd);
                });
            }
        }
    }

    /// This process has applied answers.
    pub(super) fn applied(&self) {
        self.lock().applied_at = Some(Instant::now());
    }

    /// Whether somebody waits for what another replica may do.
    pub(crate) fn is_anybody_waiting(&self) -> bool {
        let waiting = self.lock();
        !waiting.transfers.is_empty() && waiting.applied_at.is_none_or(|at| at.elapsed() >= APPLIES_HERE)
    }

    /// Waits for a transfer from now on: what moves it later is not missed.
    pub(super) fn register(self: &Arc<Self>, id: TransferId) -> Registration {
        let moves = self.lock().transfers.entry(id).or_default().subscribe();
        let seen = *moves.borrow();
        Registration { waiters: Arc::clone(self), id, moves, seen }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// A call that waits for a transfer.
#[derive(Debug)]
pub(crate) struct Registration {
    waiters: Arc<Waiters>,
    id: TransferId,
    moves: watch::Receiver<Moves>,
    seen: Moves,
}

impl Registration {
    /// The transfer that it waits for.
    pub(super) const fn id(&self) -> TransferId {
        self.id
    }

    /// To be called before the row is read: only later moves wake.
    pub(super) fn look(&mut self) {
        self.seen = *self.moves.borrow_and_update();
    }

    /// Resolves when the transfer was moved since the last look.
    pub(super) async fn moved(&mut self) {
        let seen = self.seen.all;
        self.until(|moves| moves.all != seen).await;
    }

    /// Resolves when the transfer may have ended since the last look.
    pub(super) async fn ended(&mut self) {
        let seen = self.seen.last;
        self.until(|moves| moves.last != seen).await;
    }

    async fn until(&mut self, is_news: impl Fn(&Moves) -> bool) {
        // The sender is kept as long as there is a registration.
        if self.moves.wait_for(is_news).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        if waiting.transfers.get(&self.id).is_some_and(|moves| moves.receiver_count() == 1) {
            waiting.transfers.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use api::order::v1::{CreditConfirmRequested, OrderPaid, TransferCompleted};
    use bytes::Bytes;
    use events::cloud_event::channel_event;
    use events::recorded::Recorded;
    use events::{Aggregate, Ephemeral, Event, Headers, NewEvent};
    use futures_util::FutureExt as _;
    use prost::Name;
    use time::OffsetDateTime;
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::*;
    use crate::consumers::Moves;

    fn id(number: u128) -> TransferId {
        TransferId::from_uuid(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn a_wake_after_the_look_is_not_missed_and_nobody_stays_registered() {
        let waiters = Arc::new(Waiters::default());
        let (mut one, mut two) = (waiters.register(id(1)), waiters.register(id(1)));
        // As in the loop: the row is read after the look, and awaited afterwards.
        one.look();
        two.look();
        waiters.wake([(id(1), Moved::ToItsEnd), (id(2), Moved::ToItsEnd)]);
        one.ended().await;
        two.moved().await;
        one.look();
        assert!(one.ended().now_or_never().is_none(), "what was seen is no news");
        drop(one);
        assert!(waiters.is_anybody_waiting());
        drop(two);
        assert!(waiters.lock().transfers.is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_the_end_is_not_woken_on_the_way() {
        let waiters = Arc::new(Waiters::default());
        let (mut caller, mut watcher) = (waiters.register(id(1)), waiters.register(id(1)));
        waiters.wake([(id(1), Moved::On)]);
        assert!(caller.ended().now_or_never().is_none());
        watcher.moved().await;
        waiters.wake([(id(1), Moved::ToItsEnd)]);
        caller.ended().await;
    }

    fn told(position: i64, kind: &str, payload: &impl Name) -> Bytes {
        let event_id = |position: i64| Uuid::from_u128(position.unsigned_abs().into()).into();
        let aggregate = Aggregate::new(kind, id(1));
        channel_event(&Event {
            stream: "order".to_owned(),
            epoch: Uuid::nil(),
            position,
            previous: (position > 1).then(|| event_id(position - 1)),
            new: NewEvent::new(
                event_id(position),
                aggregate,
                position,
                payload,
                Headers::default(),
                OffsetDateTime::UNIX_EPOCH,
            ),
        })
    }

    async fn hear(waiters: &Arc<Waiters>, published: Vec<Bytes>) {
        let stop = CancellationToken::new();
        let listening =
            Ephemeral::new(["order".to_owned()], Recorded::new(published), Moves::new(Arc::clone(waiters)));
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            stop.cancel();
        };
        tokio::join!(listening.run(stop.clone()), stopping);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_replica_has_moved_is_heard_on_the_stream() {
        let waiters = Arc::new(Waiters::default());
        let (mut caller, mut watcher) = (waiters.register(id(1)), waiters.register(id(1)));
        let transfer_id = id(1).to_string();
        let confirming = CreditConfirmRequested { transfer_id: transfer_id.clone() };
        let paid = OrderPaid { transfer_id: transfer_id.clone(), ..OrderPaid::default() };
        hear(&waiters, vec![told(1, "order", &paid)]).await;
        assert!(watcher.moved().now_or_never().is_none(), "an order of the same id is no transfer");
        hear(&waiters, vec![told(1, "order", &paid), told(2, "transfer", &confirming)]).await;
        assert!(watcher.moved().now_or_never().is_some());
        assert!(caller.ended().now_or_never().is_none());
        hear(&waiters, vec![told(3, "transfer", &TransferCompleted { transfer_id })]).await;
        assert!(caller.ended().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_process_that_applies_the_answers_has_nothing_to_hear() {
        let waiters = Arc::new(Waiters::default());
        assert!(!waiters.is_anybody_waiting());
        let _waiting = waiters.register(id(1));
        assert!(waiters.is_anybody_waiting());
        waiters.applied();
        assert!(!waiters.is_anybody_waiting());
        tokio::time::advance(APPLIES_HERE).await;
        assert!(waiters.is_anybody_waiting(), "another replica may apply them by now");
    }
}
