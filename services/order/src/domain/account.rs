//! A merchant's account and its book: what may be reserved, how an entry is made, and how the chain of
//! hashes over an account's entries is computed. Pure; `storage/accounts.rs` locks and writes.
//!
//! A balance is the sum of an account's entries. `held` is what running refunds will take, `incoming` what
//! reserved credits will bring: both bound what else may be reserved, so that posting can never fail.

use events::{Direction, Refusal};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use types::{BALANCE_MAX, Currency, Money, OrderId, TransferId, UserId};

use super::transfer::Kind;

/// The hash before the first entry.
pub(crate) const FIRST_HASH: [u8; 32] = [0; 32];

/// Whose account in which currency: accounts are locked in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AccountKey {
    /// The merchant.
    pub(crate) owner_id: UserId,
    /// The currency.
    pub(crate) currency: Currency,
}

/// An account as it is under its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Whose, in which currency.
    pub(crate) key: AccountKey,
    /// The sum of all entries.
    pub(crate) balance: i64,
    /// Reserved to leave; part of the balance.
    pub(crate) held: i64,
    /// Reserved to arrive; not part of the balance.
    pub(crate) incoming: i64,
    /// Entries so far.
    pub(crate) sequence: i64,
    /// The hash of the last entry.
    pub(crate) last_hash: [u8; 32],
    /// When the last entry was made.
    pub(crate) updated_at: Option<OffsetDateTime>,
}

/// What moves between an account and `transit`, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posting {
    /// The transfer: it has one posting in this book at the most, so its id names the posting too.
    pub(crate) transfer_id: TransferId,
    /// The order.
    pub(crate) order_id: OrderId,
    /// What it is for.
    pub(crate) kind: Kind,
    /// When.
    pub(crate) at: OffsetDateTime,
}

/// One line of an account's book. The other side of its posting is a line of `transit`, which has no balance
/// of its own and no chain: every transfer writes there, so a row for it would make them all wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The account.
    pub(crate) account: AccountKey,
    /// Counts the account's entries from 1.
    pub(crate) sequence: i64,
    /// What it is part of.
    pub(crate) posting: Posting,
    /// Negative when money leaves the account.
    pub(crate) amount: i64,
    /// The balance after it.
    pub(crate) balance_after: i64,
    /// SHA-256 of the entry and the hash before.
    pub(crate) hash: [u8; 32],
}

impl Account {
    /// An account without entries.
    pub(crate) const fn empty(key: AccountKey) -> Self {
        Self { key, balance: 0, held: 0, incoming: 0, sequence: 0, last_hash: FIRST_HASH, updated_at: None }
    }

    /// What can leave.
    pub(crate) const fn available(&self) -> i64 {
        self.balance - self.held
    }

    /// Whether an amount could arrive as well as all that is reserved to.
    pub(crate) fn has_room_for(&self, amount: i64) -> bool {
        i128::from(self.balance) + i128::from(self.incoming) + i128::from(amount) <= i128::from(BALANCE_MAX)
    }

    /// Sets an amount aside.
    pub(crate) fn reserve(&mut self, direction: Direction, amount: i64) -> Result<(), Refusal> {
        match direction {
            Direction::Debit if self.available() < amount => Err(Refusal::InsufficientCredit),
            Direction::Debit => {
                self.held += amount;
                Ok(())
            }
            Direction::Credit if !self.has_room_for(amount) => Err(Refusal::BalanceLimit),
            Direction::Credit => {
                self.incoming += amount;
                Ok(())
            }
        }
    }

    /// Gives back what [`Account::reserve`] set aside.
    pub(crate) fn release(&mut self, direction: Direction, amount: i64) {
        match direction {
            Direction::Debit => self.held -= amount,
            Direction::Credit => self.incoming -= amount,
        }
    }

    /// Moves an amount that was reserved.
    pub(crate) fn post(&mut self, direction: Direction, amount: i64, posting: Posting) -> Entry {
        self.release(direction, amount);
        self.enter(
            match direction {
                Direction::Debit => -amount,
                Direction::Credit => amount,
            },
            posting,
        )
    }

    /// Lets an amount arrive that was not reserved.
    pub(crate) fn credit(&mut self, amount: i64, posting: Posting) -> Result<Entry, Refusal> {
        if self.has_room_for(amount) { Ok(self.enter(amount, posting)) } else { Err(Refusal::BalanceLimit) }
    }

