//! This service as a participant of its own transfers: the same table as the wallet's owner has, on rows that were
//! locked before and are written back together. Every hold of this side goes this way: a refund begins one, and
//! [`super::work::Work`] ends those of many at once.

use std::collections::{BTreeMap, BTreeSet};

use events::{Direction, Hold, HoldSpec, ParticipantTx, Refusal, StoreError};
use time::OffsetDateTime;
use types::TransferId;

use crate::domain::account::{Account, AccountKey, Entry, Posting};
use crate::domain::transfer::Kind;
use crate::error::{Error, Result};
use crate::storage::Tx;

/// Holds and accounts under their locks.
pub(super) struct OwnSide {
    now: OffsetDateTime,
    holds: BTreeMap<TransferId, Hold>,
    accounts: BTreeMap<AccountKey, Account>,
    inserted_holds: BTreeSet<TransferId>,
    updated_holds: BTreeSet<TransferId>,
    changed_accounts: BTreeSet<AccountKey>,
    entries: Vec<Entry>,
}

impl OwnSide {
    pub(super) fn new(now: OffsetDateTime, holds: Vec<Hold>, accounts: Vec<Account>) -> Self {
        Self {
            now,
            holds: holds.into_iter().map(|hold| (hold.transfer_id, hold)).collect(),
            accounts: accounts.into_iter().map(|account| (account.key, account)).collect(),
            inserted_holds: BTreeSet::new(),
            updated_holds: BTreeSet::new(),
            changed_accounts: BTreeSet::new(),
            entries: Vec::new(),
        }
    }

    /// Lets a payment arrive. It has no hold: one would lock the merchant's account when each payment starts
    /// as well, and the decision can still become CANCEL when there is no room.
    pub(super) fn credit(
        &mut self,
        key: AccountKey,
        amount: i64,
        posting: Posting,
    ) -> Result<Result<(), Refusal>> {
        match self.account(key)?.credit(amount, posting) {
            Ok(entry) => {
                self.entries.push(entry);
                self.changed_accounts.insert(key);
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    pub(super) async fn save(&self, tx: &mut Tx) -> Result<()> {
        for id in &self.inserted_holds {
            tx.hold_insert(self.hold(*id)?).await?;
        }
        let holds = self.updated_holds.iter().map(|id| self.hold(*id)).collect::<Result<Vec<_>>>()?;
        if !holds.is_empty() {
            tx.holds_update(&holds).await?;
        }
        let accounts: Vec<&Account> =
            self.changed_accounts.iter().filter_map(|key| self.accounts.get(key)).collect();
        if !accounts.is_empty() {
            tx.accounts_update(&accounts).await?;
        }
        if !self.entries.is_empty() {
            tx.entries_insert(&self.entries).await?;
        }
        Ok(())
    }

    fn hold(&self, id: TransferId) -> Result<&Hold> {
        self.holds.get(&id).ok_or_else(|| Error::internal(format!("hold {id} was not locked")))
    }

    fn account(&mut self, key: AccountKey) -> Result<&mut Account> {
        self.accounts.get_mut(&key).ok_or_else(|| {
            Error::internal(format!("account {} {} was not locked", key.owner_id, key.currency))
        })
    }
}

impl ParticipantTx for OwnSide {
    async fn hold_fetch(&mut self, transfer_id: TransferId) -> Result<Option<Hold>, StoreError> {
        Ok(self.holds.get(&transfer_id).cloned())
    }

    async fn hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.holds.insert(hold.transfer_id, hold.clone());
        self.inserted_holds.insert(hold.transfer_id);
        Ok(())
    }

    async fn hold_update(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.holds.insert(hold.transfer_id, hold.clone());
        self.updated_holds.insert(hold.transfer_id);
        Ok(())
    }

    async fn balance_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>, StoreError> {
        let key = AccountKey::of(spec.owner, spec.amount);
        let reserved = self.account(key)?.reserve(spec.direction, spec.amount.minor_units);
        if reserved.is_ok() {
            self.changed_accounts.insert(key);
        }
        Ok(reserved)
    }

    async fn balance_release(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        let key = AccountKey::of(spec.owner, spec.amount);
        self.account(key)?.release(spec.direction, spec.amount.minor_units);
        self.changed_accounts.insert(key);
        Ok(())
    }

    async fn balance_post(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        let posting = posting_of(spec, self.now);
        let key = AccountKey::of(spec.owner, spec.amount);
        let entry = self.account(key)?.post(spec.direction, spec.amount.minor_units, posting);
        self.entries.push(entry);
        self.changed_accounts.insert(key);
        Ok(())
    }
}

/// What posting a hold enters into the book.
const fn posting_of(spec: &HoldSpec, at: OffsetDateTime) -> Posting {
    let kind = match spec.direction {
        Direction::Debit => Kind::Refund,
        Direction::Credit => Kind::Pay,
    };
    Posting { transfer_id: spec.transfer_id, order_id: spec.order_id, kind, at }
}

/// The participant's conformance suite on merchants' accounts.
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use events::conformance::participant::{self, Balance, ParticipantHarness};
    use fault::Flaw;
    use testkit::TestPostgres;
    use time::Duration;
    use types::{Money, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::config::PostgresConfig;
    use crate::storage::{Signals, Store, Use, schema};

    struct Harness {
        _database: TestPostgres,
        store: Store,
    }

    impl Harness {
        async fn start() -> Self {
            let database = TestPostgres::create().await.unwrap();
            let config = PostgresConfig::for_tests(database.url());
            schema::migrate(&config).await.unwrap();
            let store = Store::open(&config, Use::Workers, Arc::<Signals>::default()).unwrap();
            Self { _database: database, store }
        }
    }

    /// Locks what a step needs as it becomes known, in the order that holds everywhere: the hold, the account.
    struct Locking {
        tx: Tx,
        own: OwnSide,
    }

    fn nothing_locked() -> OwnSide {
        OwnSide::new(now(), Vec::new(), Vec::new())
    }

    /// PostgreSQL keeps microseconds: what is compared must survive that.
    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap() + Duration::microseconds(7)
    }

    impl Locking {
        async fn lock(&mut self, holds: Vec<Hold>, spec: Option<&HoldSpec>) -> Result<()> {
            let keys: BTreeSet<_> =
                spec.map(|spec| AccountKey::of(spec.owner, spec.amount)).into_iter().collect();
            let accounts = if keys.is_empty() { Vec::new() } else { self.tx.accounts_lock(&keys).await? };
            self.own = OwnSide::new(now(), holds, accounts);
            Ok(())
        }
    }

    impl ParticipantTx for Locking {
        async fn hold_fetch(&mut self, transfer_id: TransferId) -> Result<Option<Hold>, StoreError> {
            let holds = self.tx.holds_lock(&BTreeSet::from([transfer_id])).await?;
            let spec = holds.first().and_then(|hold| hold.spec.clone());
            self.lock(holds, spec.as_ref()).await?;
            self.own.hold_fetch(transfer_id).await
        }

        async fn hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
            self.own.hold_insert(hold).await
        }

        async fn hold_update(&mut self, hold: &Hold) -> Result<(), StoreError> {
            self.own.hold_update(hold).await
        }

        async fn balance_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>, StoreError> {
            self.lock(Vec::new(), Some(spec)).await?;
            self.own.balance_reserve(spec).await
        }

        async fn balance_release(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
            self.own.balance_release(spec).await
        }

        async fn balance_post(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
            self.own.balance_post(spec).await
        }
    }

