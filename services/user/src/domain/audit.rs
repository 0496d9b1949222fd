//! What an audit holds against an entry of a wallet, given everything else that tells of it: the other side of its
//! posting, the posting, the hold, and what order service says of the transfer. Pure; `crate::audit` collects it.

use bookkeeping::{Auditable, Finding, SumTooLarge, imbalance};
use events::HoldState;
use types::{Currency, Money, OrderId, PostingId, UserId};

use super::ledger::{Kind, SystemAccount, WalletEntry};
use super::wallet::WalletKey;

/// The account that the entries of all wallets are of.
pub(crate) const WALLETS: &str = "wallets";

/// One side of a posting as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSide {
    pub(crate) posting_id: PostingId,
    pub(crate) is_debit: bool,
    /// Its account: `wallets` or a system account.
    pub(crate) account: String,
    /// How much; above zero.
    pub(crate) amount: Money,
    /// The wallet and the place in its chain, of a wallet's side.
    pub(crate) place: Option<(WalletKey, i64)>,
}

impl StoredSide {
    /// What it adds to its account, negative when credit leaves.
    pub(crate) fn change(&self) -> Money {
        let amount = self.amount.minor_units;
        Money::new(self.amount.currency, if self.is_debit { -amount } else { amount })
    }
}

/// What a posting says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredPosting {
    pub(crate) amount: Money,
    /// What was paid or refunded.
    pub(crate) order_id: Option<OrderId>,
}

/// What order service has of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherBook {
    pub(crate) is_confirmed: bool,
    /// The user whose wallet takes part.
    pub(crate) wallet_user_id: UserId,
    pub(crate) order_id: OrderId,
    /// What arrived in the account, negative when it left; `None` when nothing was posted.
    pub(crate) amount: Option<Money>,
}

/// Everything that tells of one entry besides itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) other_side: Option<StoredSide>,
    pub(crate) posting: Option<StoredPosting>,
    pub(crate) hold: Option<HoldState>,
    /// Order service's side of its transfer.
    pub(crate) other_book: Option<OtherBook>,
}

impl Kind {
    /// Whether it is a transfer to or from order service.
    pub(crate) const fn is_transfer(self) -> bool {
        matches!(self, Self::Payment | Self::Refund)
    }

    /// The account of the other side of a posting with such an entry.
    const fn other_account(self) -> &'static str {
        match self {
            Self::Grant => SystemAccount::Mint.as_str(),
            Self::Send | Self::Receive => WALLETS,
            Self::Payment | Self::Refund => SystemAccount::Transit.as_str(),
        }
    }
}

impl Auditable for WalletEntry {
    type Facts = Facts;
    type Sum = (Currency, String);

    /// The first thing only, because one wrong amount is at odds with all that should agree with it.
    fn against(&self, facts: &Facts) -> Option<Finding> {
        own_book(self, facts).or_else(|| self.kind.is_transfer().then(|| both_books(self, facts)).flatten())
    }

    /// Adds a posting at the one entry that stands for it, both sides at once, so that sums that were taken of
    /// different wallets at different moments still balance. A sending is counted where it left.
    fn count(&self, _: &Facts, sums: &mut Sums) -> Result<(), SumTooLarge> {
        if self.kind == Kind::Receive {
            return Ok(());
        }
        let account = |name: &str| (self.wallet.currency, name.to_owned());
        sums.post(account(WALLETS), account(self.kind.other_account()), self.amount)
    }
}

fn own_book(entry: &WalletEntry, facts: &Facts) -> Option<Finding> {
    let money = |minor_units| Money::new(entry.wallet.currency, minor_units);
    let subject = if entry.kind.is_transfer() { "transfer" } else { "posting" };
    let found = |what: String, too_much| {
        Some(Finding::new(format!("{subject} {}", entry.posting_id), what, Some(money(too_much))))
    };
    let Some(other) = &facts.other_side else {
        return found("has one side only: the other is gone".to_owned(), entry.amount);
    };
    let (here, there) = (money(entry.amount), other.change());
    if let Some(too_much) = imbalance(here, there) {
        return found(format!("its sides do not cancel out: {here} and {there}"), too_much);
    }
    if other.account != entry.kind.other_account() {
        return found(format!("a {} whose other side is {}", entry.kind.as_str(), other.account), 0);
    }
    match &facts.posting {
        None => found("has entries and no posting".to_owned(), 0),
        Some(posting) if posting.amount != money(entry.amount.saturating_abs()) => {
            let what = format!("says {} and its entries {here}", posting.amount);
            found(what, entry.amount.saturating_abs().saturating_sub(posting.amount.minor_units))
        }
        Some(_) => None,
    }
}