    fn enter(&mut self, amount: i64, posting: Posting) -> Entry {
        self.balance += amount;
        self.sequence += 1;
        self.updated_at = Some(posting.at);
        let mut entry = Entry {
            account: self.key,
            sequence: self.sequence,
            posting,
            amount,
            balance_after: self.balance,
            hash: FIRST_HASH,
        };
        entry.hash = entry.chained_to(&self.last_hash);
        self.last_hash = entry.hash;
        entry
    }
}

impl Entry {
    /// The hash that this entry must have after one with the hash `previous`. Every part has a fixed length,
    /// so no two entries look the same.
    pub(crate) fn chained_to(&self, previous: &[u8; 32]) -> [u8; 32] {
        let micros = self.posting.at.unix_timestamp_nanos() / 1_000;
        Sha256::new()
            .chain_update(previous)
            .chain_update(self.account.owner_id.uuid().as_bytes())
            .chain_update(self.account.currency.code())
            .chain_update(self.sequence.to_be_bytes())
            .chain_update(self.posting.transfer_id.uuid().as_bytes())
            .chain_update(self.posting.order_id.uuid().as_bytes())
            .chain_update([match self.posting.kind {
                Kind::Pay => 1,
                Kind::Refund => 2,
            }])
            .chain_update(self.amount.to_be_bytes())
            .chain_update(self.balance_after.to_be_bytes())
            .chain_update(micros.to_be_bytes())
            .finalize()
            .into()
    }
}

impl AccountKey {
    /// The account that holds `money`'s currency for an owner.
    pub(crate) const fn of(owner_id: UserId, money: Money) -> Self {
        Self { owner_id, currency: money.currency }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn account() -> Account {
        let owner_id = Uuid::from_u128(1).into();
        Account::empty(AccountKey { owner_id, currency: "EUR".parse().unwrap() })
    }

    fn posting(number: u128) -> Posting {
        Posting {
            transfer_id: Uuid::from_u128(number).into(),
            order_id: Uuid::from_u128(7).into(),
            kind: Kind::Pay,
            at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_held_cannot_be_held_again() {
        let mut account = account();
        account.credit(100, posting(1)).unwrap();
        account.reserve(Direction::Debit, 60).unwrap();
        assert_eq!(account.reserve(Direction::Debit, 41), Err(Refusal::InsufficientCredit));
        account.reserve(Direction::Debit, 40).unwrap();
        account.release(Direction::Debit, 40);
        let entry = account.post(Direction::Debit, 60, posting(2));
        assert_eq!((entry.amount, entry.balance_after, entry.sequence), (-60, 40, 2));
        assert_eq!((account.balance, account.held, account.available()), (40, 0, 40));
    }

    #[test]
    fn what_is_on_its_way_counts_against_the_limit() {
        let mut account = account();
        account.reserve(Direction::Credit, BALANCE_MAX - 1).unwrap();
        assert_eq!(account.reserve(Direction::Credit, 2), Err(Refusal::BalanceLimit));
        assert_eq!(account.credit(2, posting(1)), Err(Refusal::BalanceLimit));
        assert!(!account.has_room_for(i64::MAX));
        account.credit(1, posting(1)).unwrap();
        let entry = account.post(Direction::Credit, BALANCE_MAX - 1, posting(2));
        assert_eq!(entry.balance_after, BALANCE_MAX);
    }

    #[test]
    fn a_changed_entry_breaks_the_chain() {
        let mut account = account();
        let first = account.credit(5, posting(1)).unwrap();
        let second = account.credit(6, posting(2)).unwrap();
        assert_eq!(first.chained_to(&FIRST_HASH), first.hash);
        assert_eq!(second.chained_to(&first.hash), second.hash);
        let mut forged = vec![first.clone(); 6];
        forged[0].amount = 50;
        forged[1].balance_after = 50;
        forged[2].sequence = 2;
        forged[3].posting.transfer_id = Uuid::from_u128(9).into();
        forged[4].posting.kind = Kind::Refund;
        forged[5].posting.at += time::Duration::microseconds(1);
        for entry in forged {
            assert_ne!(entry.chained_to(&FIRST_HASH), first.hash, "{entry:?}");
        }
    }
}
