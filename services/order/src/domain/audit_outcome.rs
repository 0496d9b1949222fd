//! What an audit comes to: both books' sums at the cut, what is wrong, and whether that is still known. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use bookkeeping::Finding;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::{Currency, Money};
use uuid::Uuid;

use super::audit::{Kept, Sums};

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

/// A finding in one of the two books, in the form in which outcomes are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drift {
    /// The service whose book it is in.
    pub(crate) source: String,
    pub(crate) subject: String,
    pub(crate) description: String,
    pub(crate) difference: Option<Difference>,
    /// Whether only an audit that begins at the first entry sees it.
    #[serde(default)]
    pub(crate) only_full: bool,
}

impl From<Finding> for Drift {
    fn from(finding: Finding) -> Self {
        Self {
            source: HERE.to_owned(),
            subject: finding.subject,
            description: finding.description,
            difference: finding.difference.map(Difference::from),
            only_full: finding.only_full,
        }
    }
}

impl Drift {
    /// Something about the sums that the auditor keeps of a book.
    fn sums(source: &str, currency: &str, description: impl Into<String>, too_much: i64) -> Self {
        Self {
            source: source.to_owned(),
            subject: format!("sums in {currency}"),
            description: description.into(),
            difference: Some(Difference { currency: currency.to_owned(), minor_units: too_much }),
            only_full: false,
        }
    }
}

/// A place in stream `order` that user service has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut {
    pub(crate) epoch: Uuid,
    pub(crate) position: i64,
    /// Transfers that had not ended then.
    pub(crate) in_flight: i64,
}

/// One line of what was found in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) source: String,
    pub(crate) account: String,
    pub(crate) currency: String,
    pub(crate) debit: i64,
    pub(crate) credit: i64,
}

/// Both sides of the transfers up to the cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transit {
    pub(crate) currency: String,
    pub(crate) order: i64,
    pub(crate) user: i64,
    pub(crate) beyond: i64,
}

/// What an audit came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) is_full: bool,
    pub(crate) cut: Cut,
    pub(crate) accounts: i64,
    pub(crate) entries: i64,
    pub(crate) lines: Vec<Line>,
    pub(crate) transits: Vec<Transit>,
    pub(crate) findings: Vec<Drift>,
    /// Beyond those that are kept.
    pub(crate) more_findings: i64,
    /// Whether something was found that only a full audit sees. Of an outcome that does not say, it is assumed.
    #[serde(default = "assumed")]
    pub(crate) has_only_full: bool,
}

const fn assumed() -> bool {
    true
}

impl Outcome {
    /// Whether what was found has to be looked for by a full audit, for only such a one sees it mended.
    pub(crate) fn asks_for_full(&self) -> bool {
        self.has_only_full && !self.findings.is_empty()
    }
}

/// An audit that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audit {
    pub(crate) started_at: OffsetDateTime,
    pub(crate) ended_at: OffsetDateTime,
    pub(crate) outcome: Outcome,
}

/// An audit that came to no end: nothing is known of the books by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) failed_at: OffsetDateTime,
    /// What the caller may read of it.
    pub(crate) what: String,
    /// Whether one of those that failed was a full one.
    pub(crate) is_full: bool,
}

/// The last that is known of the books.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    pub(crate) last: Option<Audit>,
    /// How long ago it ended, by the database's clock.
    pub(crate) age: Duration,
    /// When the last full audit began that ended.
    pub(crate) full_at: Option<OffsetDateTime>,
    /// Since then, or since the last full one if it is a full one.
    pub(crate) failure: Option<Failure>,
}

/// The lines and transits of both books, and what is wrong with the sums themselves.
pub(crate) fn compare(here: &Sums, there: Vec<Line>) -> (Vec<Line>, Vec<Transit>, Vec<Drift>) {
    let mut lines: Vec<Line> = here
        .0
        .iter()
        .filter(|((kept, _), _)| *kept != Kept::Wallets)
        .map(|((kept, currency), (debit, credit))| Line {
            source: HERE.to_owned(),
            account: kept.as_str().to_owned(),
            currency: currency.to_string(),
            debit: *debit,
            credit: *credit,
        })
        .collect();
    lines.extend(there);
    let mut findings = Vec::new();
    for source in [HERE, THERE] {
        let mut nets: BTreeMap<&str, i64> = BTreeMap::new();
        for line in lines.iter().filter(|line| line.source == source) {
            let net = nets.entry(&line.currency).or_default();
            *net = net.saturating_add(line.credit.saturating_sub(line.debit));
        }
        for (currency, net) in nets.into_iter().filter(|(_, net)| *net != 0) {
            findings.push(Drift::sums(source, currency, "debits and credits differ", net));
        }
    }
    let mut currencies: Vec<Currency> = here.0.keys().map(|(_, currency)| *currency).collect();
    currencies.sort_unstable();
    currencies.dedup();
    let mut transits = Vec::new();
    for currency in currencies {
        let (order, user) = (here.net(&(Kept::Transit, currency)), here.net(&(Kept::Wallets, currency)));
        let code = currency.code();
        if order.saturating_add(user) != 0 {
            let what = format!("transit is {order} here and {user} in user-service");
            findings.push(Drift::sums(HERE, code, what, order.saturating_add(user)));
        }
        let is_transit =
            |line: &&Line| line.source == THERE && line.account == "transit" && line.currency == code;
        let all = lines.iter().find(is_transit).map_or(0, |line| line.credit - line.debit);
        transits.push(Transit { currency: code.to_owned(), order, user, beyond: all.saturating_sub(user) });
    }
    (lines, transits, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money::new("EUR".parse().unwrap(), minor_units)
    }

    #[test]
    fn what_is_beyond_the_cut_is_told_and_sums_that_differ_are_found() {
        let mut here = Sums::default();
        here.0.insert((Kept::Accounts, eur(0).currency), (0, 10));
        here.0.insert((Kept::Transit, eur(0).currency), (10, 0));
        here.0.insert((Kept::Wallets, eur(0).currency), (0, 10));
        let there = |account: &str, debit, credit| Line {
            source: THERE.to_owned(),
            account: account.to_owned(),
            currency: "EUR".to_owned(),
            debit,
            credit,
        };
        // Ten were paid up to the cut, and three after it.
        let wallets = vec![there("wallets", 13, 0), there("transit", 0, 13)];
        let (lines, transits, findings) = compare(&here, wallets.clone());
        assert_eq!((lines.len(), findings), (4, vec![]));
        assert_eq!(transits, [Transit { currency: "EUR".to_owned(), order: -10, user: 10, beyond: 3 }]);
        here.0.get_mut(&(Kept::Wallets, eur(0).currency)).unwrap().1 = 11;
        let (.., findings) = compare(&here, wallets);
        assert_eq!(findings[0].difference, Some(eur(1).into()));
    }
}
