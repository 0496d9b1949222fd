//! What an audit holds against an entry of an account, given everything else that tells of it: the other side of its
//! posting, the transfer and its decision, and what user service has of it. Pure; `crate::audit` collects it.

use std::collections::BTreeMap;

use events::HoldState;
use serde::{Deserialize, Serialize};
use types::{Currency, Money, OrderId, TransferId, UserId};

use super::account::{Account, AccountKey, Entry, FIRST_HASH};
use super::transfer::{Decision, Kind};

/// This service, as the source of what is found in its book.
pub(crate) const HERE: &str = "order-service";
/// The other one.
pub(crate) const THERE: &str = "user-service";

/// An amount in stored outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) currency: String,
    pub(crate) minor_units: i64,
}

impl From<Money> for Difference {
    fn from(money: Money) -> Self {
        Self { currency: money.currency.code().to_owned(), minor_units: money.minor_units }
    }
}

/// Something in a book that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The service whose book it is in.
    pub(crate) source: String,
    /// What it is about.
    pub(crate) subject: String,
    /// What is wrong.
    pub(crate) description: String,
    /// What the book has too much; `None` when that cannot be told.
    pub(crate) difference: Option<Difference>,
    /// Whether only an audit from the first entry on sees it.
    #[serde(default)]
    pub(crate) only_full: bool,
}

impl Finding {
    /// Something about an account.
    pub(crate) fn account(key: AccountKey, description: impl Into<String>, too_much: i64) -> Self {
        let subject = format!("account {} {}", key.owner_id, key.currency);
        Self::new(subject, description, Some(Money::new(key.currency, too_much)))
    }

    /// Something about a transfer.
    pub(crate) fn transfer(id: TransferId, description: impl Into<String>, too_much: Option<Money>) -> Self {
        Self::new(format!("transfer {id}"), description, too_much)
    }

    /// Something about an order.
    pub(crate) fn order(id: OrderId, description: impl Into<String>, too_much: Money) -> Self {
        Self::new(format!("order {id}"), description, Some(too_much))
    }

    /// The same, seen by an audit from the first entry on only, or by every one.
    pub(crate) fn seen_by_full(self, only_full: bool) -> Self {
        Self { only_full, ..self }
    }

    /// Something about the sums that the auditor keeps.
    pub(crate) fn sums(source: &str, currency: &str, description: impl Into<String>, too_much: i64) -> Self {
        Self {
            source: source.to_owned(),
            subject: format!("sums in {currency}"),
            description: description.into(),
            difference: Some(Difference { currency: currency.to_owned(), minor_units: too_much }),
            only_full: false,
        }
    }

    fn new(subject: String, description: impl Into<String>, too_much: Option<Money>) -> Self {
        let difference = too_much.filter(|money| money.minor_units != 0).map(Difference::from);
        Self {
            source: HERE.to_owned(),
            subject,
            description: description.into(),
            difference,
            only_full: false,
        }
    }
}

/// How far an account's chain was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) sequence: i64,
    pub(crate) balance: i64,
    pub(crate) hash: [u8; 32],
}

impl Chain {
    /// Before the first entry.
    pub(crate) const START: Self = Self { sequence: 0, balance: 0, hash: FIRST_HASH };

    /// What an account says of its own end.
    pub(crate) const fn of(account: &Account) -> Self {
        Self { sequence: account.sequence, balance: account.balance, hash: account.last_hash }
    }

    /// Right behind an entry, whatever came before it.
    pub(crate) fn behind(entry: &Entry) -> Self {
        Self { sequence: entry.sequence, balance: entry.balance_after, hash: entry.hash }
    }

    /// Goes on to the next entry; the error says why that does not follow.
    pub(crate) fn follow(&mut self, entry: &Entry) -> Result<(), &'static str> {
        if entry.sequence != self.sequence + 1 {
            return Err("an entry before it is missing");
        }
        if self.balance.checked_add(entry.amount) != Some(entry.balance_after) {
            return Err("its balance is not the sum");
        }
        if entry.chained_to(&self.hash) != entry.hash {
            return Err("its hash is not that of its content and the one before");
        }
        *self = Self::behind(entry);
        Ok(())
    }

    /// Compares the end with the account, which keeps it too.
    pub(crate) fn end_at(&self, account: &Account) -> Result<(), &'static str> {
        if self.sequence != account.sequence {
            return Err("the account counts another number of entries");
        }
        if self.balance != account.balance {
            return Err("the account has another balance");
        }
        if self.hash != account.last_hash {
            return Err("the account has another hash");
        }
        Ok(())
    }
}

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

