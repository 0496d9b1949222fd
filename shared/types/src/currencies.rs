//! The currencies of ISO 4217 that people pay with: no funds, units of account, metals or test codes.
//!
//! Source: list one ("current currency and funds") of the standard's maintenance agency, SIX, as published on
//! 2026-01-01, with all amendments up to number 180 (Bulgaria joins the euro). The dates are those of the amendments.
//! No crate is the source, though kept ones have list one (`iso4217-static`, with which this table was compared, and
//! `iso_currency`): they have no dates, and they drop a currency when it is withdrawn, while its rows stay in our books.
//!
//! To renew it, read the amendments above the number here, and list one, on
//! <https://www.six-group.com/en/products-services/financial-information/data-standards.html>:
//!
//! 1. A new currency is a new row with `since`, in the order of the codes. It may be entered before its day.
//! 2. A withdrawn one gets `until`, the first day on which it is no longer in force. **Its row stays for ever**: wallets,
//!    accounts and orders in it must still be read, refunded and sent.
//! 3. The digits of a currency in use never change: amounts are kept in minor units. ISO gives a currency that is
//!    redenominated a new code.
//! 4. Set [`AS_OF`] and [`AMENDMENT`]. `cargo xtask doctor` says when they are more than a year old.

use time::Date;
use time::macros::date;

/// The day of the edition of ISO 4217's list one that the table agrees with.
pub const AS_OF: Date = date!(2026 - 01 - 01);

/// The last amendment of ISO 4217 that the table has.
pub const AMENDMENT: u16 = 180;

/// One currency.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) code: [u8; 3],
    /// How many decimal digits the minor unit has.
    pub(crate) digits: u32,
    /// The first day, for currencies that are younger than 2020.
    pub(crate) since: Option<Date>,
    /// The first day after the last. Currencies that were withdrawn before 2021 are left out: nobody kept books in them
    /// here.
    pub(crate) until: Option<Date>,
}

const fn row(code: &[u8; 3], digits: u32) -> Row {
    Row { code: *code, digits, since: None, until: None }
}

impl Row {
    const fn since(mut self, day: Date) -> Self {
        self.since = Some(day);
        self
    }

    const fn until(mut self, day: Date) -> Self {
        self.until = Some(day);
        self
    }
}

