//! The limits of a wallet, and what may stand in the way of what would leave one.

use time::Date;

/// How much may leave; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// At most so much at once.
    pub(crate) payment: Option<i64>,
    /// At most so much a day.
    pub(crate) day: Option<i64>,
}

impl Limits {
    pub(crate) const NONE: Self = Self { payment: None, day: None };
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// That of a payment.
    Payment,
    /// That of a day.
    Day,
}

impl Limit {
    /// Its name in the database and on the wire.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "PAYMENT",
            Self::Day => "DAY",
        }
    }

    /// The limit of this name.
    #[must_use]
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Payment, Self::Day].into_iter().find(|limit| limit.as_str() == name)
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Payment => "a payment",
            Self::Day => "a day",
        })
    }
}

/// The sum of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) day: Date,
    /// In minor units; what has circulated may be more than any balance.
    pub(crate) amount: i64,
}

/// What keeps an amount in a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bar {
    Frozen,
    Limit {
        limit: Limit,
        /// What it would let through.
        left: i64,
    },
    TooLittle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_limits_read_back() {
        for limit in [Limit::Payment, Limit::Day] {
            assert_eq!(Limit::from_name(limit.as_str()), Some(limit));
        }
        assert_eq!(Limit::from_name("YEAR"), None);
    }
}
