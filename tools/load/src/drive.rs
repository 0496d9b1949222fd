//! The two ways to drive calls: a closed loop, and a fixed rate.

use std::future::Future;
use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result, anyhow};
use measurement::Round;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Code, Status};

use crate::round::{Plan, Seen, Tally, Watch};

/// The most calls in flight at a fixed rate. When there are more, the system is not keeping up, and further calls are
/// counted as failed instead of being sent.
const IN_FLIGHT_MAX: usize = 4096;
/// How long the last answers are waited for.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Something to call over and over. Calls in flight at the same time have different lanes, for callers that must not
/// share what they call with.
pub trait Call: Clone + Send + 'static {
    /// Calls once.
    fn call(&self, lane: usize) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Keeps `in_flight` calls under way.
///
/// # Errors
/// When a watched process is not there.
pub async fn closed_loop(plan: &Plan, in_flight: usize, call: impl Call) -> Result<Round> {
    let counted_from = Instant::now() + plan.warm_up;
    let end = counted_from + plan.duration;
    let mut callers = JoinSet::new();
    for lane in 0..in_flight {
        let call = call.clone();
        callers.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let began = Instant::now();
                if began >= end {
                    return tally;
                }
                let answer = call.call(lane).await;
                let now = Instant::now();
                if now >= counted_from && now < end {
                    tally.count(answer.err().map(|status| status.code()), now - began);
                }
            }
        });
    }
    sleep_until(counted_from).await;
    let watch = Watch::begin(&plan.watch)?;
    sleep_until(end).await;
    let seen = watch.end()?;
    let mut sum = Tally::default();
    while let Some(tally) = callers.join_next().await {
        sum.add(&tally?);
    }
    Ok(seen.with(&sum))
}

/// Calls `rate` times a second, whatever comes back. A call's time counts from when it was due.
///
/// # Errors
/// When a watched process is not there, or calls are not answered at all.
pub async fn fixed_rate(plan: &Plan, rate: f64, lanes: usize, call: impl Call) -> Result<Round> {
    let began = Clock::now();
    let counted_from = began + plan.warm_up;
    let end = counted_from + plan.duration;
    let (due, mut calls_due) = mpsc::channel(IN_FLIGHT_MAX);
    let pacer = std::thread::spawn(move || pace(rate, began, end, &due));
    let mut under_way = JoinSet::new();
    let mut tally = Tally::default();
    let mut count = |(due, failed, time): Answered| {
        if due >= counted_from {
            tally.count(failed, time);
        }
    };
    let seen = watched(plan, counted_from, end);
    tokio::pin!(seen);
    let mut seen_at_end = None;
    let mut number = 0_usize;
    loop {
        tokio::select! {
            biased;
            seen = &mut seen, if seen_at_end.is_none() => seen_at_end = Some(seen?),
            Some(answered) = under_way.join_next() => count(answered?),
            due = calls_due.recv() => {
                let Some(due) = due else { break };
                if under_way.len() >= IN_FLIGHT_MAX {
                    count((due, Some(Code::ResourceExhausted), Duration::ZERO));
                    continue;
                }
                number += 1;
                let (call, lane) = (call.clone(), number % lanes);
                under_way.spawn(async move {
                    let answer = call.call(lane).await;
                    (due, answer.err().map(|status| status.code()), due.elapsed())
                });
            }
        }
    }
    let rest = async {
        while let Some(answered) = under_way.join_next().await {
            count(answered?);
        }
        anyhow::Ok(())
    };
    timeout(LAST_ANSWERS_WITHIN, rest).await.context("calls are not answered")??;
    pacer.join().map_err(|_| anyhow!("the pacer panicked"))?;
    let seen = match seen_at_end {
        Some(seen) => seen,
        None => seen.await?,
    };
    Ok(seen.with(&tally))
}

type Answered = (Clock, Option<Code>, Duration);

async fn watched(plan: &Plan, from: Clock, until: Clock) -> Result<Seen> {
    sleep_until(from.into()).await;
    let watch = Watch::begin(&plan.watch)?;
    sleep_until(until.into()).await;
    Ok(watch.end()?)
}

/// Announces each call when it is due. It runs on a thread of its own, since the runtime's timers are exact to a
/// millisecond only.
fn pace(rate: f64, began: Clock, end: Clock, due: &mpsc::Sender<Clock>) {
    for number in 0_u32.. {
        let at = began + Duration::from_secs_f64(f64::from(number) / rate);
        if at >= end {
            return;
        }
        std::thread::sleep(at.saturating_duration_since(Clock::now()));
        // A full queue delays this thread, but not the times at which calls are due.
        if due.blocking_send(at).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio::time::sleep;

    use super::*;

    fn plan(warm_up: u64, duration: u64) -> Plan {
        let [warm_up, duration] = [warm_up, duration].map(Duration::from_millis);
        Plan { duration, warm_up, watch: Vec::new() }
    }

    /// Answers one call at a time, each after a while.
    #[derive(Clone)]
    struct OneAtATime {
        turn: Arc<Semaphore>,
        takes: Duration,
        most_at_once: Arc<AtomicUsize>,
        at_once: Arc<AtomicUsize>,
    }

    impl OneAtATime {
        fn new(takes: Duration) -> Self {
            Self {
                turn: Arc::new(Semaphore::new(1)),
                takes,
                most_at_once: Arc::default(),
                at_once: Arc::default(),
            }
        }
    }

    impl Call for OneAtATime {
        async fn call(&self, _: usize) -> Result<(), Status> {
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            let _turn = self.turn.acquire().await.map_err(|_| Status::internal("closed"))?;
            sleep(self.takes).await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[derive(Clone)]
    struct Refused;

    impl Call for Refused {
        async fn call(&self, _: usize) -> Result<(), Status> {
            sleep(Duration::from_millis(1)).await;
            Err(Status::unavailable("no"))
        }
    }

    #[tokio::test]
    async fn a_closed_loop_keeps_its_calls_under_way_and_counts_no_warm_up() {
        let server = OneAtATime::new(Duration::from_millis(5));
        let round = closed_loop(&plan(100, 200), 4, server.clone()).await.unwrap();
        assert_eq!(server.most_at_once.load(Ordering::SeqCst), 4);
        assert!(round.is_clean() && round.done <= 45, "{round:?}");
        // Each waits for the three before it.
        assert!(round.p50_ms >= 15.0, "{round:?}");
    }

    /// Claim: the figures contain the time that other callers would have waited. A server that takes 10 ms a call and
    /// gets 200 calls a second falls behind; a loop that waited for its answers would report 10 ms.
    #[tokio::test]
    async fn at_a_fixed_rate_the_wait_of_those_who_were_not_served_counts() {
        let server = OneAtATime::new(Duration::from_millis(10));
        let round = fixed_rate(&plan(0, 500), 200.0, 1, server).await.unwrap();
        assert_eq!(round.done, 100);
        assert!(round.longest_ms > 400.0, "{round:?}");
    }

    #[tokio::test]
    async fn refusals_are_counted_by_their_code() {
        let round = fixed_rate(&plan(0, 100), 100.0, 1, Refused).await.unwrap();
        assert_eq!(round.errors, BTreeMap::from([("Unavailable".to_owned(), 10)]));
        assert!(!closed_loop(&plan(0, 50), 1, Refused).await.unwrap().is_clean());
    }
}
