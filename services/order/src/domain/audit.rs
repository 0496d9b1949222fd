//! What an audit holds against an entry of an account, given everything else that tells of it: the other side of its
//! posting, the transfer and its decision, and what user service has of it. Pure; `crate::audit` collects it.

use bookkeeping::{Auditable, Finding, SumTooLarge, imbalance};
use events::HoldState;
use types::{Currency, Money, OrderId, UserId};

use super::account::Entry;
use super::transfer::{Decision, Kind};

/// The coordinator's row of a transfer, as far as its postings go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) decision: Option<Decision>,
    pub(crate) kind: Kind,
    pub(crate) order_id: OrderId,
    pub(crate) wallet_user_id: UserId,
    pub(crate) account_owner_id: UserId,
    pub(crate) amount: Money,
}

impl Decided {
    /// What arrives in the account by it, negative when it leaves.
    pub(crate) fn account_change(&self) -> i64 {
        match self.kind {
            Kind::Pay => self.amount.minor_units,
            Kind::Refund => -self.amount.minor_units,
        }
    }
}

/// What this database has of an entry besides itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// What its other side adds to `transit`; `None` when there is none.
    pub(crate) transit: Option<i64>,
    pub(crate) has_posting: bool,
    pub(crate) transfer: Option<Decided>,
}

/// What user service has of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherBook {
    pub(crate) hold: Option<HoldState>,
    /// The wallet, and what arrived in it, negative when it left.
    pub(crate) entry: Option<(UserId, Money)>,
    pub(crate) order_id: Option<OrderId>,
}

impl Auditable for Entry {
    /// What this database and user service have of it.
    type Facts = (Evidence, Option<OtherBook>);
    type Sum = (Kept, Currency);

    /// The first thing only, because one wrong amount is at odds with all that should agree with it.
    fn against(&self, (evidence, other): &Self::Facts) -> Option<Finding> {
        against(self, evidence, other.as_ref())
    }

    /// Adds both sides here, and user service's side of the transfer.
    fn count(&self, (_, other): &Self::Facts, sums: &mut Sums) -> Result<(), SumTooLarge> {
        let Some((_, there)) = other.as_ref().and_then(|other| other.entry) else { return Ok(()) };
        let currency = self.account.currency;
        sums.post((Kept::Accounts, currency), (Kept::Transit, currency), self.amount)?;
        let transit = there.minor_units.checked_neg().ok_or(SumTooLarge)?;
        sums.enter((Kept::Wallets, there.currency), transit)
    }
}

fn against(entry: &Entry, evidence: &Evidence, other: Option<&OtherBook>) -> Option<Finding> {
    let id = entry.posting.transfer_id;
    let money = |minor_units| Money::new(entry.account.currency, minor_units);
    let found = |what: String, too_much| Some(Finding::transfer(id, what, Some(money(too_much))));
    let here = money(entry.amount);
    let Some(transit) = evidence.transit.map(money) else {
        return found("has one side only: the one in transit is gone".to_owned(), entry.amount);
    };
    if let Some(too_much) = imbalance(here, transit) {
        return found(format!("its sides do not cancel out: {here} and {transit}"), too_much);
    }
    if !evidence.has_posting {
        return found("has entries and no posting".to_owned(), 0);
    }
    let Some(transfer) = &evidence.transfer else {
        return found(format!("{here} are posted and there is no such transfer"), entry.amount);
    };
    if transfer.decision != Some(Decision::Confirm) {
        return found(format!("{here} are posted, and CONFIRM was not decided"), entry.amount);
    }
    if transfer.account_change() != entry.amount || transfer.amount.currency != here.currency {
        let too_much = entry.amount.saturating_sub(transfer.account_change());
        return found(format!("the transfer is of {} and its entry of {here}", transfer.amount), too_much);
    }
    if transfer.account_owner_id != entry.account.owner_id || transfer.order_id != entry.posting.order_id {
        return found("is posted to another account or order than the transfer's".to_owned(), 0);
    }
    let Some(other) = other else {
        return found(format!("order-service has {here} and user-service does not know it"), entry.amount);
    };
    let Some((user, there)) = other.entry else {
        let what =
            format!("order-service has {here} and user-service no posting; its hold is {:?}", other.hold);
        return found(what, entry.amount);
    };
    if let Some(too_much) = imbalance(here, there) {
        return found(format!("order-service has {here} and user-service {there}"), too_much);
    }
    if user != transfer.wallet_user_id || other.order_id != Some(transfer.order_id) {
        return found(format!("user-service has it in the wallet of {user} for {:?}", other.order_id), 0);
    }
    match other.hold {
        Some(HoldState::Posted) => None,
        hold => found(format!("is posted to the wallet and the wallet's hold is {hold:?}"), 0),
    }
}

