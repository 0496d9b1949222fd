//! Checking a request's fields: all of them, so that the caller hears of every broken rule at once.

mod text;

use prost_types::Timestamp;
use std::str::FromStr;
use time::OffsetDateTime;
use types::{AMOUNT_MAX, Currency, Failure, InvalidId, Money, UserId, Violation};
use uuid::Uuid;

use crate::{common, page_token};

/// Collects what is wrong with a request, by field path. The answer lists the first [`VIOLATIONS_MAX`] and says how
/// many more there are, since it travels in a header and clients do not accept long headers.
#[derive(Debug, Default)]
pub struct Violations {
    listed: Vec<Violation>,
    count: usize,
    /// Who sent the request, where some rules are about the caller.
    caller: Option<UserId>,
}

/// How many broken rules are listed one by one.
pub const VIOLATIONS_MAX: usize = 30;

/// How many rows a page has when the request does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// How many rows a page has at most; a request for more gets this many.
pub const PAGE_SIZE_MAX: u32 = 1000;

impl Violations {
    /// The check of a request that nobody in particular sent. Nothing is wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The check of a request that this user sent.
    #[must_use]
    pub fn of_caller(caller: Option<UserId>) -> Self {
        Self { caller, ..Self::default() }
    }

    /// Who sent the request, if it is a user.
    #[must_use]
    pub fn caller(&self) -> Option<UserId> {
        self.caller
    }

    /// Notes a broken rule. `reason` is its name in capitals; the description says what to change.
    pub fn add(&mut self, field: &str, reason: &'static str, description: impl Into<String>) {
        self.count += 1;
        if self.listed.len() < VIOLATIONS_MAX {
            self.listed.push(Violation { field: field.to_owned(), reason, description: description.into() });
        }
    }

