//! Currencies: which there are, since and until when, and how their amounts are written.

use std::fmt;
use std::str::FromStr;

use time::{Date, OffsetDateTime};

use crate::currencies::{ROWS, Row};
use crate::failure::{Failure, Violation};

/// An ISO 4217 currency that Tristore keeps books in, now or in the past. Reading, refunding and sending take any of
/// them; whether something may begin in it is asked of a day, with [`Currency::require_in_force`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Not the code, in capital letters, of a currency that there is or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 4217 currency code")]
pub struct UnknownCurrency;

/// What a currency is on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It comes into force on this later day.
    Coming(Date),
    /// People pay with it.
    InForce,
    /// It was withdrawn on this day.
    Withdrawn(Date),
}

impl Currency {
    /// All that there are and were, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| Self(row.code))
    }

    /// The code, such as `EUR`.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII codes are made into a Currency")
    }

    /// How many decimal digits the minor unit has: 2 for `EUR`, 0 for `JPY`, 3 for `BHD`.
    #[must_use]
    pub fn minor_digits(self) -> u32 {
        self.row().digits
    }

    /// An amount of it as people write it, without the code: 1250 is `12.50` of `EUR` and `1250` of `JPY`.
    #[must_use]
    pub fn decimal(self, minor_units: i64) -> Decimal {
        Decimal { minor_units, digits: self.minor_digits() }
    }

    /// What it is on a day. Days are those of UTC: at home it may come and go some hours earlier or later.
    #[must_use]
    pub fn standing(self, on: Date) -> Standing {
        match self.row() {
            Row { since: Some(since), .. } if on < *since => Standing::Coming(*since),
            Row { until: Some(until), .. } if on >= *until => Standing::Withdrawn(*until),
            _ => Standing::InForce,
        }
    }

    /// Refuses to begin something in a currency that is not in force: new credit, a new price. `field` is the path of the
    /// request's field that has its code. A use case asks it after it has looked for the answer to an earlier call with
    /// the request id, since that stays what it was.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with the rule `CURRENCY_WITHDRAWN` or `CURRENCY_NOT_YET_IN_FORCE`.
    pub fn require_in_force(self, now: OffsetDateTime, field: &str) -> Result<(), Failure> {
        let (reason, description) = match self.standing(now.to_offset(time::UtcOffset::UTC).date()) {
            Standing::InForce => return Ok(()),
            Standing::Coming(day) => {
                ("CURRENCY_NOT_YET_IN_FORCE", format!("{self} comes into force on {day}"))
            }
            Standing::Withdrawn(day) => ("CURRENCY_WITHDRAWN", format!("{self} was withdrawn on {day}")),
        };
        Err(Failure::Invalid(vec![Violation { field: field.to_owned(), reason, description }]))
    }

    fn row(self) -> &'static Row {
        find(self.0).expect("only codes of the table are made into a Currency")
    }
}

fn find(code: [u8; 3]) -> Option<&'static Row> {
    ROWS.binary_search_by_key(&code, |row| row.code).ok().map(|place| &ROWS[place])
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        let code = code.as_bytes().try_into().map_err(|_| UnknownCurrency)?;
        find(code).map(|row| Self(row.code)).ok_or(UnknownCurrency)
    }
}

/// An amount as people write it. `{:+}` writes the sign of a positive one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    minor_units: i64,
    digits: u32,
}

