//! An order, what may be done with it, and what it costs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Stock is taken; can be paid or cancelled.
    Placed,
    /// A payment runs.
    PaymentPending,
    /// The merchant has the money.
    Paid,
    /// Final: the stock is back.
    Cancelled,
}

impl OrderState {
    /// The name under which the database keeps it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::PaymentPending => "payment_pending",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrderState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Placed, Self::PaymentPending, Self::Paid, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("no order state is called {text:?}"))
    }
}
