//! Double entry: every movement of credit is a posting with one debit and one credit of the same amount, and is
//! never changed or deleted. The entries of a wallet form a chain of hashes ([`bookkeeping::Chain`]), so that a changed,
//! removed or inserted one is noticed.
//!
//! An owner's account is credited when credit arrives: balance = credits - debits. The system accounts `mint`
//! (where new credit comes from) and `transit` (where it is on its way to or from order service) have entries
//! only. They have no balance that each transfer would have to write, hence no chain either.

use bookkeeping::{Chain, Entry as _, GENESIS, Hash};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use types::{Currency, Money, OrderId, PostingId, UserId};

use super::wallet::{Change, Wallet, WalletKey};

/// Separates these hashes from all others, and this layout from any later one.
const DOMAIN: &[u8] = b"tristore.user.wallet_entry.v1";

/// Why a wallet's balance changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// New credit from an admin.
    Grant,
    /// Sent to another wallet.
    Send,
    /// Received from another wallet.
    Receive,
    /// Paid for an order.
    Payment,
    /// Refunded for an order.
    Refund,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Grant, Self::Send, Self::Receive, Self::Payment, Self::Refund];

    /// Its name in the database.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "GRANT",
            Self::Send => "SEND",
            Self::Receive => "RECEIVE",
            Self::Payment => "PAYMENT",
            Self::Refund => "REFUND",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its number on the wire, which is the one that is hashed: names may change, it may not.
    #[must_use]
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Grant => 1,
            Self::Send => 2,
            Self::Receive => 3,
            Self::Payment => 4,
            Self::Refund => 5,
        }
    }
}

/// One line of a wallet's book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalletEntry {
    pub(crate) wallet: WalletKey,
    /// Counts the wallet's entries from 1, without holes.
    pub(crate) sequence: i64,
    pub(crate) kind: Kind,
    /// In minor units; negative when credit leaves.
    pub(crate) amount: i64,
    pub(crate) balance_after: i64,
    /// The posting that it is a side of.
    pub(crate) posting_id: PostingId,
    /// The other user of a sending.
    pub(crate) counterparty: Option<UserId>,
    /// To the millisecond: that is what the database keeps.
    pub(crate) created_at: OffsetDateTime,
    /// Its link to the entry before it.
    pub(crate) hash: Hash,
}

impl WalletEntry {
    /// How the wallet's numbers move by it.
    const fn change(&self) -> Change {
        match self.kind {
            Kind::Grant | Kind::Receive => Change::credit(self.amount),
            Kind::Send => Change::debit(-self.amount),
            Kind::Payment => Change::post_debit(-self.amount),
            Kind::Refund => Change::post_credit(self.amount),
        }
    }
}

impl bookkeeping::Entry for WalletEntry {
    fn amount(&self) -> i64 {
        self.amount
    }

    fn chain(&self) -> Chain {
        Chain { sequence: self.sequence, balance: self.balance_after, hash: self.hash }
    }

    fn posting_id(&self) -> PostingId {
        self.posting_id
    }

    /// Every field has a fixed width, so no two entries have the same encoding.
    fn expected_hash(&self, previous: &Hash) -> Hash {
        let counterparty = self.counterparty.map_or([0; 16], |user| user.uuid().into_bytes());
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(previous);
        hash.update(self.wallet.owner.uuid().as_bytes());
        hash.update(self.wallet.currency.code().as_bytes());
        hash.update(self.sequence.to_be_bytes());
        hash.update([self.kind.number()]);
        hash.update(self.amount.to_be_bytes());
        hash.update(self.balance_after.to_be_bytes());
        hash.update(self.posting_id.uuid().as_bytes());
        hash.update(counterparty);
        hash.update(unix_millis(self.created_at).to_be_bytes());
        hash.finalize().into()
    }
}

/// Behind which entry of a wallet's chain something is, and the balance there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// That of the entry; 0 before the first.
    pub(crate) sequence: i64,
    pub(crate) balance: i64,
}

impl Place {
    /// Before the first entry.
    pub(crate) const START: Self = Self { sequence: 0, balance: 0 };
}

/// A book's account that belongs to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SystemAccount {
    /// Where new credit comes from.
    Mint,
    /// Where credit is on its way to or from order service.
    Transit,
}

impl SystemAccount {
    /// Its name in the database and on the wire.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mint => "mint",
            Self::Transit => "transit",
        }
    }
}