/// What is wrong with an entry beside its chain: the first thing, because one wrong amount is at odds with all
/// that should agree with it.
pub(crate) fn against(entry: &Entry, evidence: &Evidence, other: Option<&OtherBook>) -> Option<Finding> {
    let id = entry.posting.transfer_id;
    let money = |minor_units| Money::new(entry.account.currency, minor_units);
    let found = |what: String, too_much| Some(Finding::transfer(id, what, Some(money(too_much))));
    let here = money(entry.amount);
    match evidence.transit {
        None => return found("has one side only: the one in transit is gone".to_owned(), entry.amount),
        Some(transit) if transit.checked_add(entry.amount) != Some(0) => {
            let what = format!("its sides do not cancel out: {here} and {}", money(transit));
            return found(what, entry.amount.saturating_add(transit));
        }
        Some(_) => {}
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
    if there.currency != here.currency || there.minor_units.checked_add(entry.amount) != Some(0) {
        let too_much = entry.amount.saturating_add(there.minor_units);
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums(pub(crate) BTreeMap<(Kept, Currency), (i64, i64)>);

impl Sums {
    /// Adds a transfer: both sides here, and user service's side of it. `None` when a sum does not fit.
    pub(crate) fn count(&mut self, entry: &Entry, there: Money) -> Option<()> {
        let currency = entry.account.currency;
        self.add(Kept::Accounts, currency, entry.amount)?;
        self.add(Kept::Transit, currency, entry.amount.checked_neg()?)?;
        self.add(Kept::Wallets, there.currency, there.minor_units.checked_neg()?)
    }

    /// Adds all of another. `None` when a sum does not fit.
    pub(crate) fn add_all(&mut self, other: &Self) -> Option<()> {
        for (key, (debit, credit)) in &other.0 {
            let sum = self.0.entry(*key).or_default();
            *sum = (sum.0.checked_add(*debit)?, sum.1.checked_add(*credit)?);
        }
        Some(())
    }

    fn add(&mut self, kept: Kept, currency: Currency, amount: i64) -> Option<()> {
        let sum = self.0.entry((kept, currency)).or_default();
        if amount < 0 {
            sum.0 = sum.0.checked_add(amount.checked_neg()?)?;
        } else {
            sum.1 = sum.1.checked_add(amount)?;
        }
        Some(())
    }

    /// Credits less debits.
    pub(crate) fn net(&self, kept: Kept, currency: Currency) -> i64 {
        self.0.get(&(kept, currency)).map_or(0, |(debit, credit)| credit - debit)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::super::account::Posting;
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
            let expected = (too_much != 0).then(|| eur(too_much).into());
            assert_eq!(finding.difference, expected, "change {number}");
        }
    }

    #[test]
    fn a_chain_is_followed_to_its_account_and_no_other_end() {
        let (first, ..) = whole();
        let mut account = Account::empty(first.account);
        let first = account.credit(10, first.posting).unwrap();
        let second = account.credit(5, Posting { transfer_id: uuid(7).into(), ..first.posting }).unwrap();
        let mut chain = Chain::START;
        chain.follow(&first).unwrap();
        assert_eq!(chain.end_at(&account), Err("the account counts another number of entries"));
        assert_eq!({ Chain::START }.follow(&second), Err("an entry before it is missing"));
        let forged = Entry { balance_after: 16, ..second.clone() };
        assert_eq!({ chain }.follow(&forged), Err("its balance is not the sum"));
        let forged = Entry { hash: [1; 32], ..second.clone() };
        let hash = "its hash is not that of its content and the one before";
        assert_eq!({ chain }.follow(&forged), Err(hash));
        chain.follow(&second).unwrap();
        assert_eq!(chain.end_at(&account), Ok(()));
        account.balance += 1;
        assert_eq!(chain.end_at(&account), Err("the account has another balance"));
    }
}
