//! The chain of an account's entries: each entry's hash covers the hash of the entry before it, so following the chain
//! from its first entry to the account shows whether an entry was changed, removed or inserted.

use types::PostingId;

/// SHA-256 over an entry and the hash of the entry before it.
pub type Hash = [u8; 32];

/// What an account's first entry has in place of the hash of the entry before it.
pub const GENESIS: Hash = [0; 32];

/// One entry of an account.
pub trait Entry {
    /// How it changes the balance, in minor units; negative when credit leaves.
    fn amount(&self) -> i64;

    /// The chain up to and including this entry, as the entry itself states it.
    fn chain(&self) -> Chain;

    /// The hash that this entry must have if the entry before it has the hash `previous`. It covers every other field
    /// of the entry, and no two entries have the same encoding.
    fn expected_hash(&self, previous: &Hash) -> Hash;

    /// The posting that it is one side of.
    fn posting_id(&self) -> PostingId;
}

/// A chain up to one of its entries: as that entry states it, as the account states it, or as it was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The sequence of the last entry. The first entry of an account has 1, and there are no gaps.
    pub sequence: i64,
    /// The balance after the last entry.
    pub balance: i64,
    /// The hash of the last entry.
    pub hash: Hash,
}

impl Chain {
    /// The chain before the first entry.
    pub const START: Self = Self { sequence: 0, balance: 0, hash: GENESIS };

    /// Adds the next entry.
    ///
    /// # Errors
    /// Says why the entry does not continue this chain, which then stays as it is.
    pub fn follow(&mut self, entry: &impl Entry) -> Result<(), &'static str> {
        let next = entry.chain();
        if next.sequence != self.sequence + 1 {
            return Err("an entry before it is missing");
        }
        if self.balance.checked_add(entry.amount()) != Some(next.balance) {
            return Err("its balance is not the sum");
        }
        if entry.expected_hash(&self.hash) != next.hash {
            return Err("its hash is not that of its content and the one before");
        }
        *self = next;
        Ok(())
    }

    /// Compares this end with the one that the account states. An entry that was cut off at the end leaves no other
    /// trace.
    ///
    /// # Errors
    /// Says what the account states differently.
    pub fn end_at(&self, account: &Self) -> Result<(), &'static str> {
        if self.sequence != account.sequence {
            return Err("counts another number of entries");
        }
        if self.balance != account.balance {
            return Err("has another balance");
        }
        if self.hash != account.hash {
            return Err("has another hash");
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sha2::{Digest as _, Sha256};
    use uuid::Uuid;

    use super::*;

    /// An entry of the simplest book.
    #[derive(Debug, Clone)]
    pub(crate) struct Line {
        pub(crate) sequence: i64,
        pub(crate) amount: i64,
        pub(crate) balance_after: i64,
        pub(crate) posting: u128,
        pub(crate) hash: Hash,
    }

    impl Entry for Line {
        fn amount(&self) -> i64 {
            self.amount
        }

        fn chain(&self) -> Chain {
            Chain { sequence: self.sequence, balance: self.balance_after, hash: self.hash }
        }

        fn expected_hash(&self, previous: &Hash) -> Hash {
            Sha256::new()
                .chain_update(previous)
                .chain_update(self.sequence.to_be_bytes())
                .chain_update(self.amount.to_be_bytes())
                .chain_update(self.balance_after.to_be_bytes())
                .chain_update(self.posting.to_be_bytes())
                .finalize()
                .into()
        }

        fn posting_id(&self) -> PostingId {
            Uuid::from_u128(self.posting).into()
        }
    }

    /// A sound chain of entries of these amounts.
    pub(crate) fn lines(amounts: &[i64]) -> Vec<Line> {
        let mut end = Chain::START;
        let line = |amount: &i64| {
            let (sequence, balance_after) = (end.sequence + 1, end.balance + amount);
            let posting = u128::try_from(sequence).unwrap();
            let mut line = Line { sequence, amount: *amount, balance_after, posting, hash: GENESIS };
            line.hash = line.expected_hash(&end.hash);
            end = line.chain();
            line
        };
        amounts.iter().map(line).collect()
    }

    /// Where the first entry that does not continue the chain is, and why it does not.
    fn follow(lines: &[Line]) -> Result<Chain, (i64, &'static str)> {
        let mut chain = Chain::START;
        for line in lines {
            chain.follow(line).map_err(|why| (line.sequence, why))?;
        }
        Ok(chain)
    }

    fn book() -> Vec<Line> {
        lines(&[100, -30, 5, -20])
    }

    #[test]
    fn entries_follow_from_each_other_and_the_account_from_the_last() {
        let end = follow(&book()).unwrap();
        assert_eq!((end.sequence, end.balance), (4, 55));
        assert_eq!(end.end_at(&book()[3].chain()), Ok(()));
        assert_eq!(Chain::START.end_at(&Chain::START), Ok(()));
    }

    #[test]
    fn any_change_of_any_field_of_any_entry_breaks_the_chain() {
        let changes: [fn(&mut Line); 5] = [
            |line| line.sequence += 1,
            |line| line.amount += 1,
            |line| line.balance_after += 1,
            |line| line.posting = 99,
            |line| line.hash[0] ^= 1,
        ];
        for at in 0..4 {
            for change in changes {
                let mut lines = book();
                change(&mut lines[at]);
                assert!(follow(&lines).is_err(), "{:?}", lines[at]);
            }
        }
    }

    #[test]
    fn a_gap_a_wrong_sum_and_a_wrong_hash_are_each_named() {
        for at in 0..3 {
            let mut removed = book();
            removed.remove(at);
            assert_eq!(follow(&removed).unwrap_err().1, "an entry before it is missing");
        }
        let mut swapped = book();
        swapped.swap(1, 2);
        assert_eq!(follow(&swapped), Err((3, "an entry before it is missing")));

        let mut wrong = book();
        wrong[1].balance_after += 1;
        assert_eq!(follow(&wrong), Err((2, "its balance is not the sum")));
        let mut huge = book();
        huge[1].amount = i64::MAX;
        assert_eq!(follow(&huge), Err((2, "its balance is not the sum")));

        let hash = "its hash is not that of its content and the one before";
        let mut wrong = book();
        wrong[1].hash = [1; 32];
        assert_eq!(follow(&wrong), Err((2, hash)));
        // An amount that was changed together with its balances and its own hash: the next entry shows it.
        let mut forged = book();
        forged[1].amount += 10;
        forged[1].balance_after += 10;
        forged[1].hash = forged[1].expected_hash(&forged[0].hash);
        forged[2].balance_after += 10;
        forged[3].balance_after += 10;
        assert_eq!(follow(&forged), Err((3, hash)));
    }

    #[test]
    fn an_end_that_was_cut_off_or_replaced_is_not_the_accounts() {
        let end = follow(&book()).unwrap();
        let cut = follow(&book()[..3]).unwrap();
        assert_eq!(cut.end_at(&end), Err("counts another number of entries"));
        assert_eq!(end.end_at(&Chain { balance: 56, ..end }), Err("has another balance"));
        assert_eq!(end.end_at(&Chain { hash: [1; 32], ..end }), Err("has another hash"));
    }
}
