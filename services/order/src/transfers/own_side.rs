//! This service as a participant of its own transfers: the same table as the wallet's owner has, on rows that
//! [`super::work::Work`] has locked and writes back together.

use std::collections::{BTreeMap, BTreeSet};

use events::{Hold, HoldSpec, ParticipantTx, Refusal, StoreError};
use time::OffsetDateTime;
use types::TransferId;

use crate::domain::account::{Account, AccountKey, Entry, Posting};
use crate::error::{Error, Result};
use crate::storage::{Tx, posting_of};

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
