//! What one replica does while it has the lease. It waits for the channel, the producer, the database and the next tick
//! at the same time, tells the machine what happened, and does what the machine says.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, Outcome};
use super::ask::{Answer, ask};
use super::claim::{Claim, lease_backoff};
use super::metrics::{Counts, Standing};
use super::options::ConsumerOptions;
use crate::bus::{Signal, Subscription};
use crate::cloud_event::from_channel;
use crate::effects::Effects;
use crate::history::Page;
use crate::machine::{Action, Limits, Machine};
use crate::pace::Throttle;
use crate::source::{Pages, Source, SourceError};
use crate::store::{ConsumerId, ConsumerStore, ConsumerTx as _, LeasedMark, Mark, StoreError};

/// The most messages of the channel that are handled before anything else gets its turn.
const MESSAGES_AT_ONCE: usize = 256;
/// How often a mark that does not move is acknowledged again: a producer that hears nothing for long takes the consumer
/// for gone.
const ACKNOWLEDGE_UNMOVED: Duration = Duration::from_secs(60);
/// How long events that do not concern the consumer wait for others, so that one transaction moves the mark over all.
const LINGER: Duration = Duration::from_millis(100);

/// How often the parked aggregates are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Why a replica stopped consuming.
pub(super) enum End {
    /// Another replica has the lease.
    LeaseLost,
    /// The mark was moved by somebody else: another stint begins where it is now.
    MarkMoved,
    /// The consumer stopped for good, until an operator resyncs it.
    Halted,
    Shutdown,
}

/// Work that goes on while the stint waits for other things.
type Job<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

async fn done<T>(job: &mut Job<T>) -> T {
    match job {
        Some(future) => {
            let value = future.await;
            *job = None;
            value
        }
        None => std::future::pending().await,
    }
}

enum Worked {
    Applied(Outcome),
    Renewed(Result<Option<LeasedMark>, StoreError>),
}

/// The work of one replica from taking the lease to losing it.
pub(super) struct Stint<S, E, P> {
    claim: Claim<S>,
    source: P,
    options: ConsumerOptions,
    machine: Machine,
    subscription: Subscription,
    /// `None` while `work` has it.
    applier: Option<Applier<S, E>>,
    work: Job<(Applier<S, E>, Worked)>,
    renew_now: bool,
    /// Until then the events that are ready wait, because none of them concerns the consumer.
    linger_until: Option<Instant>,
    replay: Option<Pages>,
    asking: Job<Answer>,
    acknowledging: Job<(Mark, Result<(), SourceError>)>,
    acknowledged_mark: Option<Mark>,
    acknowledge_at: Instant,
    /// When the mark is acknowledged again even if it did not move.
    acknowledge_again_at: Instant,
    counts: Counts,
    /// Counts the aggregates that are parked.
    counting: Job<Result<u64, StoreError>>,
    count_at: Instant,
    warnings: Throttle,
}

