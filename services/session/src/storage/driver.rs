//! What the Redis driver gives us, in this crate's own words: errors, replies of scripts, times.

use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use time::OffsetDateTime;
use types::Failure;

use crate::error::{Error, Result};

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        let failure = match error.kind() {
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown,
            ) => Failure::unavailable(error),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Failure::StorageUnavailable(error.into()),
            _ => match error.code() {
                Some("OOM" | "MISCONF" | "NOREPLICAS") => Failure::StorageUnavailable(error.into()),
                // Another caller's slow command keeps Redis from running scripts.
                Some("BUSY") => Failure::unavailable(error),
                _ => Failure::internal(error),
            },
        };
        failure.into()
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
