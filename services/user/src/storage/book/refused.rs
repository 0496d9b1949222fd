//! Refused grants and sendings as they are kept, since a refusal is an outcome too: a repeat hears the same.

use serde::{Deserialize, Serialize};
use types::{Money, UserId};

use super::wallets::currency;
use crate::domain::limits::Limit;
use crate::domain::wallet::{CreditRefused, WalletKey};
use crate::error::{Error, Result};
use crate::storage::requests::Outcome;

/// What is in the way of whatever would leave a frozen wallet.
const FROZEN: &str = "FROZEN";

/// A refused grant or sending, as it is kept with its request id. What a release before the limits knows no name for is
/// to it a wallet that has too little: its repeat is refused there too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CreditRefusedRow {
    InsufficientCredit {
        user: bson::Uuid,
        currency: String,
        /// What could have left.
        available: i64,
        /// What was in the way, if it was not the balance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bar: Option<String>,
    },
    BalanceLimit {
        user: bson::Uuid,
    },
    UserNotFound {
        user: bson::Uuid,
    },
    UserDeactivated {
        user: bson::Uuid,
    },
}

impl From<&CreditRefused> for CreditRefusedRow {
    fn from(refused: &CreditRefused) -> Self {
        match *refused {
            CreditRefused::InsufficientCredit { owner, available } => Self::barred(owner, available, None),
            CreditRefused::WalletFrozen(key) => {
                Self::barred(key.owner, Money::new(key.currency, 0), Some(FROZEN))
            }
            CreditRefused::WalletLimit { owner, limit, left } => {
                Self::barred(owner, left, Some(limit.as_str()))
            }
            CreditRefused::BalanceLimit(user) => Self::BalanceLimit { user: user.uuid().into() },
            CreditRefused::UserNotFound(user) => Self::UserNotFound { user: user.uuid().into() },
            CreditRefused::UserDeactivated(user) => Self::UserDeactivated { user: user.uuid().into() },
        }
    }
}

impl CreditRefusedRow {
    fn barred(owner: UserId, left: Money, bar: Option<&str>) -> Self {
        Self::InsufficientCredit {
            user: owner.uuid().into(),
            currency: left.currency.code().to_owned(),
            available: left.minor_units,
            bar: bar.map(str::to_owned),
        }
    }
}

impl TryFrom<CreditRefusedRow> for CreditRefused {
    type Error = Error;

    fn try_from(row: CreditRefusedRow) -> Result<Self> {
        let id = |user: bson::Uuid| UserId::from_uuid(user.into());
        Ok(match row {
            CreditRefusedRow::InsufficientCredit { user, currency: code, available, bar } => {
                let (owner, available) = (id(user), Money::new(currency(&code)?, available));
                match bar.as_deref() {
                    None => Self::InsufficientCredit { owner, available },
                    Some(FROZEN) => Self::WalletFrozen(WalletKey::of(owner, available)),
                    Some(name) => {
                        let limit = Limit::from_name(name)
                            .ok_or_else(|| Error::internal(format!("{name:?} is no limit of a wallet")))?;
                        Self::WalletLimit { owner, limit, left: available }
                    }
                }
            }
            CreditRefusedRow::BalanceLimit { user } => Self::BalanceLimit(id(user)),
            CreditRefusedRow::UserNotFound { user } => Self::UserNotFound(id(user)),
            CreditRefusedRow::UserDeactivated { user } => Self::UserDeactivated(id(user)),
        })
    }
}

impl Outcome for CreditRefused {
    const KIND: &'static str = "send_refused";
    type Row = CreditRefusedRow;

    fn to_row(&self) -> CreditRefusedRow {
        self.into()
    }

    fn from_row(row: CreditRefusedRow) -> Result<Self> {
        row.try_into()
    }
}
