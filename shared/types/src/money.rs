//! Exact money: minor units and a currency, checked arithmetic, never a float.

use std::fmt;
use std::str::FromStr;

/// The largest amount that one request may move, in minor units.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// The largest balance of a wallet or an account, in minor units. The sum of a thousand such balances still fits into
/// an `i64`.
pub const BALANCE_MAX: i64 = 1_000_000_000_000_000;

/// An ISO 4217 currency that Tristore keeps books in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// The active codes of ISO 4217 (list one, 2024) that people pay with: no funds, metals or test codes.
const CODES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN \
    BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS \
    GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD \
    KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR \
    NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN \
    SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF \
    YER ZAR ZMW ZWG";

impl Currency {
    /// The code, such as `EUR`.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII codes are made into a Currency")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(code: &str) -> Result<Self, MoneyError> {
        let known = code.len() == 3 && CODES.split_ascii_whitespace().any(|known| known == code);
        let bytes = code.as_bytes().try_into().map_err(|_| MoneyError::UnknownCurrency)?;
        if known { Ok(Self(bytes)) } else { Err(MoneyError::UnknownCurrency) }
    }
}

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
    /// Not an active ISO 4217 code in capital letters.
    UnknownCurrency,
    /// The two amounts have different currencies.
    CurrencyMismatch,
    /// The result does not fit.
    Overflow,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCurrency => "not an ISO 4217 currency code",
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
    /// Minor units and the code. The decimal point is left out, since its place depends on the currency.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.minor_units, self.currency)
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
    fn only_active_codes_in_capitals_are_currencies() {
        for bad in ["", "EU", "EURO", "eur", "XXX", "XAU", "R U", "€€€", "AED AFN"] {
            assert_eq!(bad.parse::<Currency>(), Err(MoneyError::UnknownCurrency), "{bad}");
        }
    }
}
