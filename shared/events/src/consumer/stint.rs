//! What one replica does while it has the lease: waits for everything at once, the channel, the producer, the
//! database and the time, tells the machine of it and does what the machine wants.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, Outcome};
use super::claim::{Claim, lease_backoff};
use super::options::ConsumerOptions;
use crate::bus::{Signal, Subscription};
use crate::cloud_event::from_channel;
use crate::effects::Effects;
use crate::history::{History, Page};
use crate::machine::{Action, Limits, Machine};
use crate::pace::Throttle;
use crate::source::{Pages, Source, SourceError};
use crate::store::{ConsumerId, ConsumerStore, LeasedMark, Mark, StoreError};

/// How many messages of the channel are taken before anything else gets its turn.
const MESSAGES_AT_ONCE: usize = 256;
/// How often the producer is told of a mark that does not move, so that it knows of a consumer that is gone.
const ACKNOWLEDGE_UNMOVED: Duration = Duration::from_secs(60);
/// How long events that say nothing to the consumer wait for others, to move the mark together.
const LINGER: Duration = Duration::from_millis(20);

/// Why a replica stopped consuming.
pub(super) enum End {
    /// Ask for the lease again.
    LeaseLost,
    /// Begin again where the mark is now.
    MarkMoved,
    /// Look for a resync now and then.
    Halted,
    Shutdown,
}

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

enum Asked {
    Same(Mark),
    Rewound,
    /// The producer's head is below the mark.
    Behind,
    Pruned,
    /// The mark was moved meanwhile.
    Moved,
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// From taking the lease to losing it.
pub(super) struct Stint<S, E, P> {
    claim: Claim<S>,
    source: P,
    options: ConsumerOptions,
    machine: Machine,
    subscription: Subscription,
    /// `None` while it works.
    applier: Option<Applier<S, E>>,
    work: Job<(Applier<S, E>, Worked)>,
    renew_now: bool,
    /// Until when what is ready waits, since none of it says anything to the consumer.
    linger_until: Option<Instant>,
    replay: Option<Pages>,
    asking: Job<Asked>,
    acknowledging: Job<(Mark, Result<(), SourceError>)>,
    acknowledged: Option<Mark>,
    acknowledge_at: Instant,
    /// When the mark is told of again though it did not move.
    acknowledge_again_at: Instant,
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
        effects: Arc<E>,
        source: P,
        subscription: Subscription,
        options: ConsumerOptions,
    ) -> Self {
        Self {
            source,
            machine: Machine::new(mark, Limits::default()),
            subscription,
            applier: Some(Applier::new(claim.clone(), effects, options.clone())),
            claim,
            options,
            work: None,
            renew_now: false,
            linger_until: None,
            replay: None,
            asking: None,
            acknowledging: None,
            acknowledged: None,
            acknowledge_at: Instant::now(),
            acknowledge_again_at: Instant::now(),
            warnings: Throttle::default(),
        }
    }

