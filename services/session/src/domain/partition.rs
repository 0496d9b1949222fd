//! Where a user's sessions are. Users are spread over 16 partitions, so that a cluster can keep them: all keys of a
//! user have the hash tag of the partition, and a script never uses keys of two.

use std::fmt;

use types::UserId;

const PARTITIONS: u8 = 16;
const STREAM_PREFIX: &str = "session-";

/// One of the 16 partitions. Its text is two decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Partition(u8);

impl Partition {
    /// Where a user's sessions are: the last byte of the id decides, which is random in a UUIDv7.
    pub(crate) fn of(user: UserId) -> Self {
        Self(user.uuid().as_bytes()[15] % PARTITIONS)
    }

    /// The partition that a token names.
    pub(crate) fn of_token(partition: u8) -> Self {
        Self(partition % PARTITIONS)
    }

    /// All partitions.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// The partition of a stream; `None` for a stream that is not ours.
    pub(crate) fn of_stream(stream: &str) -> Option<Self> {
        Self::all().find(|partition| {
            stream.strip_prefix(STREAM_PREFIX).is_some_and(|number| number == partition.to_string())
        })
    }

    /// The name of its event stream, such as `session-07`.
    pub(crate) fn stream(self) -> String {
        format!("{STREAM_PREFIX}{self}")
    }

    /// The number that goes into tokens.
    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_of_the_user_decides() {
        let user: UserId = "01920000-0000-7000-8000-0000000000fb".parse().unwrap();
        assert_eq!(Partition::of(user).stream(), "session-11");
    }

    #[test]
    fn exactly_sixteen_streams_are_ours() {
        let streams: Vec<_> = Partition::all().map(Partition::stream).collect();
        assert_eq!(
            (streams.len(), streams[0].as_str(), streams[15].as_str()),
            (16, "session-00", "session-15")
        );
        for partition in Partition::all() {
            assert_eq!(Partition::of_stream(&partition.stream()), Some(partition));
        }
        for other in
            ["user", "session-", "session-16", "session-1", "session-0a", "session-007", "xsession-01"]
        {
            assert_eq!(Partition::of_stream(other), None, "{other}");
        }
    }
}
