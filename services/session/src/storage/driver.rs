//! What the Redis driver gives us, in this crate's own words: errors, by the table in `failures`, replies of scripts,
//! times.

mod failures;

use std::error::Error as _;
use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, RedisError, Value};
use redis_connection::{SendError, error_word};
use runtime::retry::Lasting;
use time::OffsetDateTime;
use types::{Cause, Connection, FailureKind, Verdict};

use crate::error::{Error, Result};

pub use failures::FAILURES;

/// What is said of a login that is refused.
const LOGIN_REFUSED: [&str; 3] = ["NOAUTH", "WRONGPASS", failures::AUTHENTICATION];

/// What an error of the driver means.
fn verdict(error: &RedisError) -> Verdict {
    FAILURES.verdict(&[&said(error)])
}

/// The word that Redis said, or the kind of the driver's own error.
fn said(error: &RedisError) -> String {
    if let Some(word) = error_word(error) {
        return word;
    }
    let kind = match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => failures::IO,
        ErrorKind::AuthenticationFailed => failures::AUTHENTICATION,
        ErrorKind::Parse => failures::PARSE,
        ErrorKind::RESP3NotSupported => failures::RESP3,
        _ => failures::OTHER,
    };
    kind.to_owned()
}

/// Whether the connection that heard this must be replaced.
pub(super) fn is_over(error: &RedisError) -> bool {
    verdict(error).connection != Connection::GoesOn
}

/// A failure to reach Redis, for whoever waits for it to come up: a login that is refused is waited for in vain.
pub(super) fn at_start(error: Error) -> Cause {
    let is_refused = cause(&error).is_some_and(|cause| LOGIN_REFUSED.contains(&&*said(cause)));
    if !is_refused {
        return error.into();
    }
    let advice = "it refuses the login; look at the user and the password in REDIS_SESSION_URL";
    Lasting::new(anyhow::Error::new(error).context(advice)).into()
}

/// Whether Redis will not run a command for us, or does not know it.
pub(super) fn is_forbidden(error: &Error) -> bool {
    is_not_permitted(error) || cause(error).is_some_and(|cause| said(cause) == failures::ERR)
}

/// Whether the user lacks a privilege.
pub(super) fn is_not_permitted(error: &Error) -> bool {
    cause(error).is_some_and(|cause| said(cause) == failures::NOPERM)
}

/// What Redis itself has said; `None` when it was not Redis that failed.
pub(super) fn answer(error: &Error) -> Option<String> {
    cause(error).filter(|cause| error_word(cause).is_some()).map(RedisError::to_string)
}

fn cause(error: &Error) -> Option<&RedisError> {
    let Error::Failure(failure) = error else { return None };
    failure.source().and_then(|cause| cause.downcast_ref::<RedisError>())
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Failed(error) => verdict(&error).failure(error).into(),
            // Whatever the server said to the set-up of a connection, it is no statement of ours that was wrong.
            SendError::NotConnected(error) => {
                let mut verdict = verdict(&error);
                if verdict.kind == FailureKind::Internal {
                    verdict = FAILURES.verdict(&[failures::NOT_CONNECTED]);
                }
                verdict.without_effect().failure(error).into()
            }
        }
    }
}

/// The values of a script's answer, one after the other.
pub(crate) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    /// The next value.
    pub(crate) fn next<T: FromRedisValue>(&mut self) -> Result<T> {
        let value = self.0.next().ok_or_else(|| Error::internal("a script's answer is too short"))?;
        redis::from_redis_value(value).map_err(Error::internal)
    }
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        Ok(Self(Vec::<Value>::from_redis_value(value)?.into_iter()))
    }
}

/// A duration as Redis and the scripts have it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as Redis and the scripts have it: milliseconds since 1970.
pub(super) fn time_of(millis: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use types::{Effect, Failure};

    use super::*;

    #[test]
    fn each_row_is_there_once_and_what_the_driver_itself_says_is_among_them() {
        assert_eq!(FAILURES.repeated(), [""; 0]);
        for said in [
            failures::NOT_CONNECTED,
            failures::IO,
            failures::AUTHENTICATION,
            failures::PARSE,
            failures::RESP3,
            failures::OTHER,
        ] {
            assert!(FAILURES.row(said).is_some(), "{said}");
        }
    }

    #[test]
    fn what_was_not_sent_has_no_effect_and_is_no_defect() {
        for row in FAILURES.rows {
            let error = redis::make_extension_error(row.said.to_owned(), None);
            let error = Error::from(SendError::NotConnected(error));
            let Error::Failure(failure) = &error else { panic!("{error:?}") };
            let is_right = matches!(
                failure,
                Failure::Unavailable { effect: Effect::None, .. }
                    | Failure::StorageUnavailable { effect: Effect::None, .. }
            );
            assert!(is_right, "{}: {error:?}", row.said);
        }
    }

    #[test]
    fn a_word_decides_wherever_the_driver_keeps_it() {
        for row in FAILURES.rows.iter().filter(|row| !row.said.starts_with("driver")) {
            let error = redis::make_extension_error(row.said.to_owned(), Some("for a test".to_owned()));
            assert_eq!(said(&error), row.said);
            assert_eq!(is_over(&error), row.verdict.connection != Connection::GoesOn);
            let is_defect =
                matches!(Error::from(SendError::Failed(error)), Error::Failure(Failure::Internal(_)));
            assert_eq!(is_defect, row.verdict.kind == FailureKind::Internal, "{}", row.said);
        }
    }
}