impl Decimal {
    /// An amount of the currency that another service or an older row names. A code that this program does not know, as
    /// it is older than the currency, is no reason to show nothing: then these are minor units.
    #[must_use]
    pub fn of(currency_code: &str, minor_units: i64) -> Self {
        let digits = currency_code.parse().map_or(0, Currency::minor_digits);
        Self { minor_units, digits }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (amount, one) = (self.minor_units.unsigned_abs(), 10_u64.pow(self.digits));
        let text = match self.digits {
            0 => amount.to_string(),
            digits => format!("{}.{:0width$}", amount / one, amount % one, width = digits as usize),
        };
        f.pad_integral(self.minor_units >= 0, "", &text)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn the_table_is_sorted_and_its_days_are_in_order() {
        assert!(ROWS.windows(2).all(|pair| pair[0].code < pair[1].code), "a code is found by halves");
        for row in &ROWS {
            let code = std::str::from_utf8(&row.code).unwrap();
            assert!(code.bytes().all(|letter| letter.is_ascii_uppercase()) && row.digits <= 4, "{code}");
            assert!(row.since.zip(row.until).is_none_or(|(since, until)| since < until), "{code}");
        }
    }

    #[test]
    fn only_codes_in_capitals_of_money_are_currencies() {
        for bad in
            ["", "EU", "EURO", "eur", "XXX", "XTS", "XAU", "XDR", "CLF", "USN", "R U", "€€€", "€", "AED AFN"]
        {
            assert_eq!(bad.parse::<Currency>(), Err(UnknownCurrency), "{bad}");
        }
    }

    /// Rows in any of these may exist; it is the list that was accepted before currencies had dates.
    #[test]
    fn every_currency_that_books_were_ever_kept_in_can_still_be_read() {
        let kept = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD \
            CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF \
            GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP \
            LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB \
            PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL \
            THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW \
            ZWG CUC HRK SLL ZWL XCG";
        for code in kept.split_ascii_whitespace() {
            assert_eq!(code.parse::<Currency>().map(|currency| currency.to_string()).as_deref(), Ok(code));
        }
    }

    #[test]
    fn a_currency_is_in_force_from_its_first_day_until_it_is_withdrawn() {
        let new = date!(2025 - 03 - 31);
        for (code, on, expected) in [
            ("XCG", date!(2025 - 03 - 30), Standing::Coming(new)),
            ("XCG", new, Standing::InForce),
            ("ANG", date!(2025 - 03 - 30), Standing::InForce),
            ("ANG", new, Standing::Withdrawn(new)),
            ("BGN", date!(2025 - 12 - 31), Standing::InForce),
            ("BGN", date!(2026 - 01 - 01), Standing::Withdrawn(date!(2026 - 01 - 01))),
            ("EUR", date!(1970 - 01 - 01), Standing::InForce),
            ("EUR", date!(9999 - 12 - 31), Standing::InForce),
        ] {
            assert_eq!(currency(code).standing(on), expected, "{code} on {on}");
        }
    }

    #[test]
    fn nothing_begins_in_a_currency_that_is_not_in_force() {
        let told = |code, now| match currency(code).require_in_force(now, "amount.currency_code") {
            Ok(()) => None,
            Err(Failure::Invalid(broken)) => {
                let Violation { field, reason, description } = broken.into_iter().next().unwrap();
                assert_eq!(field, "amount.currency_code");
                Some((reason, description))
            }
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(told("HRK", datetime!(2022-12-31 23:59:59 UTC)), None);
        // In Zagreb it is the new year already; the day of UTC counts.
        assert_eq!(told("HRK", datetime!(2023-01-01 00:30 +1)), None);
        let withdrawn = ("CURRENCY_WITHDRAWN", "HRK was withdrawn on 2023-01-01".to_owned());
        assert_eq!(told("HRK", datetime!(2023-01-01 00:00 UTC)), Some(withdrawn));
        let coming = ("CURRENCY_NOT_YET_IN_FORCE", "ZWG comes into force on 2024-06-25".to_owned());
        assert_eq!(told("ZWG", datetime!(2024-06-24 12:00 UTC)), Some(coming));
    }

    #[test]
    fn amounts_are_written_with_the_digits_of_their_currency() {
        for (code, minor_units, expected) in [
            ("EUR", 1250, "12.50"),
            ("EUR", 5, "0.05"),
            ("EUR", 0, "0.00"),
            ("EUR", -1, "-0.01"),
            ("EUR", -250, "-2.50"),
            ("JPY", 1250, "1250"),
            ("JPY", -3, "-3"),
            ("KWD", 1250, "1.250"),
            ("BHD", 7, "0.007"),
            ("EUR", i64::MAX, "92233720368547758.07"),
            ("BHD", i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(currency(code).decimal(minor_units).to_string(), expected, "{minor_units} {code}");
            assert_eq!(Decimal::of(code, minor_units), currency(code).decimal(minor_units));
        }
        assert_eq!(
            Decimal::of("QQQ", 1250).to_string(),
            "1250",
            "of a currency that is newer than this program"
        );
        let padded = |amount: Decimal| format!("{amount:>8}|{amount:<8}|{amount:+}");
        assert_eq!(padded(currency("EUR").decimal(5)), "    0.05|0.05    |+0.05");
    }
}
