//! The crash sweep. At each named moment of `shared/fault` a service is killed with SIGKILL while somebody does
//! something that passes it; the caller repeats the same request as clients are told to, the service is started
//! again, and then everything must be as if nothing had happened: one effect, the same answer for every repeat, each
//! consumer at its stream's head, nothing parked, balanced books, and no ERROR in any log.
//!
//! A case fails when its moment is never reached: a fault that has no effect proves nothing.

mod case;
mod cases;
mod operation;
mod operations;
mod rest;
mod stage;
mod way;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::{JoinSet, LocalSet};

pub use case::run as run_case;
pub use cases::{Case, EXEMPT, SHORT, all, short};
pub use operations::{Kind, all as operations};
pub use stage::Stage;
pub use way::{CONSUMERS, Commit, OF_WHOM, Point, STREAMS, Way};

/// The result of one case.
#[derive(Debug)]
pub struct Line {
    /// The case.
    pub case: Case,
    /// The time from the death of the service until the system was at rest, or what went wrong.
    pub outcome: Result<Duration>,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let case = self.case.to_string();
        match &self.outcome {
            Ok(recovered) => write!(f, "ok      {case:<70} {:>6} ms", recovered.as_millis()),
            Err(error) => write!(f, "FAILED  {case:<70} {error:#}"),
        }
    }
}

/// The results of all cases, counted.
#[derive(Debug, Default)]
pub struct Sum {
    recovered: Vec<Duration>,
    failed: usize,
}

impl Sum {
    /// Whether at least one case was run and none failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed == 0 && !self.recovered.is_empty()
    }

    fn add(&mut self, line: &Line) {
        match &line.outcome {
            Ok(recovered) => self.recovered.push(*recovered),
            Err(_) => self.failed += 1,
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.recovered.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let longest = sorted.last().copied().unwrap_or_default();
        write!(
            f,
            "{} killed and recovered, {} failed; recovery p50 {} ms, longest {} ms",
            sorted.len(),
            self.failed,
            median.as_millis(),
            longest.as_millis()
        )
    }
}

/// Runs the cases on some systems side by side, and tells each line as it comes. A system on which a case failed is
/// not used again.
///
/// # Errors
/// When no system can be started.
pub async fn run(cases: Vec<Case>, systems: usize, tell: impl FnMut(&Line)) -> Result<Sum> {
    LocalSet::new().run_until(run_here(cases, systems, tell)).await
}

async fn run_here(cases: Vec<Case>, systems: usize, mut tell: impl FnMut(&Line)) -> Result<Sum> {
    let waiting = Rc::new(RefCell::new(VecDeque::from(cases)));
    let (lines, mut told) = tokio::sync::mpsc::channel(16);
    let mut lanes = JoinSet::new();
    for _ in 0..systems.max(1) {
        let (waiting, lines) = (Rc::clone(&waiting), lines.clone());
        lanes.spawn_local(async move {
            let mut stage = None;
            loop {
                let next = waiting.borrow_mut().pop_front();
                let Some(case) = next else { return anyhow::Ok(()) };
                let on = match stage.take() {
                    Some(stage) => stage,
                    None => Box::pin(Stage::open(&[])).await?,
                };
                let outcome = Box::pin(run_case(&on, &case)).await;
                stage = outcome.is_ok().then_some(on);
                if lines.send(Line { case, outcome }).await.is_err() {
                    return Ok(());
                }
            }
        });
    }
    drop(lines);
    let mut sum = Sum::default();
    while let Some(line) = told.recv().await {
        sum.add(&line);
        tell(&line);
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(sum)
}