    /// Ends the check with its value, which is there whenever no rule is broken.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with the broken rules, if there are any. A last entry, without a field, stands for those
    /// that are too many to list.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => {
                debug_assert!(!self.is_empty(), "a value is missing and no rule says why");
                let more = self.count - self.listed.len();
                if more > 0 {
                    let description = format!("{more} more rules are broken");
                    self.listed.push(Violation {
                        field: String::new(),
                        reason: "MORE_VIOLATIONS",
                        description,
                    });
                }
                Err(Failure::Invalid(self.listed))
            }
        }
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A required id.
    pub fn id<T: FromStr<Err = InvalidId>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            self.add(field, "REQUIRED", "must be set");
            return None;
        }
        let id = text.parse().ok();
        if id.is_none() {
            self.add(field, "INVALID_ID", "must be a UUID in its hyphenated form");
        }
        id
    }

    /// An id that may be left out; `Some(None)` when it was.
    pub fn optional_id<T: FromStr<Err = InvalidId>>(&mut self, field: &str, text: &str) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.id(field, text).map(Some) }
    }

    /// A required id of a user who is not the caller; `reason` names the rule that the caller's own id breaks.
    pub fn another_user(&mut self, field: &str, text: &str, reason: &'static str) -> Option<UserId> {
        let user = self.id(field, text);
        if user.is_some() && user == self.caller {
            self.add(field, reason, "must be another user than the caller");
        }
        user
    }

    /// An id of a user. When it is left out, it is the caller's.
    pub fn user_or_caller(&mut self, field: &str, text: &str) -> Option<UserId> {
        match self.caller {
            Some(caller) if text.is_empty() => Some(caller),
            _ => self.id(field, text),
        }
    }

    /// Where a page of a list begins: the number in its page token, `Some(None)` for the first page. `list` names the
    /// list as it did when the token was made; see [`page_token::encode_number`].
    pub fn page_start(&mut self, list: &[&str], token: &str) -> Option<Option<i64>> {
        if token.is_empty() {
            return Some(None);
        }
        let start = page_token::decode_number(list, token).and_then(|number| i64::try_from(number).ok());
        if start.is_none() {
            self.invalid_page_token();
        }
        start.map(Some)
    }

    /// Notes a page token that belongs to another list.
    pub fn invalid_page_token(&mut self) {
        self.add("page_token", "INVALID_PAGE_TOKEN", "must be the next_page_token of the same list");
    }

    /// The `request_id` of a changing call.
    pub fn request_id(&mut self, text: &str) -> Option<Uuid> {
        if text.is_empty() {
            self.add("request_id", "REQUIRED", "must be set: a UUID, made and kept before the first try");
            return None;
        }
        self.uuid("request_id", text)
    }

    /// A required UUID in its hyphenated form, not nil.
    pub fn uuid(&mut self, field: &str, text: &str) -> Option<Uuid> {
        if text.is_empty() {
            self.add(field, "REQUIRED", "must be set");
            return None;
        }
        let uuid = (text.len() == uuid::fmt::Hyphenated::LENGTH)
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .filter(|uuid| !uuid.is_nil());
        if uuid.is_none() {
            self.add(field, "INVALID_ID", "must be a UUID in its hyphenated form");
        }
        uuid
    }

    /// A required currency, in force or not: whether something may begin in it is asked where the clock is, with
    /// [`Currency::require_in_force`].
    pub fn currency(&mut self, field: &str, code: &str) -> Option<Currency> {
        if code.is_empty() {
            self.add(field, "REQUIRED", "must be set");
            return None;
        }
        let currency = code.parse().ok();
        if currency.is_none() {
            let rule = "must be the ISO 4217 code, in capital letters, of a currency that people pay with";
            self.add(field, "UNKNOWN_CURRENCY", rule);
        }
        currency
    }

    /// A required amount of money: above zero and at most [`AMOUNT_MAX`].
    pub fn amount(&mut self, field: &str, money: Option<&common::v1::Money>) -> Option<Money> {
        let Some(money) = money else {
            self.add(field, "REQUIRED", "must be set");
            return None;
        };
        let currency = self.currency(&format!("{field}.currency_code"), &money.currency_code);
        let units = format!("{field}.minor_units");
        if money.minor_units <= 0 {
            self.add(&units, "AMOUNT_NOT_POSITIVE", "must be above zero");
            return None;
        }
        if money.minor_units > AMOUNT_MAX {
            self.add(&units, "AMOUNT_TOO_LARGE", format!("must be at most {AMOUNT_MAX}"));
            return None;
        }
        Some(Money::new(currency?, money.minor_units))
    }

    /// How many rows a page shall have.
    pub fn page_size(&mut self, wish: i32) -> Option<u32> {
        match u32::try_from(wish) {
            Ok(0) => Some(PAGE_SIZE_DEFAULT),
            Ok(wish) => Some(wish.min(PAGE_SIZE_MAX)),
            Err(_) => {
                self.add("page_size", "NEGATIVE", "must not be negative");
                None
            }
        }
    }

    /// An etag, which is the resource's version and may be left out; then this is `Some(None)`. A text that no server
    /// has ever given as an etag is a broken rule and not a stale etag.
    pub fn etag(&mut self, text: &str) -> Option<Option<i64>> {
        if text.is_empty() {
            return Some(None);
        }
        let version = text.parse().ok().filter(|version: &i64| *version > 0 && version.to_string() == text);
        if version.is_none() {
            self.add("etag", "INVALID_ETAG", "must be an etag as it was read");
        }
        version.map(Some)
    }
}

/// A time as protobuf has it.
#[must_use]
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond().cast_signed() }
}

