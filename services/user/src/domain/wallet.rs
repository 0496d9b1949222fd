//! What a wallet may do. Pure arithmetic: storage writes a wallet on the condition that its numbers are still those
//! that this was decided on, and the collection's validator bounds them, so that a wallet can break no rule even if
//! two writers meet.

use bookkeeping::{Chain, GENESIS, Hash};
use time::OffsetDateTime;
use types::{BALANCE_MAX, Currency, Money, TransferId, UserId};

use super::limits::{Bar, Limit, Limits, Spent};

/// Names a wallet: a user has one for each currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalletKey {
    pub(crate) owner: UserId,
    pub(crate) currency: Currency,
}

impl WalletKey {
    /// The wallet that an amount leaves or enters.
    #[must_use]
    pub(crate) fn of(owner: UserId, amount: Money) -> Self {
        Self { owner, currency: amount.currency }
    }

    /// The id of its events' aggregate.
    #[must_use]
    pub(crate) fn aggregate_id(&self) -> String {
        format!("{}:{}", self.owner, self.currency)
    }
}

impl bookkeeping::Key for WalletKey {
    const NOUN: &'static str = "wallet";

    fn owner(self) -> UserId {
        self.owner
    }

    fn currency(self) -> Currency {
        self.currency
    }
}

/// The credit of one user in one currency, in minor units.
///
/// **Invariant:** `0 <= held <= balance` and `balance + incoming <= BALANCE_MAX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wallet {
    pub(crate) key: WalletKey,
    /// The sum of all entries.
    pub(crate) balance: i64,
    /// Reserved to leave; still part of the balance.
    pub(crate) held: i64,
    /// Reserved to arrive; not yet part of the balance, but the limit counts it.
    pub(crate) incoming: i64,
    /// How many entries there are: the sequence of the newest.
    pub(crate) sequence: i64,
    /// The hash of the newest entry.
    pub(crate) head: Hash,
    /// How many events were made of it.
    pub(crate) event_version: i64,
    /// When the newest entry was made; `None` while there is none.
    pub(crate) updated_at: Option<OffsetDateTime>,
    /// Whether an admin has stopped all that would leave it.
    pub(crate) is_frozen: bool,
    pub(crate) limits: Limits,
    /// What has left or was reserved on the last day on which anything was; `None` before the first.
    pub(crate) spent: Option<Spent>,
    /// Whether the database has it.
    pub(crate) is_stored: bool,
}

impl Wallet {
    /// A wallet that nothing ever touched.
    #[must_use]
    pub(crate) const fn empty(key: WalletKey) -> Self {
        Self {
            key,
            balance: 0,
            held: 0,
            incoming: 0,
            sequence: 0,
            head: GENESIS,
            event_version: 0,
            updated_at: None,
            is_frozen: false,
            limits: Limits::NONE,
            spent: None,
            is_stored: false,
        }
    }

    /// The chain of its entries, as far as the wallet itself states it.
    #[must_use]
    pub(crate) const fn chain(&self) -> Chain {
        Chain { sequence: self.sequence, balance: self.balance, hash: self.head }
    }

    /// Moves the numbers. Whether they may be moved is asked before.
    pub(crate) const fn change(&mut self, change: Change) {
        self.balance += change.balance;
        self.held += change.held;
        self.incoming += change.incoming;
    }

    /// The balance that would be if all arrived that is on its way in: what the limit bounds.
    #[must_use]
    pub(crate) const fn reach(&self) -> i64 {
        self.balance + self.incoming
    }

    /// What can be spent.
    #[must_use]
    pub(crate) const fn available(&self) -> i64 {
        self.balance - self.held
    }

    /// Whether an amount can leave, or be reserved to.
    #[must_use]
    pub(crate) const fn covers(&self, amount: i64) -> bool {
        self.available() >= amount
    }

    /// Whether an amount can arrive, or be reserved to, without the balance ever passing its limit.
    #[must_use]
    pub(crate) const fn has_room(&self, amount: i64) -> bool {
        // None of the three is above BALANCE_MAX, so the sums cannot overflow.
        self.reach() <= BALANCE_MAX - amount
    }
}

/// Why a grant or a sending was refused: for good, under its request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreditRefused {
    /// Less is available than the amount.
    #[error("less credit is available than the amount")]
    InsufficientCredit {
        /// The sender.
        owner: UserId,
        /// What was available then; the owner may know.
        available: Money,
    },
    /// This user's balance would pass its limit.
    #[error("the balance of user {0} would pass its limit")]
    BalanceLimit(UserId),
    /// No such user.
    #[error("there is no user {0}")]
    UserNotFound(UserId),
    /// This user may neither send nor be given credit.
    #[error("user {0} is deactivated")]
    UserDeactivated(UserId),
    /// An admin has frozen the wallet that it would leave.
    #[error("the wallet is frozen")]
    WalletFrozen(WalletKey),
    /// More than a limit of the wallet that it would leave.
    #[error("more than the wallet's limit of {limit}")]
    WalletLimit {
        /// The sender.
        owner: UserId,
        /// Which limit.
        limit: Limit,
        /// What it would have let through; the owner may know.
        left: Money,
    },
}

