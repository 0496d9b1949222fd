//! What logins came to, for metrics.

use metrics::{Counter, Family};

use crate::domain::SessionRefused;
use crate::error::{Error, Result};

static LOGINS: Family<Counter, 1> =
    Family::new("logins_total", "Logins, by what came of them.", ["result"], 4);

/// Counts logins. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Logins {
    logged_in: Counter,
    refused: Counter,
    throttled: Counter,
    failed: Counter,
}

impl Logins {
    pub(crate) fn new() -> Self {
        let [logged_in, refused, throttled, failed] =
            ["logged_in", "refused", "throttled", "failed"].map(|result| LOGINS.with([result]));
        Self { logged_in, refused, throttled, failed }
    }

    /// One has come to this.
    pub(super) fn count<T>(&self, outcome: &Result<T>) {
        let counter = match outcome {
            Ok(_) => &self.logged_in,
            Err(Error::Session(SessionRefused::LoginThrottled { .. })) => &self.throttled,
            Err(Error::Session(_)) => &self.refused,
            Err(Error::Failure(_)) => &self.failed,
        };
        counter.increment();
    }
}
