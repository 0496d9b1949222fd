//! What a consumer counts and measures. Most of it is known only to the replica that has the lease of the mark, and is told
//! of by nobody else.

use std::time::Duration;

use metrics::{Counter, Family, Gauge, Held, Histogram, TraceId, number};
use time::OffsetDateTime;

use crate::envelope::{Event, Position};
use crate::machine::{Lag, STREAM_REWOUND, Why};
use crate::store::ConsumerId;

/// A service has fewer consumers than this.
const CONSUMERS: usize = 4;
const LABELS: [&str; 2] = ["stream", "consumer"];

static LAG_EVENTS: Family<Gauge, 2> = Family::new(
    "consumer_lag_events",
    "Events of the stream that the consumer has not applied yet, as far as it has heard.",
    LABELS,
    CONSUMERS,
);
static LAG_SECONDS: Family<Gauge, 2> = Family::new(
    "consumer_lag_seconds",
    "How old the oldest event is that the consumer has not applied yet; 0 when it has applied all.",
    LABELS,
    CONSUMERS,
);
static PARKED: Family<Gauge, 2> = Family::new(
    "consumer_parked_aggregates",
    "Aggregates with events that could not be applied and wait for an operator.",
    LABELS,
    CONSUMERS,
);
static STATE: Family<Gauge, 3> = Family::new(
    "consumer_state",
    "What the consumer does: 1 for that, 0 for everything else.",
    ["stream", "consumer", "state"],
    CONSUMERS * STATES.len(),
);
static REPLAYS: Family<Counter, 3> = Family::new(
    "consumer_replays_total",
    "How often the consumer read the producer's stream instead of the channel.",
    ["stream", "consumer", "reason"],
    CONSUMERS * Why::ALL.len(),
);
static DELIVERY: Family<Histogram, 2> = Family::new(
    "event_delivery_seconds",
    "From when the producer made an event to when the consumer had committed its effects.",
    LABELS,
    CONSUMERS,
);

const HALTED: &str = "halted";
const REWOUND: &str = "rewound";
/// Those of the machine, and why a halted one stands still.
const STATES: [&str; 6] = ["waiting", "live", "replaying", "resuming", HALTED, REWOUND];

/// What every replica counts.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    replays: Vec<(Why, Counter)>,
    delivery: Histogram,
}

impl Counts {
    pub(crate) fn of(consumer: ConsumerId) -> Self {
        let ConsumerId { name, stream } = consumer;
        let replays = Why::ALL.map(|why| (why, REPLAYS.with([stream, name, why.name()])));
        Self { replays: replays.to_vec(), delivery: DELIVERY.with([stream, name]) }
    }

    pub(crate) fn replay(&self, why: Why) {
        if let Some((_, counter)) = self.replays.iter().find(|(one, _)| *one == why) {
            counter.increment();
        }
    }

    /// The effects of these events were committed now.
    pub(crate) fn applied<'a>(&self, events: impl IntoIterator<Item = &'a Event>, now: OffsetDateTime) {
        for event in events {
            let took = since(event.new.created_at, now);
            match event.new.headers.traceparent.as_deref().and_then(TraceId::recorded_in) {
                Some(trace) => self.delivery.observe_in(took, trace),
                None => self.delivery.observe(took),
            }
        }
    }
}

/// What the replica with the lease tells.
#[derive(Debug)]
pub(crate) struct Standing {
    consumer: ConsumerId,
    /// Events and seconds, once they are known.
    lag: Option<[Held<Gauge, 2>; 2]>,
    parked: Option<Held<Gauge, 2>>,
    states: Vec<(&'static str, Held<Gauge, 3>)>,
    /// Where the mark was when it was last behind, and the time of the oldest event above it.
    behind: Option<(Position, OffsetDateTime)>,
}

impl Standing {
    /// Of a replica that has just taken the lease.
    pub(crate) fn new(consumer: ConsumerId) -> Self {
        let ConsumerId { name, stream } = consumer;
        Self {
            consumer,
            lag: None,
            parked: None,
            states: STATES.map(|state| (state, STATE.held([stream, name, state]))).into(),
            behind: None,
        }
    }

    /// It is halted, with this reason.
    pub(crate) fn halted(&self, reason: &str) {
        self.is(if reason == STREAM_REWOUND { REWOUND } else { HALTED });
    }

    /// So many aggregates are parked.
    pub(crate) fn parked(&mut self, aggregates: u64) {
        let ConsumerId { name, stream } = self.consumer;
        self.parked.get_or_insert_with(|| PARKED.held([stream, name])).set(number(aggregates));
    }

