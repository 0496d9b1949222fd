//! The chain of a wallet's entries: following it from its beginning to the wallet shows whether anybody has changed,
//! removed or inserted one.

use super::ledger::{GENESIS, Hash, WalletEntry};
use super::wallet::Wallet;

/// Why a wallet's chain is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainBroken {
    /// The entry at which it was noticed.
    pub(crate) sequence: i64,
    /// What is wrong with it.
    pub(crate) what: &'static str,
}

/// A wallet's chain, followed from its beginning; or how far it was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The sequence of the last entry.
    pub(crate) sequence: i64,
    /// The balance after it.
    pub(crate) balance: i64,
    /// Its hash.
    pub(crate) head: Hash,
}

impl Chain {
    /// Before the first entry.
    pub(crate) const START: Self = Self { sequence: 0, balance: 0, head: GENESIS };

    /// Right behind an entry, whatever came before it.
    pub(crate) fn behind(entry: &WalletEntry) -> Self {
        Self { sequence: entry.sequence, balance: entry.balance_after, head: entry.hash }
    }

    /// Where the chain of this wallet ends if nobody has changed either.
    pub(crate) fn of(wallet: &Wallet) -> Self {
        Self { sequence: wallet.sequence, balance: wallet.balance, head: wallet.head }
    }

    /// Goes on to the next entry.
    ///
    /// # Errors
    /// When it does not follow from the one before.
    pub(crate) fn follow(&mut self, entry: &WalletEntry) -> Result<(), ChainBroken> {
        let broken = |what| Err(ChainBroken { sequence: entry.sequence, what });
        if entry.sequence != self.sequence + 1 {
            return broken("an entry before it is missing");
        }
        if self.balance.checked_add(entry.amount) != Some(entry.balance_after) {
            return broken("its balance is not the sum");
        }
        if entry.expected_hash(&self.head) != entry.hash {
            return broken("its hash is not that of its content and the one before");
        }
        *self = Self::behind(entry);
        Ok(())
    }