    impl ParticipantHarness for Harness {
        type Tx = Locking;

        async fn begin(&self) -> Result<Locking, StoreError> {
            Ok(Locking { tx: self.store.begin().await?, own: nothing_locked() })
        }

        async fn commit(&self, Locking { mut tx, own }: Locking) -> Result<(), StoreError> {
            let saved = own.save(&mut tx).await;
            if let Err(error) = saved {
                tx.rollback().await;
                return Err(error.into());
            }
            Ok(tx.commit_now().await?)
        }

        async fn rollback(&self, Locking { mut tx, own }: Locking) {
            // There must be something to roll back. After a failure the transaction is lost anyway.
            drop(own.save(&mut tx).await);
            tx.rollback().await;
        }

        async fn open(&self, funds: Money) -> UserId {
            let owner = UserId::from_uuid(Uuid::now_v7());
            let key = AccountKey::of(owner, funds);
            let mut tx = self.store.begin().await.unwrap();
            let accounts = tx.accounts_lock(&BTreeSet::from([key])).await.unwrap();
            let mut own = OwnSide::new(now(), Vec::new(), accounts);
            let (transfer_id, order_id) = (Uuid::now_v7().into(), Uuid::now_v7().into());
            let posting = Posting { transfer_id, order_id, kind: Kind::Pay, at: now() };
            own.credit(key, funds.minor_units, posting).unwrap().unwrap();
            own.save(&mut tx).await.unwrap();
            tx.commit_now().await.unwrap();
            owner
        }

        async fn transfer(&self, owner: UserId, direction: Direction, amount: Money) -> HoldSpec {
            let (transfer_id, order_id) = (Uuid::now_v7().into(), Uuid::now_v7().into());
            HoldSpec { transfer_id, owner, direction, amount, expires_at: now(), order_id }
        }

        async fn balance(&self, owner: UserId) -> Balance {
            let query = "SELECT coalesce(sum(balance), 0)::bigint, coalesce(sum(balance - held), 0)::bigint
                         FROM accounts WHERE owner_id = $1";
            let query = sqlx::query(query).bind(owner.uuid());
            let (ledger, available) = self.store.read().await.unwrap().row(query).await.unwrap().unwrap();
            Balance { ledger, available }
        }

        async fn hold(&self, transfer_id: TransferId) -> Option<Hold> {
            let mut tx = self.store.begin().await.unwrap();
            let hold = tx.holds_lock(&BTreeSet::from([transfer_id])).await.unwrap().pop();
            tx.rollback().await;
            hold
        }

        async fn book_imbalance(&self) -> i64 {
            let query = sqlx::query("SELECT coalesce(sum(debit) - sum(credit), 0)::bigint FROM entries");
            let (imbalance,) = self.store.read().await.unwrap().row(query).await.unwrap().unwrap();
            imbalance
        }
    }

    events::participant_suite!(Harness::start);

    #[tokio::test]
    async fn a_cancel_that_leaves_no_tombstone_is_caught() {
        let late = participant::a_reserve_that_comes_after_its_cancel_holds_nothing(Harness::start().await);
        let said = Flaw::NoTombstone.caught_by(Box::pin(late)).await;
        assert!(said.contains("what comes after its cancel holds nothing"), "{said}");
        let table = participant::every_cell_of_the_table_does_what_it_says(Harness::start().await);
        let said = Flaw::NoTombstone.caught_by(Box::pin(table)).await;
        assert!(said.contains("Debit, [], then Cancel"), "{said}");
    }
}