    pub(super) async fn run(mut self, shutdown: &CancellationToken) -> End {
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
                asked = done(&mut self.asking) => self.asked(asked),
                (mark, result) = done(&mut self.acknowledging) => self.told(mark, result),
                () = lingered(self.linger_until), if self.applier.is_some() => {}
                _ = tick.tick() => self.machine.tick(),
            }
        }
    }

    /// Halts the consumer, if this replica still speaks for it: the mark of one that lost its lease unnoticed
    /// may well be pruned.
    async fn halt(&mut self, reason: &str) -> End {
        // Nobody reads them any more, and the subscription goes on to take in what is published.
        self.subscription = Subscription::new(stream::empty());
        self.replay = None;
        let mut backoff = lease_backoff();
        loop {
            match self.claim.lease().await {
                Ok(None) => return End::LeaseLost,
                Ok(Some(leased)) if leased.halted.is_some() => return End::Halted,
                Ok(Some(leased)) if leased.mark != self.machine.mark() => return End::MarkMoved,
                Ok(Some(leased)) if self.claim.halt(&leased.mark, reason).await => return End::Halted,
                // Another took the consumer or moved its mark in between: look again.
                Ok(Some(_)) => {}
                Err(error) => self.warn(&error, "the mark cannot be had now"),
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

    /// Renews the lease when it is time, else applies what is ready. One at a time: both write the mark.
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

    /// Whether what is ready waits a moment longer.
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
            Worked::Renewed(Err(error)) => self.warn(&error, "the lease of the mark is not renewed now"),
        }
        None
    }

    /// Takes one signal, and what else has come already.
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
                // If it was an event, its gap will be noticed.
                Err(error) => self.warn(&error, "a message of the channel is none of ours"),
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
                        self.warn(&error, "the producer's stream cannot be read now");
                        self.machine.replay_failed();
                    }
                }
            }
        }
    }

    fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Same(mark) => self.machine.resumed(mark),
            Asked::Rewound => self.machine.rewound(),
            Asked::Behind => {
                let consumer = self.claim.consumer.name;
                tracing::warn!(consumer, "the producer's stream ends below the mark; asking again");
                self.machine.behind();
            }
            Asked::Pruned => self.machine.pruned(),
            Asked::Moved => {
                self.renew_now = true;
                self.machine.replay_failed();
            }
            Asked::Failed(error) => {
                self.warn(error.as_ref(), "it is not known now whether the producer's history is the same");
                self.machine.replay_failed();
            }
        }
    }

    /// Tells the producer how far this consumer is, once in a while.
    fn begin_acknowledging(&mut self) {
        let mark = self.machine.mark();
        let now = Instant::now();
        let due = self.acknowledging.is_none() && now >= self.acknowledge_at;
        let is_known = self.acknowledged == Some(mark) && now < self.acknowledge_again_at;
        if !due || mark.epoch.is_nil() || is_known {
            return;
        }
        self.acknowledge_at = now + self.options.acknowledge_every;
        let (source, consumer) = (self.source.clone(), self.claim.consumer);
        self.acknowledging = Some(Box::pin(async move { (mark, source.acknowledge(consumer, &mark).await) }));
    }

    fn told(&mut self, mark: Mark, result: Result<(), SourceError>) {
        match result {
            Ok(()) => {
                self.acknowledged = Some(mark);
                self.acknowledge_again_at = Instant::now() + ACKNOWLEDGE_UNMOVED;
            }
            Err(error) => self.warn(&error, "the producer does not take the acknowledgement now"),
        }
    }

    fn warn(&mut self, error: &(dyn std::error::Error + 'static), what: &'static str) {
        if self.warnings.ready() {
            let ConsumerId { name, stream } = self.claim.consumer;
            tracing::warn!(consumer = name, stream, error, "{what}");
        }
    }
}

async fn lingered(until: Option<Instant>) {
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

/// Asks the producer whether a mark is still in its history, and gives the mark the producer's epoch if it is.
async fn ask<S: ConsumerStore, P: Source>(claim: Claim<S>, source: P, mark: Mark) -> Asked {
    let consumer = claim.consumer;
    let answer = if mark.position == 0 {
        // No history to compare: whatever there is will do.
        source.head(consumer.stream).await.map(History::Same)
    } else {
        source.resume(consumer.stream, &mark).await
    };
    let head = match answer {
        Ok(History::Same(head)) => head,
        Ok(History::Rewound(head)) if head.position < mark.position => return Asked::Behind,
        Ok(History::Rewound(_)) => return Asked::Rewound,
        Err(SourceError::Pruned) => return Asked::Pruned,
        Err(error) => return Asked::Failed(error.into()),
    };
    if head.epoch == mark.epoch {
        return Asked::Same(mark);
    }
    let adopted = Mark { epoch: head.epoch, ..mark };
    match claim.store.mark_adopt(consumer, &mark, &adopted).await {
        Ok(true) => {
            tracing::info!(consumer = consumer.name, epoch = %head.epoch, "adopted the stream's epoch");
            Asked::Same(adopted)
        }
        Ok(false) => Asked::Moved,
        Err(error) => Asked::Failed(error.into()),
    }
}
