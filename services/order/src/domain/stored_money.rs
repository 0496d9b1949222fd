//! Money inside recorded outcomes: `{"currency": "EUR", "minor_units": 5}`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::Money;

#[derive(Serialize, Deserialize)]
struct Stored {
    currency: String,
    minor_units: i64,
}

pub(super) fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    Stored { currency: money.currency.code().to_owned(), minor_units: money.minor_units }
        .serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    let stored = Stored::deserialize(deserializer)?;
    let currency = stored.currency.parse().map_err(D::Error::custom)?;
    Ok(Money::new(currency, stored.minor_units))
}
