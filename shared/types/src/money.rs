//! Exact money: minor units and a currency, checked arithmetic, never a float.

use std::fmt;

use crate::currency::{Currency, Decimal};

/// The largest amount that one request may move, in minor units.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// The largest balance of a wallet or an account, in minor units. The sum of a thousand such balances still fits into
/// an `i64`.
pub const BALANCE_MAX: i64 = 1_000_000_000_000_000;

/// An amount of one currency; may be negative inside a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// The currency.
    pub currency: Currency,
    /// The amount in the currency's minor unit.
    pub minor_units: i64,
}

/// Why there is no such amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoneyError {
    /// The two amounts have different currencies.
    CurrencyMismatch,
    /// The result does not fit.
    Overflow,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CurrencyMismatch => "the currencies differ",
            Self::Overflow => "the amount is too large",
        })
    }
}

impl std::error::Error for MoneyError {}

impl Money {
    /// An amount of `minor_units`.
    #[must_use]
    pub const fn new(currency: Currency, minor_units: i64) -> Self {
        Self { currency, minor_units }
    }

    /// The amount without the currency, as people write it.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        self.currency.decimal(self.minor_units)
    }

    /// The sum of both amounts.
    ///
    /// # Errors
    /// When the currencies differ or the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        let minor_units = self.minor_units.checked_add(other.minor_units).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, ..self })
    }

    /// The product with a quantity.
    ///
    /// # Errors
    /// When the product does not fit.
    pub fn times(self, quantity: i64) -> Result<Self, MoneyError> {
        let minor_units = self.minor_units.checked_mul(quantity).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, ..self })
    }
}

impl fmt::Display for Money {
    /// As people write it, with the currency's digits: `12.50 EUR`, `1250 JPY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money::new("EUR".parse().unwrap(), minor_units)
    }

    #[test]
    fn arithmetic_is_checked() {
        assert_eq!(eur(2).plus(eur(3)), Ok(eur(5)));
        assert_eq!(eur(2).times(3), Ok(eur(6)));
        assert_eq!(eur(i64::MAX).plus(eur(1)), Err(MoneyError::Overflow));
        assert_eq!(eur(i64::MAX).times(2), Err(MoneyError::Overflow));
        let yen = Money::new("JPY".parse().unwrap(), 1);
        assert_eq!(eur(1).plus(yen), Err(MoneyError::CurrencyMismatch));
    }

    #[test]
    fn people_read_the_digits_of_the_currency() {
        assert_eq!(eur(1250).to_string(), "12.50 EUR");
        assert_eq!(Money::new("JPY".parse().unwrap(), -1250).to_string(), "-1250 JPY");
        assert_eq!(Money::new("BHD".parse().unwrap(), 1250).to_string(), "1.250 BHD");
    }
}