/// All of them, in the order of their codes.
pub(crate) static ROWS: [Row; 161] = [
    row(b"AED", 2),
    row(b"AFN", 2),
    row(b"ALL", 2),
    row(b"AMD", 2),
    row(b"ANG", 2).until(date!(2025 - 03 - 31)), // amendment 176
    row(b"AOA", 2),
    row(b"ARS", 2),
    row(b"AUD", 2),
    row(b"AWG", 2),
    row(b"AZN", 2),
    row(b"BAM", 2),
    row(b"BBD", 2),
    row(b"BDT", 2),
    row(b"BGN", 2).until(date!(2026 - 01 - 01)), // amendment 180
    row(b"BHD", 3),
    row(b"BIF", 0),
    row(b"BMD", 2),
    row(b"BND", 2),
    row(b"BOB", 2),
    row(b"BRL", 2),
    row(b"BSD", 2),
    row(b"BTN", 2),
    row(b"BWP", 2),
    row(b"BYN", 2),
    row(b"BZD", 2),
    row(b"CAD", 2),
    row(b"CDF", 2),
    row(b"CHF", 2),
    row(b"CLP", 0),
    row(b"CNY", 2),
    row(b"COP", 2),
    row(b"CRC", 2),
    row(b"CUC", 2).until(date!(2021 - 07 - 01)), // amendment 178
    row(b"CUP", 2),
    row(b"CVE", 2),
    row(b"CZK", 2),
    row(b"DJF", 0),
    row(b"DKK", 2),
    row(b"DOP", 2),
    row(b"DZD", 2),
    row(b"EGP", 2),
    row(b"ERN", 2),
    row(b"ETB", 2),
    row(b"EUR", 2),
    row(b"FJD", 2),
    row(b"FKP", 2),
    row(b"GBP", 2),
    row(b"GEL", 2),
    row(b"GHS", 2),
    row(b"GIP", 2),
    row(b"GMD", 2),
    row(b"GNF", 0),
    row(b"GTQ", 2),
    row(b"GYD", 2),
    row(b"HKD", 2),
    row(b"HNL", 2),
    row(b"HRK", 2).until(date!(2023 - 01 - 01)), // amendment 174
    row(b"HTG", 2),
    row(b"HUF", 2),
    row(b"IDR", 2),
    row(b"ILS", 2),
    row(b"INR", 2),
    row(b"IQD", 3),
    row(b"IRR", 2),
    row(b"ISK", 0),
    row(b"JMD", 2),
    row(b"JOD", 3),
    row(b"JPY", 0),
    row(b"KES", 2),
    row(b"KGS", 2),
    row(b"KHR", 2),
    row(b"KMF", 0),
    row(b"KPW", 2),
    row(b"KRW", 0),
    row(b"KWD", 3),
    row(b"KYD", 2),
    row(b"KZT", 2),
    row(b"LAK", 2),
    row(b"LBP", 2),
    row(b"LKR", 2),
    row(b"LRD", 2),
    row(b"LSL", 2),
    row(b"LYD", 3),
    row(b"MAD", 2),
    row(b"MDL", 2),
    row(b"MGA", 2),
    row(b"MKD", 2),
    row(b"MMK", 2),
    row(b"MNT", 2),
    row(b"MOP", 2),
    row(b"MRU", 2),
    row(b"MUR", 2),
    row(b"MVR", 2),
    row(b"MWK", 2),
    row(b"MXN", 2),
    row(b"MYR", 2),
    row(b"MZN", 2),
    row(b"NAD", 2),
    row(b"NGN", 2),
    row(b"NIO", 2),
    row(b"NOK", 2),
    row(b"NPR", 2),
    row(b"NZD", 2),
    row(b"OMR", 3),
    row(b"PAB", 2),
    row(b"PEN", 2),
    row(b"PGK", 2),
    row(b"PHP", 2),
    row(b"PKR", 2),
    row(b"PLN", 2),
    row(b"PYG", 0),
    row(b"QAR", 2),
    row(b"RON", 2),
    row(b"RSD", 2),
    row(b"RUB", 2),
    row(b"RWF", 0),
    row(b"SAR", 2),
    row(b"SBD", 2),
    row(b"SCR", 2),
    row(b"SDG", 2),
    row(b"SEK", 2),
    row(b"SGD", 2),
    row(b"SHP", 2),
    row(b"SLE", 2).since(date!(2022 - 04 - 01)), // amendment 171
    row(b"SLL", 2).until(date!(2024 - 01 - 01)), // amendment 175
    row(b"SOS", 2),
    row(b"SRD", 2),
    row(b"SSP", 2),
    row(b"STN", 2),
    row(b"SVC", 2),
    row(b"SYP", 2),
    row(b"SZL", 2),
    row(b"THB", 2),
    row(b"TJS", 2),
    row(b"TMT", 2),
    row(b"TND", 3),
    row(b"TOP", 2),
    row(b"TRY", 2),
    row(b"TTD", 2),
    row(b"TWD", 2),
    row(b"TZS", 2),
    row(b"UAH", 2),
    row(b"UGX", 0),
    row(b"USD", 2),
    row(b"UYU", 2),
    row(b"UZS", 2),
    row(b"VED", 2).since(date!(2021 - 10 - 01)), // amendment 170
    row(b"VES", 2),
    row(b"VND", 0),
    row(b"VUV", 0),
    row(b"WST", 2),
    row(b"XAF", 0),
    row(b"XCD", 2),
    row(b"XCG", 2).since(date!(2025 - 03 - 31)), // amendment 176
    row(b"XOF", 0),
    row(b"XPF", 0),
    row(b"YER", 2),
    row(b"ZAR", 2),
    row(b"ZMW", 2),
    row(b"ZWG", 2).since(date!(2024 - 06 - 25)), // amendment 177
    row(b"ZWL", 2).until(date!(2024 - 09 - 01)), // amendment 177
];