impl CreditRefused {
    /// Why a sending from this wallet is refused.
    #[must_use]
    pub(crate) fn barred(wallet: &Wallet, bar: Bar) -> Self {
        let (owner, money) = (wallet.key.owner, |minor_units| Money::new(wallet.key.currency, minor_units));
        match bar {
            Bar::Frozen => Self::WalletFrozen(wallet.key),
            Bar::Limit { limit, left } => Self::WalletLimit { owner, limit, left: money(left) },
            Bar::TooLittle => Self::InsufficientCredit { owner, available: money(wallet.available()) },
        }
    }
}

/// Why a wallet was not frozen or unfrozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WalletRefused {
    /// It is frozen already.
    #[error("the wallet is frozen already")]
    Frozen(WalletKey),
    /// It is not frozen.
    #[error("the wallet is not frozen")]
    NotFrozen(WalletKey),
}

/// This service never heard of the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no hold of transfer {0}")]
pub struct HoldNotFound(pub(crate) TransferId);

/// How a wallet's numbers move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) balance: i64,
    pub(crate) held: i64,
    /// What is on its way in.
    pub(crate) incoming: i64,
}

impl Change {
    const NONE: Self = Self { balance: 0, held: 0, incoming: 0 };

    /// Credit leaves.
    #[must_use]
    pub(crate) const fn debit(amount: i64) -> Self {
        Self { balance: -amount, ..Self::NONE }
    }

    /// Credit arrives.
    #[must_use]
    pub(crate) const fn credit(amount: i64) -> Self {
        Self { balance: amount, ..Self::NONE }
    }

    /// Credit is set aside to leave.
    #[must_use]
    pub(crate) const fn hold_debit(amount: i64) -> Self {
        Self { held: amount, ..Self::NONE }
    }

    /// Room is set aside for credit to arrive.
    #[must_use]
    pub(crate) const fn hold_credit(amount: i64) -> Self {
        Self { incoming: amount, ..Self::NONE }
    }

    /// What was set aside leaves.
    #[must_use]
    pub(crate) const fn post_debit(amount: i64) -> Self {
        Self { balance: -amount, held: -amount, ..Self::NONE }
    }

    /// What room was set aside for arrives.
    #[must_use]
    pub(crate) const fn post_credit(amount: i64) -> Self {
        Self { balance: amount, incoming: -amount, ..Self::NONE }
    }

    /// The way back.
    #[must_use]
    pub(crate) const fn undone(self) -> Self {
        Self { balance: -self.balance, held: -self.held, incoming: -self.incoming }
    }
}

#[cfg(test)]
mod tests {
    use types::AMOUNT_MAX;
    use uuid::Uuid;

    use super::*;

    fn wallet(balance: i64, held: i64, incoming: i64) -> Wallet {
        let key =
            WalletKey { owner: UserId::from_uuid(Uuid::from_u128(1)), currency: "EUR".parse().unwrap() };
        Wallet { balance, held, incoming, ..Wallet::empty(key) }
    }

    #[test]
    fn held_credit_cannot_be_spent_again() {
        let wallet = wallet(100, 40, 0);
        assert_eq!(wallet.available(), 60);
        assert!(wallet.covers(60) && !wallet.covers(61));
    }

    #[test]
    fn credit_on_its_way_counts_against_the_limit_and_cannot_be_spent() {
        let wallet = wallet(BALANCE_MAX - 10, 5, 7);
        assert!(wallet.has_room(3) && !wallet.has_room(4));
        assert_eq!(wallet.available(), BALANCE_MAX - 15);
    }

    #[test]
    fn posting_a_hold_is_holding_and_moving_at_once() {
        let after = |changes: &[Change]| {
            let mut wallet = wallet(100, 0, 0);
            changes.iter().for_each(|change| wallet.change(*change));
            wallet
        };
        let held = after(&[Change::hold_debit(7)]);
        let announced = after(&[Change::hold_credit(7)]);
        assert_eq!(after(&[Change::hold_debit(7), Change::post_debit(7)]), after(&[Change::debit(7)]));
        assert_eq!(after(&[Change::hold_credit(7), Change::post_credit(7)]), after(&[Change::credit(7)]));
        assert_eq!(after(&[Change::hold_debit(7), Change::hold_debit(7).undone()]), after(&[]));
        // Posting takes nothing that the hold did not: it can never be refused.
        assert_eq!(after(&[Change::hold_debit(7), Change::post_debit(7)]).available(), held.available());
        assert_eq!(after(&[Change::hold_credit(7), Change::post_credit(7)]).reach(), announced.reach());
    }

    #[test]
    fn the_largest_amounts_do_not_overflow() {
        assert!(!wallet(BALANCE_MAX, 0, 0).has_room(AMOUNT_MAX));
        assert!(!wallet(BALANCE_MAX, 0, 0).has_room(i64::MAX));
        assert!(!wallet(0, 0, 0).covers(i64::MAX));
        assert!(wallet(0, 0, 0).has_room(BALANCE_MAX));
    }
}
