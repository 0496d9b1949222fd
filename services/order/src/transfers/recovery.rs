//! Looks after transfers that do not move by themselves: cancels what nobody decided in time, and calls an
//! operator for what was decided and does not end. It appends no command again, because the stream keeps the
//! first one; only an operator's retry does. Runs in every replica, all the time, not only at a start.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Coordinator;
use super::decide::Lease;
use super::looks::delay;
use super::messages::headers;
use super::metrics::{self, Unfinished};
use super::waiters::Moved;
use super::work::TransferInput;
use crate::domain::transfer::{Decision, Input};
use crate::error::{Error, Result};
use crate::storage::{Claim, Look};

/// Claims of one tick.
const BATCH: i64 = 16;
/// Claims that are worked on side by side.
const CONCURRENCY: usize = 4;
/// The time for one of them, so that one that waits for a lock does not keep the others waiting.
const EACH_WITHIN: Duration = Duration::from_secs(1);
/// Longer than a whole batch can take, even when each claim fails to be recovered and then to be given back. A worker
/// that is slower than that is stopped by the fence.
const LEASE: Duration = Duration::from_secs(10);
const _: () = {
    let rounds = BATCH.cast_unsigned().div_ceil(CONCURRENCY as u64);
    assert!(rounds * 2 * EACH_WITHIN.as_secs() < LEASE.as_secs());
};
const AGES_EVERY: Duration = Duration::from_secs(10);

/// The recovery worker of one process.
pub(crate) struct Recovery {
    coordinator: Coordinator,
    owner: Uuid,
}