/// One side of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// A wallet's new entry.
    Wallet(WalletEntry),
    /// A system account.
    System(SystemAccount),
}

/// A movement of credit: `amount` from the debited to the credited side. With one amount for both sides a
/// posting cannot be out of balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posting {
    /// Its id. That of a side of a transfer is the transfer's.
    pub(crate) id: PostingId,
    /// Above zero.
    pub(crate) amount: Money,
    /// Where it leaves.
    pub(crate) debit: Side,
    /// Where it arrives.
    pub(crate) credit: Side,
    /// What was paid or refunded.
    pub(crate) order_id: Option<OrderId>,
    pub(crate) created_at: OffsetDateTime,
}

/// What a posting says besides the wallets that it touches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memo {
    pub(crate) id: PostingId,
    /// Above zero.
    pub(crate) amount: Money,
    /// To the millisecond.
    pub(crate) created_at: OffsetDateTime,
}

impl Memo {
    /// A memo of this moment.
    #[must_use]
    pub(crate) fn new(id: PostingId, amount: Money, now: OffsetDateTime) -> Self {
        Self { id, amount, created_at: to_millis(now) }
    }
}

impl Posting {
    /// New credit.
    #[must_use]
    pub(crate) fn grant(memo: Memo, to: &mut Wallet) -> Self {
        let credit = Side::Wallet(to.enter(memo, Kind::Grant, memo.amount.minor_units, None));
        Self::new(memo, Side::System(SystemAccount::Mint), credit, None)
    }

    /// Credit from one wallet to another.
    #[must_use]
    pub(crate) fn send(memo: Memo, from: &mut Wallet, to: &mut Wallet) -> Self {
        let (sender, receiver) = (from.key.owner, to.key.owner);
        let debit = from.enter(memo, Kind::Send, -memo.amount.minor_units, Some(receiver));
        let credit = to.enter(memo, Kind::Receive, memo.amount.minor_units, Some(sender));
        Self::new(memo, Side::Wallet(debit), Side::Wallet(credit), None)
    }

    /// What was held leaves for order service.
    #[must_use]
    pub(crate) fn payment(memo: Memo, from: &mut Wallet, order_id: OrderId) -> Self {
        let debit = from.enter(memo, Kind::Payment, -memo.amount.minor_units, None);
        Self::new(memo, Side::Wallet(debit), Side::System(SystemAccount::Transit), Some(order_id))
    }

    /// What was announced arrives from order service.
    #[must_use]
    pub(crate) fn refund(memo: Memo, to: &mut Wallet, order_id: OrderId) -> Self {
        let credit = to.enter(memo, Kind::Refund, memo.amount.minor_units, None);
        Self::new(memo, Side::System(SystemAccount::Transit), Side::Wallet(credit), Some(order_id))
    }

    fn new(memo: Memo, debit: Side, credit: Side, order_id: Option<OrderId>) -> Self {
        Self { id: memo.id, amount: memo.amount, debit, credit, order_id, created_at: memo.created_at }
    }
}

impl Wallet {
    /// Adds an entry to the end of the chain. Whether the wallet may is asked before, and asked again by the
    /// database. Its time is not before that of the entry before it, so that a range of time is a piece of the chain.
    fn enter(&mut self, memo: Memo, kind: Kind, amount: i64, counterparty: Option<UserId>) -> WalletEntry {
        let mut entry = WalletEntry {
            wallet: self.key,
            sequence: self.sequence + 1,
            kind,
            amount,
            balance_after: self.balance + amount,
            posting_id: memo.id,
            counterparty,
            created_at: self.time_at(memo.created_at),
            hash: GENESIS,
        };
        entry.hash = entry.expected_hash(&self.head);
        self.change(entry.change());
        self.sequence = entry.sequence;
        self.head = entry.hash;
        self.updated_at = Some(entry.created_at);
        entry
    }
}

/// The sums of one account, or of all wallets together, in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrialBalanceLine {
    /// `wallets`, `mint` or `transit`.
    pub(crate) account: String,
    pub(crate) currency: Currency,
    pub(crate) debit: i64,
    pub(crate) credit: i64,
    /// Sum of the balances that the wallets show; 0 for system accounts.
    pub(crate) balance: i64,
    /// Reserved to leave.
    pub(crate) held: i64,
}