impl<S, E, P> Stint<S, E, P>
where
    S: ConsumerStore,
    E: Effects<S::Tx>,
    P: Source,
{
    /// A stint of a replica that has just taken the lease and found this mark.
    pub(super) fn new(
        claim: Claim<S>,
        mark: Mark,
        applier: Applier<S, E>,
        source: P,
        subscription: Subscription,
        options: ConsumerOptions,
        counts: Counts,
    ) -> Self {
        Self {
            source,
            machine: Machine::new(mark, Limits::default()),
            subscription,
            applier: Some(applier),
            claim,
            options,
            work: None,
            renew_now: false,
            linger_until: None,
            replay: None,
            asking: None,
            acknowledging: None,
            acknowledged_mark: None,
            acknowledge_at: Instant::now(),
            acknowledge_again_at: Instant::now(),
            counts,
            counting: None,
            count_at: Instant::now(),
            warnings: Throttle::default(),
        }
    }

    /// Works until something ends it; `standing` is told how it goes.
    pub(super) async fn run(mut self, shutdown: &CancellationToken, standing: &mut Standing) -> End {
        let mut tick = interval(self.options.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        loop {
            while let Some(action) = self.machine.action() {
                if let Action::Halt(reason) = action {
                    return tokio::select! {
                        () = shutdown.cancelled() => End::Shutdown,
                        end = self.halt(reason) => end,
                    };
                }
                self.begin(action);
            }
            self.begin_work();
            self.begin_acknowledging();
            self.begin_counting();
            tokio::select! {
                () = shutdown.cancelled() => return End::Shutdown,
                (applier, worked) = done(&mut self.work) => {
                    self.applier = Some(applier);
                    if let Some(end) = self.worked(worked) {
                        return end;
                    }
                }
                signal = self.subscription.next() => self.signals(signal),
                page = next_page(&mut self.replay), if self.machine.wants_page() => self.page(page),
                answer = done(&mut self.asking) => self.answered(answer),
                (mark, result) = done(&mut self.acknowledging) => self.acknowledged(mark, result),
                () = linger_is_over(self.linger_until), if self.applier.is_some() => {}
                count = done(&mut self.counting) => match count {
                    Ok(aggregates) => standing.parked(aggregates),
                    Err(error) => self.warn(&error, "cannot count the parked aggregates now; trying again"),
                },
                _ = tick.tick() => {
                    self.machine.tick();
                    standing.is_at(self.machine.state(), &self.machine.lag(), (self.options.now)());
                }
            }
        }
    }

    /// Halts the consumer if this replica still has its lease. If it lost the lease unnoticed, another replica may be
    /// far ahead: then its own mark may be below what is pruned, which is no reason to halt.
    async fn halt(&mut self, reason: &str) -> End {
        // Dropped, because nobody reads them any more and the subscription would buffer what is published.
        self.subscription = Subscription::new(stream::empty());
        self.replay = None;
        let mut backoff = lease_backoff();
        loop {
            match self.claim.lease().await {
                Ok(None) => return End::LeaseLost,
                Ok(Some(leased)) if leased.halted.is_some() => return End::Halted,
                Ok(Some(leased)) if leased.mark != self.machine.mark() => return End::MarkMoved,
                Ok(Some(leased)) if self.claim.halt(&leased.mark, reason).await => return End::Halted,
                // Another replica took the lease or moved the mark in between: the next round finds out.
                Ok(Some(_)) => {}
                Err(error) => self.warn(&error, "cannot take the lease of the mark now; trying again"),
            }
            backoff.pause().await;
        }
    }

    fn begin(&mut self, action: Action) {
        self.replay = None;
        self.asking = None;
        let source = self.source.clone();
        match action {
            Action::Replay { epoch, after, follow } => {
                if let Some(why) = self.machine.take_why() {
                    self.counts.replay(why);
                }
                let stream = self.claim.consumer.stream;
                let open = async move { source.replay(stream, epoch, after, follow).await };
                self.replay = Some(stream::once(open).try_flatten().boxed());
            }
            Action::Resume(mark) => {
                self.asking = Some(ask(self.claim.clone(), source, mark).boxed());
            }
            Action::Stop | Action::Halt(_) => {}
        }
    }

    /// Renews the lease when it is time, and else applies what is ready. Not both at once, because both write the mark.
    fn begin_work(&mut self) {
        let Some(mut applier) = self.applier.take() else { return };
        if self.renew_now || applier.is_renewal_due() {
            self.renew_now = false;
            self.work = Some(Box::pin(async move {
                let renewed = applier.lease().await;
                (applier, Worked::Renewed(renewed))
            }));
            return;
        }
        let mark = self.machine.mark();
        if self.lingers(&applier) {
            self.applier = Some(applier);
            return;
        }
        self.linger_until = None;
        let Some(run) = self.machine.next_run(self.options.batch_max) else {
            self.applier = Some(applier);
            return;
        };
        self.work = Some(Box::pin(async move {
            let outcome = applier.apply(mark, &run).await;
            (applier, Worked::Applied(outcome))
        }));
    }

    /// Whether the events that are ready wait a moment longer.
    fn lingers(&mut self, applier: &Applier<S, E>) -> bool {
        let mut ready = self.machine.ready();
        let count = ready.len();
        if count == 0 || count >= self.options.batch_max || ready.any(|event| applier.concerns(event)) {
            return false;
        }
        let now = Instant::now();
        *self.linger_until.get_or_insert(now + LINGER) > now
    }

    fn worked(&mut self, worked: Worked) -> Option<End> {
        match worked {
            Worked::Applied(Outcome::Applied(mark)) => self.machine.applied(mark),
            Worked::Applied(Outcome::Moved(mark)) => self.machine.moved(mark),
            Worked::Applied(Outcome::LeaseLost) => return Some(End::LeaseLost),
            Worked::Applied(Outcome::Halted) => return Some(End::Halted),
            Worked::Renewed(Ok(None)) => return Some(End::LeaseLost),
            Worked::Renewed(Ok(Some(leased))) if leased.halted.is_some() => return Some(End::Halted),
            Worked::Renewed(Ok(Some(leased))) => {
                if leased.mark != self.machine.mark() {
                    self.machine.moved(leased.mark);
                }
            }
            Worked::Renewed(Err(error)) => {
                self.warn(&error, "cannot renew the lease of the mark now; trying again")
            }
        }
        None
    }

    /// Handles one signal, and those that have already arrived after it.
    fn signals(&mut self, first: Signal) {
        self.signal(first);
        for _ in 1..MESSAGES_AT_ONCE {
            let Some(signal) = self.subscription.next().now_or_never() else { return };
            self.signal(signal);
        }
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Subscribed => self.machine.subscribed(),
            Signal::Lost => self.machine.lost(),
            Signal::Message { payload, .. } => match from_channel(payload) {
                Ok(heard) if heard.stream() == self.claim.consumer.stream => self.machine.heard(heard),
                Ok(_) => {}
                // If it was an event, the machine will notice the gap.
                Err(error) => self.warn(&error, "ignored a message on the channel that cannot be decoded"),
            },
        }
    }

    fn page(&mut self, page: Option<Result<Page, SourceError>>) {
        match page {
            Some(Ok(page)) => self.machine.page(page),
            None => {
                self.replay = None;
                self.machine.replay_ended();
            }
            Some(Err(error)) => {
                self.replay = None;
                match error {
                    SourceError::EpochChanged => self.machine.epoch_changed(),
                    SourceError::Pruned => self.machine.pruned(),
                    SourceError::Unavailable(_) => {
                        self.warn(&error, "cannot read the producer's stream now; trying again");
                        self.machine.replay_failed();
                    }
                }
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Same(mark) => self.machine.resumed(mark),
            Answer::Rewound => self.machine.rewound(),
            Answer::Behind => {
                let consumer = self.claim.consumer.name;
                tracing::warn!(
                    consumer,
                    "the producer's stream ends below the mark; asking again before the consumer halts"
                );
                self.machine.behind();
            }
            Answer::Pruned => self.machine.pruned(),
            Answer::Moved => {
                self.renew_now = true;
                self.machine.replay_failed();
            }
            Answer::Failed(error) => {
                self.warn(
                    error.as_ref(),
                    "cannot ask now whether the producer's history is still the same; trying again",
                );
                self.machine.replay_failed();
            }
        }
    }

    /// Acknowledges the mark to the producer, once in a while.
    fn begin_acknowledging(&mut self) {
        let mark = self.machine.mark();
        let now = Instant::now();
        let due = self.acknowledging.is_none() && now >= self.acknowledge_at;
        let is_known = self.acknowledged_mark == Some(mark) && now < self.acknowledge_again_at;
        if !due || mark.epoch.is_nil() || is_known {
            return;
        }
        self.acknowledge_at = now + self.options.acknowledge_every;
        let (source, consumer) = (self.source.clone(), self.claim.consumer);
        self.acknowledging = Some(Box::pin(async move { (mark, source.acknowledge(consumer, &mark).await) }));
    }

    /// Counts what is parked, once in a while: for metrics.
    fn begin_counting(&mut self) {
        let now = Instant::now();
        if self.counting.is_some() || now < self.count_at {
            return;
        }
        self.count_at = now + COUNT_EVERY;
        let (store, consumer) = (self.claim.store.clone(), self.claim.consumer);
        self.counting = Some(Box::pin(async move { parked_aggregates(&store, consumer).await }));
    }

    fn acknowledged(&mut self, mark: Mark, result: Result<(), SourceError>) {
        match result {
            Ok(()) => {
                self.acknowledged_mark = Some(mark);
                self.acknowledge_again_at = Instant::now() + ACKNOWLEDGE_UNMOVED;
            }
            Err(error) => self.warn(&error, "cannot acknowledge the mark to the producer now; trying again"),
        }
    }

    fn warn(&mut self, error: &(dyn std::error::Error + 'static), what: &'static str) {
        if self.warnings.ready() {
            let ConsumerId { name, stream } = self.claim.consumer;
            tracing::warn!(consumer = name, stream, error, "{what}");
        }
    }
}

/// How many aggregates of a consumer are parked.
pub(super) async fn parked_aggregates<S: ConsumerStore>(
    store: &S,
    consumer: ConsumerId,
) -> Result<u64, StoreError> {
    let mut tx = store.begin().await?;
    let count = tx.parked_aggregate_count(consumer).await;
    tx.rollback().await;
    count
}

async fn linger_is_over(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn next_page(replay: &mut Option<Pages>) -> Option<Result<Page, SourceError>> {
    match replay {
        Some(pages) => pages.next().await,
        None => std::future::pending().await,
    }
}
