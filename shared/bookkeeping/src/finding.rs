//! What an audit finds.

use std::fmt::Display;

use types::{Currency, Money, UserId};

/// Says which account of a book is meant.
pub trait Key: Copy {
    /// What the book calls its accounts, in the words of a finding.
    const NOUN: &'static str;

    /// Whose account it is.
    fn owner(self) -> UserId;

    /// The currency of the account.
    fn currency(self) -> Currency;
}

/// Something in a book that must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: String,
    /// What is wrong.
    pub description: String,
    /// By how much the book shows more than it should; `None` when that is unknown or nothing.
    pub difference: Option<Money>,
    /// Whether only an audit that begins at the first entry sees it.
    pub only_full: bool,
}

impl Finding {
    /// Something about a subject that has no constructor of its own. Every audit sees it.
    #[must_use]
    pub fn new(subject: String, description: impl Into<String>, too_much: Option<Money>) -> Self {
        let difference = too_much.filter(|money| money.minor_units != 0);
        Self { subject, description: description.into(), difference, only_full: false }
    }

    /// Something about an account.
    #[must_use]
    pub fn account<K: Key>(key: K, description: impl Into<String>, too_much: i64) -> Self {
        let (owner, currency) = (key.owner(), key.currency());
        let too_much = Money::new(currency, too_much);
        Self::new(format!("{} {owner} {currency}", K::NOUN), description, Some(too_much))
    }

    /// Something about a transfer, by its id or by the id of its posting, which is the same.
    #[must_use]
    pub fn transfer(id: impl Display, description: impl Into<String>, too_much: Option<Money>) -> Self {
        Self::new(format!("transfer {id}"), description, too_much)
    }

    /// The same finding; `only_full` says whether only an audit that begins at the first entry sees it.
    #[must_use]
    pub fn seen_by_full(self, only_full: bool) -> Self {
        Self { only_full, ..self }
    }
}