fn both_books(entry: &WalletEntry, facts: &Facts) -> Option<Finding> {
    let money = |minor_units| Money::new(entry.wallet.currency, minor_units);
    let found =
        |what: String, too_much| Some(Finding::transfer(entry.posting_id, what, Some(money(too_much))));
    let here = money(entry.amount);
    if facts.hold != Some(HoldState::Posted) {
        return found(format!("{here} are posted to the wallet and the hold is {:?}", facts.hold), 0);
    }
    let Some(other) = &facts.other_book else {
        return found(
            format!("{here} are posted to the wallet, and order-service does not know it"),
            entry.amount,
        );
    };
    if !other.is_confirmed {
        return found(format!("{here} are posted to the wallet, and CONFIRM was not decided"), entry.amount);
    }
    let order_id = facts.posting.as_ref().and_then(|posting| posting.order_id);
    if other.wallet_user_id != entry.wallet.owner || Some(other.order_id) != order_id {
        let (user, order) = (other.wallet_user_id, other.order_id);
        return found(format!("order-service has it for the wallet of {user} and order {order}"), 0);
    }
    let Some(there) = other.amount else {
        return found(
            format!("{here} are posted to the wallet, and order-service has no entry"),
            entry.amount,
        );
    };
    let too_much = imbalance(here, there)?;
    found(format!("user-service has {here} and order-service {there}"), too_much)
}

/// Debits and credits by currency and account.
pub(crate) type Sums = bookkeeping::Sums<(Currency, String)>;

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money::new("EUR".parse().unwrap(), minor_units)
    }

    fn entry(kind: Kind, amount: i64) -> WalletEntry {
        WalletEntry {
            wallet: WalletKey { owner: Uuid::from_u128(1).into(), currency: eur(0).currency },
            sequence: 1,
            kind,
            amount,
            balance_after: 50,
            posting_id: Uuid::from_u128(2).into(),
            counterparty: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            hash: [0; 32],
        }
    }

    type Whole = (StoredSide, StoredPosting, Option<HoldState>, Option<OtherBook>);

    /// All that a payment of ten should be surrounded by.
    fn whole() -> Whole {
        let order_id = OrderId::from_uuid(Uuid::from_u128(3));
        let side = StoredSide {
            posting_id: Uuid::from_u128(2).into(),
            is_debit: false,
            account: "transit".to_owned(),
            amount: eur(10),
            place: None,
        };
        let posting = StoredPosting { amount: eur(10), order_id: Some(order_id) };
        let other = OtherBook {
            is_confirmed: true,
            wallet_user_id: Uuid::from_u128(1).into(),
            order_id,
            amount: Some(eur(10)),
        };
        (side, posting, Some(HoldState::Posted), Some(other))
    }

    fn found((side, posting, hold, other): &Whole, amount: i64) -> Option<Finding> {
        let (other_side, posting) = (Some(side.clone()), Some(posting.clone()));
        let facts = Facts { other_side, posting, hold: *hold, other_book: other.clone() };
        entry(Kind::Payment, amount).against(&facts)
    }

    #[test]
    fn nothing_is_held_against_a_payment_that_all_agree_on() {
        assert_eq!(found(&whole(), -10), None);
        assert_eq!(found(&whole(), -11).unwrap().difference, Some(eur(-1)));
        let alone = entry(Kind::Payment, -10).against(&Facts::default()).unwrap();
        assert_eq!(alone.difference, Some(eur(-10)));
    }

    #[test]
    fn whatever_disagrees_is_found_with_what_is_too_much() {
        type Change = fn(&mut Whole);
        let changes: [(Change, i64); 11] = [
            (|(side, ..)| side.amount.minor_units = 11, 1),
            (|(side, ..)| side.is_debit = true, -20),
            (|(side, ..)| side.account = "mint".to_owned(), 0),
            (|(_, posting, ..)| posting.amount.minor_units = 9, 1),
            (|(_, posting, ..)| posting.order_id = None, 0),
            (|(.., hold, _)| *hold = Some(HoldState::Cancelled), 0),
            (|(.., other)| *other = None, -10),
            (|(.., other)| other.as_mut().unwrap().is_confirmed = false, -10),
            (|(.., other)| other.as_mut().unwrap().wallet_user_id = Uuid::from_u128(9).into(), 0),
            (|(.., other)| other.as_mut().unwrap().amount = None, -10),
            (|(.., other)| other.as_mut().unwrap().amount = Some(eur(11)), 1),
        ];
        for (number, (change, too_much)) in changes.into_iter().enumerate() {
            let mut changed = whole();
            change(&mut changed);
            let finding = found(&changed, -10).unwrap_or_else(|| panic!("change {number} goes unseen"));
            assert_eq!(finding.subject, format!("transfer {}", Uuid::from_u128(2)));
            assert_eq!(finding.difference, (too_much != 0).then(|| eur(too_much)), "change {number}");
        }
    }

    #[test]
    fn a_posting_is_counted_once_with_both_sides() {
        let mut sums = Sums::default();
        for (kind, amount) in [
            (Kind::Grant, 100),
            (Kind::Send, -30),
            (Kind::Receive, 30),
            (Kind::Payment, -20),
            (Kind::Refund, 5),
        ] {
            entry(kind, amount).count(&Facts::default(), &mut sums).unwrap();
        }
        let of = |account: &str| sums.0[&(eur(0).currency, account.to_owned())];
        assert_eq!((of("mint"), of("wallets"), of("transit")), ((100, 0), (50, 135), (5, 20)));
        let (debits, credits) = sums.0.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(debits, credits);
    }
}