    /// What the machine does, and how far it is behind.
    pub(crate) fn is_at(&mut self, state: &'static str, lag: &Lag, now: OffsetDateTime) {
        self.is(state);
        let ConsumerId { name, stream } = self.consumer;
        let [events, seconds] = self
            .lag
            .get_or_insert_with(|| [LAG_EVENTS.held([stream, name]), LAG_SECONDS.held([stream, name])]);
        events.set(number(lag.events));
        if lag.events == 0 {
            self.behind = None;
            seconds.set(0.0);
            return;
        }
        let oldest = lag.oldest.unwrap_or(now);
        let since_then = match self.behind {
            Some((mark, time)) if mark == lag.mark => time.min(oldest),
            _ => oldest,
        };
        self.behind = Some((lag.mark, since_then));
        seconds.set(since(since_then, now).as_secs_f64());
    }

    fn is(&self, state: &str) {
        self.states.iter().for_each(|(one, gauge)| gauge.set_bool(*one == state));
    }
}

/// The clocks of two machines may differ: nothing arrives before it was sent.
fn since(then: OffsetDateTime, now: OffsetDateTime) -> Duration {
    (now - then).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::event;

    const CONSUMER: ConsumerId = ConsumerId { name: "test.metrics", stream: "s" };

    fn value(name: &str) -> Option<f64> {
        let text = metrics::text();
        text.lines().find_map(|line| line.strip_prefix(name)?.split(' ').nth(1)?.parse().ok())
    }

    fn of_consumer(name: &str) -> Option<f64> {
        value(&format!("{name}{{stream=\"s\",consumer=\"test.metrics\"}}"))
    }

    fn state(state: &str) -> Option<f64> {
        value(&format!("consumer_state{{stream=\"s\",consumer=\"test.metrics\",state=\"{state}\"}}"))
    }

    #[test]
    fn only_who_has_the_lease_tells_how_far_it_is() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let at = |seconds: i64| now + time::Duration::seconds(seconds);
        assert_eq!(of_consumer("consumer_lag_events"), None);
        let mut standing = Standing::new(CONSUMER);
        standing.parked(2);
        standing.is_at("live", &Lag { events: 3, mark: 7, oldest: Some(at(-5)) }, now);
        assert_eq!(of_consumer("consumer_lag_events"), Some(3.0));
        assert_eq!(of_consumer("consumer_lag_seconds"), Some(5.0));
        assert_eq!(of_consumer("consumer_parked_aggregates"), Some(2.0));
        assert_eq!((state("live"), state("halted")), (Some(1.0), Some(0.0)));
        // The oldest event is being applied, so only a younger one is ready.
        standing.is_at("replaying", &Lag { events: 3, mark: 7, oldest: Some(at(-1)) }, at(10));
        assert_eq!(of_consumer("consumer_lag_seconds"), Some(15.0), "it is still behind since then");
        standing.is_at("live", &Lag { events: 2, mark: 8, oldest: None }, at(20));
        assert_eq!(
            of_consumer("consumer_lag_seconds"),
            Some(0.0),
            "the mark moved, and nothing was received"
        );
        standing.is_at("live", &Lag { events: 2, mark: 8, oldest: None }, at(23));
        assert_eq!(of_consumer("consumer_lag_seconds"), Some(3.0));
        standing.is_at("live", &Lag { events: 0, mark: 10, oldest: None }, at(30));
        assert_eq!(of_consumer("consumer_lag_seconds"), Some(0.0));
        standing.halted(STREAM_REWOUND);
        assert_eq!((state("live"), state("rewound")), (Some(0.0), Some(1.0)));
        standing.halted("too_many_parked");
        assert_eq!((state("halted"), state("rewound")), (Some(1.0), Some(0.0)));
        drop(standing);
        assert_eq!((of_consumer("consumer_lag_events"), state("halted")), (None, None));
    }

    #[test]
    fn each_event_counts_by_its_own_age_and_shows_only_a_recorded_trace() {
        let counts = Counts::of(ConsumerId { name: "test.delivery", ..CONSUMER });
        let [mut first, mut second] = [event("s", 1), event("s", 2)];
        let now = first.new.created_at + time::Duration::milliseconds(40);
        second.new.created_at = now + time::Duration::seconds(5);
        let traceparent =
            |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        first.new.headers.traceparent = Some(traceparent("01"));
        second.new.headers.traceparent = Some(traceparent("00"));
        counts.applied(&[first, second], now);
        let text = metrics::text();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| {
                line.starts_with("event_delivery_seconds_bucket") && line.contains("test.delivery")
            })
            .collect();
        assert!(
            lines[0].contains("le=\"0.00025\"") && lines[0].ends_with("} 1"),
            "ahead is at once: {lines:#?}"
        );
        let shown: Vec<_> = lines.iter().filter(|line| line.contains(" # {trace_id=")).collect();
        assert_eq!(shown.len(), 1, "{lines:#?}");
        assert!(shown[0].contains("le=\"0.05\"") && shown[0].contains("0af7651916cd43dd8448eb211c80319c"));
    }
}
