//! The conversions that more than one service needs.

use types::{Money, Role};

use crate::{auth, common};

impl From<Money> for common::v1::Money {
    fn from(money: Money) -> Self {
        Self { currency_code: money.currency.code().to_owned(), minor_units: money.minor_units }
    }
}

impl From<Role> for auth::v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Customer => Self::Customer,
            Role::Merchant => Self::Merchant,
            Role::Admin => Self::Admin,
        }
    }
}

impl auth::v1::Role {
    /// The role as the other crates know it; `None` for the unspecified one.
    #[must_use]
    pub fn known(self) -> Option<Role> {
        match self {
            Self::Unspecified => None,
            Self::Customer => Some(Role::Customer),
            Self::Merchant => Some(Role::Merchant),
            Self::Admin => Some(Role::Admin),
        }
    }
}
