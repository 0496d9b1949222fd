//! The time that a call has left: read from `grpc-timeout`, passed on to the calls that it makes itself.
//!
//! The header is read here because tonic's own timeouts answer CANCELLED and ignore a malformed header.

use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static CURRENT: Deadline;
}

/// When the call must be answered. The server puts it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline of the call that this task serves; `None` outside of calls, and in streams whose client set no
    /// deadline.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|deadline| *deadline).ok()
    }

    /// The time left; zero when the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Runs `future` with this as [`Deadline::current`].
    pub(crate) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }
}

/// The `grpc-timeout` is not 1 to 8 digits and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadTimeout;

/// Reads a `grpc-timeout`.
pub(crate) fn parse_timeout(value: &[u8]) -> Result<Duration, BadTimeout> {
    let (unit, digits) = value.split_last().ok_or(BadTimeout)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadTimeout);
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Ok(Duration::from_secs(number * 3600)),
        b'M' => Ok(Duration::from_secs(number * 60)),
        b'S' => Ok(Duration::from_secs(number)),
        b'm' => Ok(Duration::from_millis(number)),
        b'u' => Ok(Duration::from_micros(number)),
        b'n' => Ok(Duration::from_nanos(number)),
        _ => Err(BadTimeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_one_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1n", Duration::from_nanos(1)),
            ("0S", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("250m", Duration::from_millis(250)),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()), Ok(expected), "{text}");
        }
        for bad in ["", "S", "1", "9999999999S", "-1S", "+1S", "1X", "1s", " 1S", "1.5S", "1SS"] {
            assert_eq!(parse_timeout(bad.as_bytes()), Err(BadTimeout), "{bad}");
        }
    }
}