/// Cuts a time to what the database keeps, so that an entry hashes the same before and after it was stored.
fn to_millis(time: OffsetDateTime) -> OffsetDateTime {
    let nanos = i128::from(unix_millis(time)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("an earlier time of the same second is a time")
}

fn unix_millis(time: OffsetDateTime) -> i64 {
    time.unix_timestamp() * 1000 + i64::from(time.millisecond())
}

#[cfg(test)]
mod tests {
    use types::IdSource as _;

    use super::*;

    fn memo(number: u64, minor_units: i64) -> Memo {
        Memo {
            id: PostingId::from_uuid(uuid::Uuid::from_u128(u128::from(number))),
            amount: Money::new("EUR".parse().unwrap(), minor_units),
            created_at: OffsetDateTime::UNIX_EPOCH
                + time::Duration::milliseconds(i64::try_from(number).unwrap()),
        }
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

    fn follow(entries: &[WalletEntry]) -> Result<Chain, &'static str> {
        let mut chain = Chain::START;
        entries.iter().try_for_each(|entry| chain.follow(entry))?;
        Ok(chain)
    }

    #[test]
    fn a_sending_has_two_chained_sides_of_one_amount() {
        let (mut ann, mut bob) = wallets();
        ann.balance = 10;
        let posting = Posting::send(memo(1, 10), &mut ann, &mut bob);
        let (debit, credit) = (entry_of(&posting.debit), entry_of(&posting.credit));
        assert_eq!((debit.amount, credit.amount), (-10, 10));
        assert_eq!((debit.counterparty, credit.counterparty), (Some(bob.key.owner), Some(ann.key.owner)));
        assert_eq!((ann.balance, bob.balance), (0, 10));
        assert_ne!(debit.hash, credit.hash);
    }

    #[test]
    fn entries_follow_from_each_other_and_the_wallet_from_the_last() {
        let (wallet, entries) = book();
        assert_eq!(entries.iter().map(|entry| entry.amount).collect::<Vec<_>>(), [100, -30, 5, -20]);
        assert_eq!(follow(&entries).unwrap().end_at(&wallet.chain()), Ok(()));
        assert_eq!((wallet.balance, wallet.held, wallet.incoming, wallet.sequence), (55, 0, 0, 4));
        assert_eq!(Chain::START.end_at(&wallets().0.chain()), Ok(()));
    }

    /// Two replicas, one of which is behind.
    #[test]
    fn the_times_of_a_chain_never_go_back() {
        let (mut ann, mut bob) = wallets();
        let late = entry_of(&Posting::grant(memo(500, 100), &mut ann).credit);
        let posting = Posting::send(memo(400, 30), &mut ann, &mut bob);
        let (debit, credit) = (entry_of(&posting.debit), entry_of(&posting.credit));
        assert_eq!((debit.created_at, ann.updated_at), (late.created_at, Some(late.created_at)));
        assert_eq!(credit.created_at, posting.created_at, "the other wallet has its own time");
        assert_eq!(follow(&[late, debit]).unwrap().end_at(&ann.chain()), Ok(()));
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

    /// Computed by another program: the layout is part of the book and cannot change.
    #[test]
    fn the_layout_of_the_hash_is_fixed_for_ever() {
        let id = |last: u8| format!("01920000-0000-7000-8000-00000000000{last}");
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_000_000).unwrap();
        let entry = WalletEntry {
            wallet: WalletKey { owner: id(1).parse().unwrap(), currency: "EUR".parse().unwrap() },
            sequence: 9,
            kind: Kind::Send,
            amount: -30,
            balance_after: 70,
            posting_id: id(3).parse().unwrap(),
            counterparty: Some(id(2).parse().unwrap()),
            created_at: at,
            hash: GENESIS,
        };
        let hex: String = entry.expected_hash(&[7; 32]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "a8ea6a2ca165587445f67ec6d2b9c23c60c101f3e362f43bc3157d7430955f39");
    }

    #[test]
    fn a_time_hashes_the_same_before_and_after_it_was_stored() {
        for nanos in [0, 1, 999_999, 1_000_000, 1_234_567_890_123_456_789, -1, -999_999_999, -1_000_000_000] {
            let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap();
            let cut = to_millis(time);
            assert_eq!(cut.nanosecond() % 1_000_000, 0);
            assert!(cut <= time && time - cut < time::Duration::milliseconds(1));
            assert_eq!(unix_millis(cut), unix_millis(time));
        }
    }

    #[test]
    fn names_of_kinds_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_name("BURN"), None);
    }
}
