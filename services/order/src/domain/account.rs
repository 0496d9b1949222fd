//! A merchant's account and its book: what may be reserved, how an entry is made, and how the chain of
//! hashes over an account's entries is computed. Pure; `storage/accounts.rs` locks and writes.
//!
//! A balance is the sum of an account's entries. `held` is what running refunds will take, `incoming` what
//! reserved credits will bring: both bound what else may be reserved, so that posting can never fail.

use bookkeeping::{Chain, Entry as _, GENESIS, Hash};
use events::{Direction, Refusal};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use types::{BALANCE_MAX, Currency, Money, OrderId, PostingId, TransferId, UserId};

use super::transfer::Kind;

/// Why an account is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountRefused {
    /// The user has no account that the caller may see.
    #[error("there is no such account")]
    NotFound(UserId),
}

/// Whose account in which currency: accounts are locked in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AccountKey {
    pub(crate) owner_id: UserId,
    pub(crate) currency: Currency,
}

/// An account as it is under its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
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
    pub(crate) last_hash: Hash,
    /// When the last entry was made.
    pub(crate) updated_at: Option<OffsetDateTime>,
}

/// What moves between an account and `transit`, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posting {
    /// The transfer: it has one posting in this book at the most, so its id names the posting too.
    pub(crate) transfer_id: TransferId,
    pub(crate) order_id: OrderId,
    pub(crate) kind: Kind,
    pub(crate) at: OffsetDateTime,
}

/// One line of an account's book. The other side of its posting is a line of `transit`, which has no balance
/// of its own and no chain: every transfer writes there, so a row for it would make them all wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) account: AccountKey,
    /// Counts the account's entries from 1.
    pub(crate) sequence: i64,
    /// What it is part of.
    pub(crate) posting: Posting,
    /// Negative when money leaves the account.
    pub(crate) amount: i64,
    pub(crate) balance_after: i64,
    /// Its link to the entry before it.
    pub(crate) hash: Hash,
}

impl Account {
    /// An account without entries.
    pub(crate) const fn empty(key: AccountKey) -> Self {
        Self { key, balance: 0, held: 0, incoming: 0, sequence: 0, last_hash: GENESIS, updated_at: None }
    }

    /// The chain of its entries, as far as the account itself states it.
    pub(crate) const fn chain(&self) -> Chain {
        Chain { sequence: self.sequence, balance: self.balance, hash: self.last_hash }
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
            hash: GENESIS,
        };
        entry.hash = entry.expected_hash(&self.last_hash);
        self.last_hash = entry.hash;
        entry
    }
}

impl bookkeeping::Entry for Entry {
    fn amount(&self) -> i64 {
        self.amount
    }

    fn chain(&self) -> Chain {
        Chain { sequence: self.sequence, balance: self.balance_after, hash: self.hash }
    }

    /// Every part has a fixed length, so no two entries have the same encoding.
    fn expected_hash(&self, previous: &Hash) -> Hash {
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

    /// A transfer has one posting in this book at the most, which has the transfer's id.
    fn posting_id(&self) -> PostingId {
        PostingId::from_uuid(self.posting.transfer_id.uuid())
    }
}

impl bookkeeping::Key for AccountKey {
    const NOUN: &'static str = "account";

    fn owner(self) -> UserId {
        self.owner_id
    }

    fn currency(self) -> Currency {
        self.currency
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
        assert_eq!(first.expected_hash(&GENESIS), first.hash);
        assert_eq!(second.expected_hash(&first.hash), second.hash);
        let mut forged = vec![first.clone(); 6];
        forged[0].amount = 50;
        forged[1].balance_after = 50;
        forged[2].sequence = 2;
        forged[3].posting.transfer_id = Uuid::from_u128(9).into();
        forged[4].posting.kind = Kind::Refund;
        forged[5].posting.at += time::Duration::microseconds(1);
        for entry in forged {
            assert_ne!(entry.expected_hash(&GENESIS), first.hash, "{entry:?}");
        }
    }
    #[test]
    fn entries_follow_from_each_other_and_the_account_from_the_last() {
        let mut account = account();
        let mut chain = Chain::START;
        assert_eq!(chain.end_at(&account.chain()), Ok(()));
        for (number, amount) in [(1, 5), (2, 6)] {
            chain.follow(&account.credit(amount, posting(number)).unwrap()).unwrap();
            assert_eq!(chain.end_at(&account.chain()), Ok(()));
        }
        assert_eq!((chain.sequence, chain.balance), (2, 11));
    }

    /// Computed by another program: the layout is part of the book and cannot change.
    #[test]
    fn the_layout_of_the_hash_is_fixed_for_ever() {
        let entry = Entry {
            account: account().key,
            sequence: 9,
            posting: Posting {
                transfer_id: Uuid::from_u128(2).into(),
                order_id: Uuid::from_u128(3).into(),
                kind: Kind::Refund,
                at: OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_000).unwrap(),
            },
            amount: -30,
            balance_after: 70,
            hash: GENESIS,
        };
        let hex: String = entry.expected_hash(&[7; 32]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "241818bc0d6962b662446277249d8a7fcf619c5b4f13d1bd86719719d4adbaa1");
    }
}
