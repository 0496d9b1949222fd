//! One measured stretch of time: its length, the processes to watch, and how its result comes to be.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use hdrhistogram::Histogram;
use measurement::{Round, Used};
use procfs::ProcResult;
use tokio::time::Instant;
use tonic::Code;

use crate::cpu::{self, Usage};

/// What to measure, beside the calls.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// For how long.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Time before that, which is not counted.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pub warm_up: Duration,
    /// Processes whose CPU time and memory are reported.
    #[arg(long, value_name = "NAME=PID")]
    pub watch: Vec<Watched>,
}

/// A process to watch, its children included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name in the result.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

impl FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, pid) = text.split_once('=').ok_or("must be NAME=PID")?;
        let pid = pid.parse().map_err(|_| format!("{pid} is no process number"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

/// The precision of times: with two figures they are exact to 1 %, and a tally takes less than 40 KiB.
const SIGNIFICANT_FIGURES: u8 = 2;
/// A call that takes longer counts as one that takes an hour.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is counted while a stretch of time goes on.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Times of what was done, in nanoseconds.
    times: Histogram<u64>,
    /// Failures by the code's number, since codes have no order.
    errors: BTreeMap<i32, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let times = Histogram::new_with_max(nanos(LONGEST), SIGNIFICANT_FIGURES);
        Self { times: times.expect("an hour with two figures is in range"), errors: BTreeMap::new() }
    }
}

impl Tally {
    /// Counts one call or event.
    pub fn count(&mut self, failed: Option<Code>, time: Duration) {
        match failed {
            None => self.times.saturating_record(nanos(time)),
            Some(code) => *self.errors.entry(code as i32).or_default() += 1,
        }
    }

    /// A result with these times instead of its own.
    #[must_use]
    pub fn in_place_of(&self, round: Round) -> Round {
        Seen { seconds: round.seconds, processes: round.processes }.with(self)
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("all tallies have one range");
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The watched processes and the time, as they were when the stretch began.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    before: Vec<(Watched, Usage)>,
}

impl Watch {
    /// Looks at the processes.
    ///
    /// # Errors
    /// When one is not there.
    pub fn begin(watched: &[Watched]) -> ProcResult<Self> {
        let look = |watched: &Watched| Ok((watched.clone(), cpu::usage(watched.pid)?));
        let before = watched.iter().map(look).collect::<ProcResult<_>>()?;
        Ok(Self { began: Instant::now(), before })
    }

    /// Looks again, and returns what was used since.
    ///
    /// # Errors
    /// When one is not there any more.
    pub fn end(self) -> ProcResult<Seen> {
        let seconds = self.began.elapsed().as_secs_f64();
        let look = |(watched, before): (Watched, Usage)| {
            let now = cpu::usage(watched.pid)?;
            let cpu_us = now.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
            Ok((watched.name, Used { cpu_us, resident_mib: now.resident_kib as f64 / 1024.0 }))
        };
        Ok(Seen { seconds, processes: self.before.into_iter().map(look).collect::<ProcResult<_>>()? })
    }
}

/// What the watched processes used.
#[derive(Debug)]
pub struct Seen {
    seconds: f64,
    processes: BTreeMap<String, Used>,
}

impl Seen {
    /// The result, together with what was counted meanwhile.
    #[must_use]
    pub fn with(self, tally: &Tally) -> Round {
        let times = &tally.times;
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let quantile = |share| millis(times.value_at_quantile(share));
        Round {
            seconds: self.seconds,
            done: times.len(),
            errors: tally
                .errors
                .iter()
                .map(|(code, count)| (format!("{:?}", Code::from_i32(*code)), *count))
                .collect(),
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            longest_ms: millis(times.max()),
            processes: self.processes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_errors_are_told_apart() {
        let mut tally = Tally::default();
        for millis in 1..=100 {
            tally.count(None, Duration::from_millis(millis));
        }
        let seen = || Seen { seconds: 2.0, processes: BTreeMap::new() };
        assert!(seen().with(&tally).is_clean());
        let mut other = Tally::default();
        other.count(Some(Code::Unavailable), Duration::from_secs(9));
        tally.add(&other);
        let round = seen().with(&tally);
        assert!(!round.is_clean());
        assert_eq!((round.done, round.rate(), round.errors["Unavailable"]), (100, 50.0, 1));
        assert!(round.longest_ms < 101.0, "{}", round.longest_ms);
        assert!(!seen().with(&Tally::default()).is_clean());
    }

    #[test]
    fn times_are_those_of_the_sorted_calls() {
        let mut all = Tally::default();
        let mut second_half = Tally::default();
        for millis in (1..=1000).rev() {
            if millis <= 500 { &mut all } else { &mut second_half }
                .count(None, Duration::from_millis(millis));
        }
        all.add(&second_half);
        let seen = || Seen { seconds: 1.0, processes: BTreeMap::new() };
        let Round { done, p50_ms, p90_ms, p99_ms, longest_ms, .. } = seen().with(&all);
        assert_eq!(done, 1000);
        for (found, millis) in [(p50_ms, 500.0), (p90_ms, 900.0), (p99_ms, 990.0), (longest_ms, 1000.0)] {
            assert!((millis..=millis * 1.01).contains(&found), "{found}, not {millis}");
        }
        let nothing = seen().with(&Tally::default());
        assert_eq!((nothing.p50_ms, nothing.longest_ms), (0.0, 0.0));
    }

    #[test]
    fn a_watched_process_is_named() {
        assert_eq!("db=12".parse(), Ok(Watched { name: "db".to_owned(), pid: 12 }));
        assert!("12".parse::<Watched>().is_err() && "db=x".parse::<Watched>().is_err());
    }

    #[tokio::test]
    async fn a_process_that_works_is_seen_to() {
        let me = Watched { name: "me".to_owned(), pid: std::process::id() };
        let watch = Watch::begin(std::slice::from_ref(&me)).unwrap();
        // An amount of work and not a time: on a busy machine, a short time may hold too little of it.
        for number in 0..10_000_000 {
            std::hint::black_box(number);
        }
        let round = watch.end().unwrap().with(&Tally::default());
        assert!(round.processes["me"].cpu_us > 10_000.0, "{round:?}");
        assert!(round.processes["me"].resident_mib > 0.5);
    }
}