/// Which sums the auditor keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    /// Of all merchants' accounts.
    Accounts,
    /// Of this book's `transit`.
    Transit,
    /// Of user service's `transit`, for the same transfers.
    Wallets,
}

impl Kept {
    const ALL: [Self; 3] = [Self::Accounts, Self::Transit, Self::Wallets];

    /// Its name in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Transit => "transit",
            Self::Wallets => "wallets",
        }
    }

    /// The one of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kept| kept.as_str() == name)
    }
}

/// Debits and credits of what was found in order.
pub(crate) type Sums = bookkeeping::Sums<(Kept, Currency)>;

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::super::account::{Account, AccountKey, Posting};
    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money::new("EUR".parse().unwrap(), minor_units)
    }

    fn uuid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    type Whole = (Entry, Evidence, Option<OtherBook>);

    /// A payment of ten, with all that tells of it.
    fn whole() -> Whole {
        let key = AccountKey { owner_id: uuid(1).into(), currency: eur(0).currency };
        let at = OffsetDateTime::UNIX_EPOCH;
        let posting = Posting { transfer_id: uuid(2).into(), order_id: uuid(3).into(), kind: Kind::Pay, at };
        let entry = Account::empty(key).credit(10, posting).unwrap();
        let transfer = Decided {
            decision: Some(Decision::Confirm),
            kind: Kind::Pay,
            order_id: uuid(3).into(),
            wallet_user_id: uuid(4).into(),
            account_owner_id: uuid(1).into(),
            amount: eur(10),
        };
        let evidence = Evidence { transit: Some(-10), has_posting: true, transfer: Some(transfer) };
        let other = OtherBook {
            hold: Some(HoldState::Posted),
            entry: Some((uuid(4).into(), eur(-10))),
            order_id: Some(uuid(3).into()),
        };
        (entry, evidence, Some(other))
    }

    #[test]
    fn whatever_disagrees_is_found_with_what_is_too_much() {
        let (entry, evidence, other) = whole();
        assert_eq!(against(&entry, &evidence, other.as_ref()), None);
        type Change = fn(&mut Whole);
        let changes: [(Change, i64); 14] = [
            (|(entry, ..)| entry.amount = 11, 1),
            (|(_, evidence, _)| evidence.transit = Some(-11), -1),
            (|(_, evidence, _)| evidence.transit = None, 10),
            (|(_, evidence, _)| evidence.has_posting = false, 0),
            (|(_, evidence, _)| evidence.transfer = None, 10),
            (|(_, evidence, _)| evidence.transfer.as_mut().unwrap().decision = None, 10),
            (|(_, evidence, _)| evidence.transfer.as_mut().unwrap().amount = eur(9), 1),
            (|(_, evidence, _)| evidence.transfer.as_mut().unwrap().kind = Kind::Refund, 20),
            (|(_, evidence, _)| evidence.transfer.as_mut().unwrap().order_id = uuid(9).into(), 0),
            (|(.., other)| *other = None, 10),
            (|(.., other)| other.as_mut().unwrap().entry = None, 10),
            (|(.., other)| other.as_mut().unwrap().entry.as_mut().unwrap().1 = eur(-11), -1),
            (|(.., other)| other.as_mut().unwrap().entry.as_mut().unwrap().0 = uuid(9).into(), 0),
            (|(.., other)| other.as_mut().unwrap().hold = Some(HoldState::Held), 0),
        ];
        for (number, (change, too_much)) in changes.into_iter().enumerate() {
            let mut changed = whole();
            change(&mut changed);
            let (entry, evidence, other) = &changed;
            let finding = against(entry, evidence, other.as_ref());
            let finding = finding.unwrap_or_else(|| panic!("change {number} goes unseen"));
            assert_eq!(finding.subject, format!("transfer {}", uuid(2)));
            let expected = (too_much != 0).then(|| eur(too_much));
            assert_eq!(finding.difference, expected, "change {number}");
        }
    }
}