    /// Compares the end with the wallet, which keeps it too: an entry cut off there leaves no other trace.
    ///
    /// # Errors
    /// When the wallet has another end.
    pub(crate) fn end_at(&self, wallet: &Wallet) -> Result<(), ChainBroken> {
        let broken = |what| Err(ChainBroken { sequence: self.sequence, what });
        if self.sequence != wallet.sequence {
            return broken("the wallet counts another number of entries");
        }
        if self.balance != wallet.balance {
            return broken("the wallet has another balance");
        }
        if self.head != wallet.head {
            return broken("the wallet has another hash");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use types::{IdSource as _, Money, OrderId, PostingId, UserId};

    use super::super::ledger::{Kind, Memo, Posting, Side};
    use super::super::wallet::WalletKey;
    use super::*;

    fn memo(number: u64, minor_units: i64) -> Memo {
        let id = PostingId::from_uuid(uuid::Uuid::from_u128(u128::from(number)));
        let at = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(i64::try_from(number).unwrap());
        Memo::new(id, Money::new("EUR".parse().unwrap(), minor_units), at)
    }

    fn wallets() -> (Wallet, Wallet) {
        let ids = types::SeededIds::new(7);
        let wallet = || {
            Wallet::empty(WalletKey {
                owner: UserId::from_uuid(ids.next()),
                currency: "EUR".parse().unwrap(),
            })
        };
        (wallet(), wallet())
    }

    fn entry_of(side: &Side) -> WalletEntry {
        let Side::Wallet(entry) = side else { panic!("{side:?} is not a wallet's") };
        entry.clone()
    }

    /// Four entries of one wallet: +100, -30, +5, -20.
    fn book() -> (Wallet, Vec<WalletEntry>) {
        let (mut ann, mut bob) = wallets();
        let order = OrderId::from_uuid(uuid::Uuid::from_u128(9));
        let mut entries = vec![entry_of(&Posting::grant(memo(1, 100), &mut ann).credit)];
        entries.push(entry_of(&Posting::send(memo(2, 30), &mut ann, &mut bob).debit));
        ann.incoming = 5;
        entries.push(entry_of(&Posting::refund(memo(3, 5), &mut ann, order).credit));
        ann.held = 20;
        entries.push(entry_of(&Posting::payment(memo(4, 20), &mut ann, order).debit));
        (ann, entries)
    }

    fn follow(entries: &[WalletEntry]) -> Result<Chain, ChainBroken> {
        let mut chain = Chain::START;
        entries.iter().try_for_each(|entry| chain.follow(entry))?;
        Ok(chain)
    }

    #[test]
    fn entries_follow_from_each_other_and_the_wallet_from_the_last() {
        let (wallet, entries) = book();
        assert_eq!(entries.iter().map(|entry| entry.amount).collect::<Vec<_>>(), [100, -30, 5, -20]);
        assert_eq!(follow(&entries).unwrap().end_at(&wallet), Ok(()));
        assert_eq!((wallet.balance, wallet.held, wallet.incoming, wallet.sequence), (55, 0, 0, 4));
        assert_eq!(Chain::START.end_at(&wallets().0), Ok(()));
    }

    #[test]
    fn any_change_of_any_field_of_any_entry_breaks_the_chain() {
        let stranger = Some(UserId::from_uuid(uuid::Uuid::from_u128(5)));
        let changes: [fn(&mut WalletEntry, Option<UserId>); 9] = [
            |entry, other| entry.wallet.owner = other.unwrap(),
            |entry, _| entry.wallet.currency = "USD".parse().unwrap(),
            |entry, _| entry.sequence += 1,
            |entry, _| entry.kind = if entry.kind == Kind::Grant { Kind::Refund } else { Kind::Grant },
            |entry, _| entry.amount += 1,
            |entry, _| entry.balance_after += 1,
            |entry, other| entry.posting_id = PostingId::from_uuid(other.unwrap().uuid()),
            |entry, other| entry.counterparty = other,
            |entry, _| entry.created_at += time::Duration::milliseconds(1),
        ];
        for at in 0..4 {
            for change in changes {
                let (_, mut entries) = book();
                change(&mut entries[at], stranger);
                assert!(follow(&entries).is_err(), "{:?}", entries[at]);
            }
        }
    }

    #[test]
    fn a_removed_swapped_or_forged_entry_breaks_the_chain() {
        let (wallet, entries) = book();
        for at in 0..3 {
            let mut removed = entries.clone();
            removed.remove(at);
            assert_eq!(follow(&removed).unwrap_err().what, "an entry before it is missing");
        }
        let mut swapped = entries.clone();
        swapped.swap(1, 2);
        assert!(follow(&swapped).is_err());

        // An amount that was changed with its balances and its own hash: the next entry gives it away.
        let mut forged = entries.clone();
        forged[1].amount += 10;
        forged[1].balance_after += 10;
        forged[1].hash = forged[1].expected_hash(&entries[0].hash);
        forged[2].balance_after += 10;
        forged[3].balance_after += 10;
        assert_eq!(follow(&forged).unwrap_err().sequence, 3);

        // A last entry that was cut off or replaced: the wallet itself knows its head.
        let cut = follow(&entries[..3]).unwrap().end_at(&wallet).unwrap_err();
        assert_eq!(cut.what, "the wallet counts another number of entries");
        for (field, change) in [
            ("balance", (|wallet| wallet.balance += 1) as fn(&mut Wallet)),
            ("hash", |wallet| wallet.head[0] ^= 1),
        ] {
            let mut other = wallet.clone();
            change(&mut other);
            let broken = follow(&entries).unwrap().end_at(&other).unwrap_err();
            assert_eq!(broken.what, format!("the wallet has another {field}"));
        }
    }
}