/// A time from protobuf; `None` outside the years 1 to 9999 or with nanoseconds out of range.
#[must_use]
pub fn time(timestamp: &Timestamp) -> Option<OffsetDateTime> {
    let nanos = u32::try_from(timestamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let time = OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok()?;
    (time.year() >= 1).then_some(time)?.replace_nanosecond(nanos).ok()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::refusal::Refusal;

    pub(super) fn reasons(check: impl FnOnce(&mut Violations)) -> Vec<String> {
        let mut violations = Violations::new();
        check(&mut violations);
        violations
            .listed
            .into_iter()
            .map(|violation| format!("{} {}", violation.field, violation.reason))
            .collect()
    }

    #[test]
    fn amounts_are_positive_and_bounded() {
        let check = |minor_units, code: &str| {
            let money = common::v1::Money { currency_code: code.to_owned(), minor_units };
            reasons(|v| {
                v.amount("amount", Some(&money));
            })
        };
        assert!(check(1, "EUR").is_empty() && check(AMOUNT_MAX, "EUR").is_empty());
        for bad in [0, -1, i64::MIN] {
            assert_eq!(check(bad, "EUR"), ["amount.minor_units AMOUNT_NOT_POSITIVE"]);
        }
        assert_eq!(check(i64::MAX, "EUR"), ["amount.minor_units AMOUNT_TOO_LARGE"]);
        assert_eq!(
            check(0, "eur"),
            ["amount.currency_code UNKNOWN_CURRENCY", "amount.minor_units AMOUNT_NOT_POSITIVE"]
        );
    }

    #[test]
    fn what_is_too_much_to_tell_is_counted() {
        let mut violations = Violations::new();
        // The longest field and the longest rule that an order of a hundred items breaks.
        for place in 0..100 {
            let field = format!("items[{place}].product_id");
            assert_eq!(violations.line(&field, "a\u{202e} ", 1), None);
            violations.uuid(&field, "x");
        }
        let failure = violations.finish(None::<()>).unwrap_err();
        let Failure::Invalid(listed) = &failure else { panic!("{failure:?}") };
        assert_eq!(listed.len(), VIOLATIONS_MAX + 1);
        let last = listed.last().unwrap();
        assert_eq!(
            (last.field.as_str(), last.reason, last.description.as_str()),
            ("", "MORE_VIOLATIONS", "370 more rules are broken")
        );
        // As it is sent: details in base64, and a message beside them.
        let status = Refusal::from(&failure).into_status();
        let mut headers = tonic::codegen::http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(size < 8 * 1024, "{size} bytes of headers");
    }

    #[test]
    fn a_broken_rule_counts_also_when_it_is_not_told() {
        let mut violations = Violations::new();
        for _ in 0..VIOLATIONS_MAX {
            violations.add("field", "REASON", "");
        }
        assert_eq!(violations.line("name", "", 10), None, "the text broke a rule");
    }

    #[test]
    fn another_user_is_not_the_caller_and_a_user_who_is_left_out_is() {
        let [ann, ben] = [1, 2].map(|number| UserId::from_uuid(Uuid::from_u128(number)));
        let mut violations = Violations::of_caller(Some(ann));
        assert_eq!(violations.another_user("to", &ben.to_string(), "SAME_USER"), Some(ben));
        assert_eq!(violations.user_or_caller("of", ""), Some(ann));
        assert_eq!(violations.user_or_caller("of", &ben.to_string()), Some(ben));
        assert!(violations.is_empty());
        assert_eq!(violations.caller(), Some(ann));
        violations.another_user("to", &ann.to_string(), "SAME_USER");
        assert_eq!(Violations::new().user_or_caller("of", ""), None, "there is no caller");
        let Err(Failure::Invalid(listed)) = violations.finish(None::<()>) else { panic!("a rule is broken") };
        assert_eq!((listed[0].field.as_str(), listed[0].reason), ("to", "SAME_USER"));
    }

    #[test]
    fn times_outside_the_calendar_are_none() {
        let at = |seconds, nanos| time(&Timestamp { seconds, nanos });
        assert!(at(0, 0).is_some() && at(-1, 999_999_999).is_some());
        assert!(at(0, -1).is_none() && at(0, 1_000_000_000).is_none());
        assert!(at(-62_135_596_801, 0).is_none() && at(253_402_300_800, 0).is_none());
    }

    #[test]
    fn an_etag_is_a_version_as_it_was_written() {
        assert_eq!(Violations::new().etag("7"), Some(Some(7)));
        assert_eq!(Violations::new().etag(""), Some(None));
        for bad in ["0", "-1", "07", "+7", "x"] {
            assert_eq!(Violations::new().etag(bad), None, "{bad}");
        }
    }
}
