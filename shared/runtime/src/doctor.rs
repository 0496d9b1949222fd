//! `doctor`: whether everything that a service takes for granted of its database is so, check by check.
//!
//! A service has one [`Table`]. Each [`Check`] of it says what must be found, and looks; what it found is a [`Seen`], with
//! the line to type where it is not what must be found. The table runs its checks in their order and prints a line for
//! each, as soon as it is known. What a check does to look leaves nothing behind.

mod clock;
mod line;
mod times;

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use tokio::time::timeout;
use types::chain;

use crate::config::redact_url;

pub use clock::clock_seen;
pub use line::{Format, Line, Options};
pub use times::Times;

/// How long a check may take, unless it says otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// How a check looks at a place.
type Look<P> = for<'a> fn(&'a P) -> LocalBoxFuture<'a, anyhow::Result<Seen>>;

/// One thing that a service takes for granted. `P` is the place that is looked at, such as an open database.
#[derive(Debug)]
pub struct Check<P: 'static> {
    name: &'static str,
    wanted: &'static str,
    within: Duration,
    look: Look<P>,
}

impl<P> Check<P> {
    /// A check by a name that scripts may rely on, such as `server.version`, and what it must find, for people.
    #[must_use]
    pub const fn new(name: &'static str, wanted: &'static str, look: Look<P>) -> Self {
        Self { name, wanted, within: WITHIN, look }
    }

    /// The same check, with another time after which it has failed.
    #[must_use]
    pub const fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// A failure to look is a failure of the check.
    async fn run(&self, place: &P) -> Seen {
        match timeout(self.within, (self.look)(place)).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => Seen { verdict: Verdict::Failed, found: chain(error.as_ref()), mend: None },
            Err(_) => Seen {
                verdict: Verdict::Failed,
                found: format!("no answer within {}", humantime::format_duration(self.within)),
                mend: None,
            },
        }
    }
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    verdict: Verdict,
    found: String,
    mend: Option<String>,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it must be.
    Ok,
    /// The service works, but not as well or as safely as it could.
    Advice,
    /// The server is one that does not have what is looked for, such as a stand-in, and the service does without it.
    NotProvided,
    /// Nobody could look, because a check before this one has failed.
    NotTried,
    /// The service cannot rely on it.
    Failed,
}

impl Seen {
    /// It is as it must be.
    #[must_use]
    pub fn ok(found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    /// It is not as it must be. `mend` is what to type or to set.
    #[must_use]
    pub fn failed(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, found: found.into(), mend: Some(mend.into()) }
    }

    /// The service works so, but not as well as it could. `mend` is what to type or to set.
    #[must_use]
    pub fn advice(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Advice, found: found.into(), mend: Some(mend.into()) }
    }

    /// The server does not have what is looked for, and the service does without it.
    #[must_use]
    pub fn not_provided(found: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotProvided, found: found.into(), mend: None }
    }

    /// Nobody could look; `found` says why.
    #[must_use]
    pub fn not_tried(found: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotTried, found: found.into(), mend: None }
    }

    /// The line of the check that has found it and took so long.
    #[must_use]
    pub fn line(
        &self,
        service: &'static str,
        check: &'static str,
        wanted: &'static str,
        took: Duration,
    ) -> Line {
        Line {
            service,
            check,
            verdict: self.verdict,
            // What a server or a driver says may have the URL in it.
            found: redact_url(&self.found),
            wanted,
            mend: self.mend.as_deref().map(redact_url),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What it means.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// All checks of a service.
#[derive(Debug)]
pub struct Table<P: 'static> {
    /// The service that they are about.
    pub service: &'static str,
    /// The name of the check that the place can be reached at all, without which no other is tried.
    pub reached: &'static str,
    /// What that check wants.
    pub reached_wanted: &'static str,
    /// The others, in the order in which they are done.
    pub checks: &'static [Check<P>],
}

impl<P> Table<P> {
    /// Does the checks of these names, or all if there are none, and tells of each as soon as it is done. The first one
    /// is always done. `place` is what must be reached, or what was found when it could not be.
    ///
    /// # Errors
    /// When there is no check of a name. Then none is done.
    pub async fn examine(
        &self,
        place: Result<&P, Seen>,
        only: &[String],
        mut tell: impl FnMut(Line),
    ) -> anyhow::Result<()> {
        for name in only {
            let is_known = self.names().any(|known| known == name);
            anyhow::ensure!(
                is_known,
                "there is no check {name}, only {}",
                Vec::from_iter(self.names()).join(", ")
            );
        }
        let reached = match &place {
            Ok(_) => Seen::ok("reached"),
            Err(seen) => seen.clone(),
        };
        tell(self.line(self.reached, self.reached_wanted, &reached, Duration::ZERO));
        let is_wanted = |check: &&Check<P>| only.is_empty() || only.iter().any(|name| name == check.name);
        for check in self.checks.iter().filter(is_wanted) {
            let began = Instant::now();
            let seen = match place {
                Ok(place) => check.run(place).await,
                Err(_) => Seen::not_tried(format!("{} has failed", self.reached)),
            };
            tell(self.line(check.name, check.wanted, &seen, began.elapsed()));
        }
        Ok(())
    }

    /// The names of all checks, in their order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.reached).chain(self.checks.iter().map(|check| check.name))
    }

    /// Does the checks that are asked for and prints them on standard output.
    ///
    /// # Errors
    /// When a check has failed, when there is none of a name, and when the lines cannot be printed.
    pub async fn print(&self, place: Result<&P, Seen>, options: &Options) -> anyhow::Result<()> {
        let (mut done, mut failed, mut printed) = (0, 0, Ok(()));
        self.examine(place, &options.only, |line| {
            done += 1;
            failed += usize::from(line.verdict == Verdict::Failed);
            if printed.is_ok() {
                printed = line.print(options.output);
            }
        })
        .await?;
        printed?;
        anyhow::ensure!(failed == 0, "{failed} of {done} checks have failed");
        Ok(())
    }

    /// The table for a README, in Markdown.
    #[must_use]
    pub fn reference(&self) -> String {
        let others = self.checks.iter().map(|check| (check.name, check.wanted));
        let rows = std::iter::once((self.reached, self.reached_wanted)).chain(others);
        let rows: String = rows.map(|(name, wanted)| format!("| `{name}` | {wanted} |\n")).collect();
        format!("| check | what must be found |\n| --- | --- |\n{rows}")
    }

    fn line(&self, check: &'static str, wanted: &'static str, seen: &Seen, took: Duration) -> Line {
        seen.line(self.service, check, wanted, took)
    }
}

#[cfg(test)]
mod tests;