impl Recovery {
    /// A worker with a name of its own.
    pub(crate) fn new(coordinator: Coordinator) -> Self {
        Self { coordinator, owner: Uuid::new_v4() }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let poll = self.coordinator.config.recovery_poll;
        metrics::begin();
        let mut ages_at = Instant::now();
        let mut unfinished = None;
        loop {
            let full = match self.tick().await {
                Ok(claimed) => i64::try_from(claimed).is_ok_and(|claimed| claimed >= BATCH),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot claim transfers now");
                    false
                }
            };
            if Instant::now() >= ages_at {
                ages_at = Instant::now() + AGES_EVERY;
                self.tell_ages(&mut unfinished).await;
            }
            let pause = if full { Duration::ZERO } else { poll.mul_f64(0.5 + fastrand::f64()) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims what is due and works on it; tells how many it claimed. One that fails is nobody else's problem.
    pub(crate) async fn tick(&self) -> Result<usize> {
        let claims = self.coordinator.store.transfers_claim(self.owner, LEASE, BATCH).await?;
        let claimed = claims.len();
        if claimed > 0 {
            fault::point!("recovery.claimed", "order");
        }
        futures_util::stream::iter(&claims)
            .for_each_concurrent(CONCURRENCY, |claim| async {
                // What it does is a trace of its own: the call that began the transfer is long over.
                let span = tracing::info_span!("transfer.recover", transfer.id = %claim.transfer.id);
                let recovered = timeout(EACH_WITHIN, self.recover(claim).instrument(span)).await;
                if let Err(error) = recovered.unwrap_or_else(|_| Err(Error::unavailable("it took too long")))
                {
                    self.failed(claim, &error).await;
                }
            })
            .await;
        Ok(claimed)
    }

    async fn recover(&self, claim: &Claim) -> Result<()> {
        let transfer = &claim.transfer;
        match transfer.decision() {
            None if claim.late => {
                let (transfer_id, headers) = (transfer.id, headers(None));
                let input = TransferInput { transfer_id, input: Input::Expiry, headers };
                let lease = Lease { owner: self.owner, fence: claim.fence };
                let (_, acted_on) = self.coordinator.act("recover_transfer", &input, Some(lease)).await?;
                if acted_on.is_none() {
                    tracing::info!(transfer.id = %transfer.id, "another worker has the transfer by now");
                }
                Ok(())
            }
            None => self.wait(claim, "undecided, and its time is not over").await,
            Some(Decision::Confirm) => self.wait(claim, "the wallet's owner has not confirmed yet").await,
            Some(Decision::Cancel) => self.wait(claim, "the wallet's owner has not released yet").await,
        }
    }

    async fn failed(&self, claim: &Claim, error: &Error) {
        tracing::warn!(transfer.id = %claim.transfer.id, error = error as &dyn std::error::Error,
            "a transfer could not be recovered now");
        if !matches!(timeout(EACH_WITHIN, self.wait(claim, &error.to_string())).await, Ok(Ok(()))) {
            tracing::debug!(transfer.id = %claim.transfer.id, "kept the claim until its lease runs out");
        }
    }

    async fn wait(&self, claim: &Claim, what: &str) -> Result<()> {
        let config = &self.coordinator.config;
        let transfer = &claim.transfer;
        let exhausted = transfer.attempts >= config.attempts_budget;
        if exhausted && !transfer.needs_operator {
            tracing::error!(transfer.id = %transfer.id, state = %transfer.state, attempts = transfer.attempts,
                what, "a transfer needs an operator");
        }
        let look = Look {
            again_after: delay(config.look_after, config.look_cap, transfer.attempts),
            error: what,
            needs_operator: exhausted,
        };
        if self.coordinator.store.transfer_look_again(claim, self.owner, look).await? && exhausted {
            self.coordinator.waiters.wake([(transfer.id, Moved::On)]);
        }
        Ok(())
    }

    async fn tell_ages(&self, unfinished: &mut Option<Unfinished>) {
        let Ok(ages) = self.coordinator.store.transfer_ages().await else {
            *unfinished = None;
            return;
        };
        unfinished.get_or_insert_with(Unfinished::new).is(&ages);
        let limit = self.coordinator.config.transfer_deadline + self.coordinator.config.look_cap;
        let old = |age: Option<f64>| age.is_some_and(|age| age > limit.as_secs_f64());
        if old(ages.undecided_seconds) || old(ages.unfinished_seconds) || ages.needs_operator > 0 {
            tracing::warn!(
                transfers_oldest_undecided_seconds = ages.undecided_seconds,
                transfers_oldest_unfinished_seconds = ages.unfinished_seconds,
                transfers_needing_operator = ages.needs_operator,
                "transfers do not end"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use testkit::TestPostgres;
    use types::SystemIds;

    use super::*;
    use crate::config::{PostgresConfig, TransferConfig};
    use crate::storage::{Signals, Store, Use, schema};

    /// With the schema, and as workers see it.
    async fn database() -> (TestPostgres, Store) {
        let database = TestPostgres::create().await.unwrap();
        let config = PostgresConfig::for_tests(database.url());
        schema::migrate(&config).await.unwrap();
        let store = Store::open(&config, Use::Workers, Arc::<Signals>::default()).unwrap();
        (database, store)
    }

    async fn execute(store: &Store, statement: &'static str) -> u64 {
        store.read().await.unwrap().execute(sqlx::query(statement)).await.unwrap()
    }

    /// Nothing that recovery does can mend it, so it must not come back at once.
    #[tokio::test]
    async fn a_contradiction_is_looked_at_again_later_and_later() {
        let (_database, store) = database().await;
        // The hold of a refund that nobody has decided is posted.
        execute(
            &store,
            "WITH paid AS (
                 INSERT INTO orders (id, customer_id, seller_id, state, currency, total_minor_units, paid_minor_units,
                                     refund_pending_minor_units, payer_id, version, event_version, created_at,
                                     updated_at)
                 SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'paid', 'EUR', 5, 5, 5,
                        gen_random_uuid(), 3, 2, now(), now()
                 RETURNING *),
             refund AS (
                 INSERT INTO transfers (id, principal, method, request_id, fingerprint, kind, order_id,
                                        wallet_user_id, account_owner_id, amount, currency, state, deadline,
                                        created_at, updated_at, next_attempt_at, event_version)
                 SELECT gen_random_uuid(), 'p', 'm', gen_random_uuid(), decode(repeat('00', 32), 'hex'), 'refund', id,
                        payer_id, seller_id, 5, 'EUR', 'reserving', now(), now(), now(), now(), 0
                 FROM paid RETURNING *)
             INSERT INTO holds (transfer_id, owner_id, direction, amount, currency, order_id, expires_at, state,
                                version)
             SELECT id, account_owner_id, 'debit', amount, currency, order_id, deadline, 'posted', 2 FROM refund",
        )
        .await;
        let transfers = TransferConfig { look_after: Duration::from_secs(60), ..TransferConfig::default() };
        let coordinator = Coordinator::new(store.clone(), Arc::new(SystemIds), Arc::default(), transfers);
        let recovery = Recovery::new(coordinator);
        let due = "UPDATE transfers SET next_attempt_at = now(), lease_until = NULL";
        for attempts in 1..=2 {
            assert_eq!(recovery.tick().await.unwrap(), 1);
            assert_eq!(recovery.tick().await.unwrap(), 0, "at once, for the {attempts}. time");
            let query = sqlx::query(
                "SELECT attempts, version, next_attempt_at > now() AND lease_owner IS NULL AS waits, last_error
                 FROM transfers WHERE needs_operator",
            );
            let row: Option<(i32, i64, bool, String)> = store.read().await.unwrap().row(query).await.unwrap();
            let said = "this side cannot release: Impossible(Some(Posted))".to_owned();
            assert_eq!(row, Some((attempts, 2, true, said)), "a watcher is told once");
            execute(&store, due).await;
        }
        // Whoever counts what operators have to look at finds it also when it has ended.
        let end =
            "UPDATE transfers SET state = 'cancelled', decision = 'cancel', reason = 'TRANSFER_EXPIRED',
                                        decided_at = now(), next_attempt_at = NULL";
        execute(&store, end).await;
        let ages = store.transfer_ages().await.unwrap();
        assert_eq!((ages.needs_operator, ages.undecided_seconds), (1, None));
    }

    /// A worker that was paused past its lease comes back and finds its claim taken: it writes nothing, though
    /// the transfer is as undecided and as late as when it was claimed.
    #[tokio::test]
    async fn a_worker_whose_claim_was_taken_over_writes_nothing() {
        let (_database, store) = database().await;
        execute(
            &store,
            "WITH placed AS (
                 INSERT INTO orders (id, customer_id, seller_id, state, currency, total_minor_units, version,
                                     event_version, created_at, updated_at)
                 SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'payment_pending', 'EUR', 5, 2, 1,
                        now(), now()
                 RETURNING *)
             INSERT INTO transfers (id, principal, method, request_id, fingerprint, kind, order_id, wallet_user_id,
                                    account_owner_id, amount, currency, state, deadline, created_at, updated_at,
                                    next_attempt_at, event_version)
             SELECT gen_random_uuid(), 'p', 'm', gen_random_uuid(), decode(repeat('00', 32), 'hex'), 'pay', id,
                    customer_id, seller_id, 5, 'EUR', 'reserving', now(), now(), now(), now(), 0
             FROM placed",
        )
        .await;
        let coordinator =
            Coordinator::new(store.clone(), Arc::new(SystemIds), Arc::default(), TransferConfig::default());
        let (paused, other) = (Recovery::new(coordinator.clone()), Recovery::new(coordinator));
        let claims = store.transfers_claim(paused.owner, LEASE, BATCH).await.unwrap();
        assert_eq!((claims.len(), claims[0].late), (1, true));
        assert!(store.transfers_claim(other.owner, LEASE, BATCH).await.unwrap().is_empty());

        assert_eq!(
            execute(&store, "UPDATE transfers SET lease_until = now() - interval '1 second'").await,
            1
        );
        let taken = store.transfers_claim(other.owner, LEASE, BATCH).await.unwrap();
        assert_eq!((taken.len(), taken[0].fence), (1, claims[0].fence + 1));
        paused.recover(&claims[0]).await.unwrap();
        paused.wait(&claims[0], "too late").await.unwrap();
        let id = claims[0].transfer.id;
        let untouched = store.transfer_fetch(id).await.unwrap().unwrap();
        assert_eq!((untouched.decision(), untouched.last_error.as_str()), (None, ""));

        other.recover(&taken[0]).await.unwrap();
        let decided = store.transfer_fetch(id).await.unwrap().unwrap();
        assert_eq!(decided.decision(), Some(Decision::Cancel));
    }
}
