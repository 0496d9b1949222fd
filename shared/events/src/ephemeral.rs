//! Consumers without a mark, for what a process keeps in its memory: caches. They start at the head, replay
//! nothing and acknowledge nothing; whatever they may have missed, they forget everything instead.
//!
//! A cache is to be used only while its stream is *live*: heard in the last three ticks, without a hole.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use types::EventId;
use uuid::Uuid;

use crate::bus::{Channel, Signal, Subscription, events_channel};
use crate::cloud_event::{Heard, from_channel};
use crate::envelope::{Event, Position};
use crate::pace::Throttle;
use crate::store::Head;

/// What is told to the owner of a cache. Called in the order of things; must not block.
pub trait Listener: Send + Sync + 'static {
    /// The next event of its stream.
    fn on_event(&self, event: &Event);

    /// Events of this stream may have been missed: forget what it invalidates.
    fn on_clear(&self, stream: &str);

    /// Whether events of this stream arrive now; not live before it was told for the first time.
    fn on_live(&self, stream: &str, live: bool);

    /// Whether anything that is said now matters. As long as not, what comes is not even read, and no stream is live;
    /// after five seconds of it the subscription is given up, so that Redis sends nothing either. A quarter of a second
    /// after it matters again there is another.
    fn is_listening(&self) -> bool {
        true
    }
}

/// Without a word for so many ticks a stream is not live.
const SILENT_TICKS: u32 = 3;
/// So many heads in a row below what was heard are no late ones.
const LOW_HEADS: u32 = 3;
const DEAD_TICKS: u32 = 20;
/// When nobody has listened for so many ticks, the subscription goes.
const UNHEARD_TICKS: u32 = 20;

/// Listens to any number of streams over one subscription.
pub struct Ephemeral<L, C> {
    streams: Vec<String>,
    bus: C,
    listener: L,
    tick: Duration,
}

impl<L: fmt::Debug, C> fmt::Debug for Ephemeral<L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ephemeral").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl<L: Listener, C: Channel> Ephemeral<L, C> {
    /// Tells `listener` what happens on these streams.
    pub fn new(streams: impl IntoIterator<Item = String>, bus: C, listener: L) -> Self {
        let streams = streams.into_iter().collect();
        Self { streams, bus, listener, tick: Duration::from_millis(250) }
    }

    /// Runs until the shutdown; nothing is live afterwards.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut tails: HashMap<String, Tail> =
            self.streams.iter().map(|stream| (stream.clone(), Tail::new(stream.clone()))).collect();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.listen_on_demand(&mut tails) => {}
        }
        for tail in tails.values_mut() {
            tail.lost(&self.listener);
        }
    }

    async fn listen_on_demand(&self, tails: &mut HashMap<String, Tail>) {
        let mut warnings = Throttle::default();
        let mut tick = interval(self.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while !self.listener.is_listening() {
                tick.tick().await;
            }
            let channels = self.streams.iter().map(|stream| events_channel(stream)).collect();
            let subscription = self.bus.subscribe(channels, Some(self.tick * DEAD_TICKS));
            self.listen(subscription, tails, &mut tick, &mut warnings).await;
            tails.values_mut().for_each(|tail| tail.lost(&self.listener));
        }
    }

    /// Listens until nobody has for a while.
    async fn listen(
        &self,
        mut subscription: Subscription,
        tails: &mut HashMap<String, Tail>,
        tick: &mut Interval,
        warnings: &mut Throttle,
    ) {
        let mut unheard_ticks = 0;
        while unheard_ticks < UNHEARD_TICKS {
            tokio::select! {
                // What has come already counts before the time that went by.
                biased;
                signal = subscription.next() => match signal {
                    Signal::Subscribed => {}
                    Signal::Lost => tails.values_mut().for_each(|tail| tail.lost(&self.listener)),
                    Signal::Message { .. } if !self.listener.is_listening() => {
                        tails.values_mut().for_each(|tail| tail.lost(&self.listener));
                    }
                    Signal::Message { payload, .. } => match from_channel(payload) {
                        Ok(heard) => {
                            if let Some(tail) = tails.get_mut(heard.stream()) {
                                tail.heard(&heard, &self.listener);
                            }
                        }
                        Err(error) => if warnings.ready() {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "a message of the channel is none of ours");
                        },
                    },
                },
                _ = tick.tick() => {
                    unheard_ticks = if self.listener.is_listening() { 0 } else { unheard_ticks + 1 };
                    tails.values_mut().for_each(|tail| tail.tick(&self.listener));
                }
            }
        }
    }
}

/// What was heard of one stream.
#[derive(Debug)]
struct Tail {
    stream: String,
    at: Option<At>,
    silent_ticks: u32,
    low_heads: u32,
}

#[derive(Debug, Clone, Copy)]
struct At {
    epoch: Uuid,
    position: Position,
    /// Unknown after an event whose payload did not come.
    event_id: Option<EventId>,
}

impl Tail {
    fn new(stream: String) -> Self {
        Self { stream, at: None, silent_ticks: 0, low_heads: 0 }
    }

    fn heard(&mut self, heard: &Heard, listener: &impl Listener) {
        self.silent_ticks = 0;
        match heard {
            Heard::Event(event) => {
                let at = At { epoch: event.epoch, position: event.position, event_id: Some(event.new.id) };
                match self.at {
                    Some(now) if now.epoch == at.epoch && at.position <= now.position => return,
                    Some(now) if follows(&now, event) => self.at = Some(at),
                    _ => self.jump(at, listener),
                }
                listener.on_event(event);
            }
            Heard::Reference { epoch, position, .. } => {
                let known = self.at.is_some_and(|now| now.epoch == *epoch && *position <= now.position);
                if !known {
                    self.jump(At { epoch: *epoch, position: *position, event_id: None }, listener);
                }
            }
            Heard::Head(head) => self.head(head, listener),
        }
    }

    fn head(&mut self, head: &Head, listener: &impl Listener) {
        let at = At { epoch: head.epoch, position: head.position, event_id: head.event_id };
        match self.at {
            Some(now) if now.epoch == at.epoch && now.position == at.position => self.low_heads = 0,
            Some(now) if now.epoch == at.epoch && now.position > at.position => {
                self.low_heads += 1;
                if self.low_heads >= LOW_HEADS {
                    self.jump(at, listener);
                }
            }
            // Events are published before the head that counts them: a tail was lost.
            _ => self.jump(at, listener),
        }
    }

    /// What was between is unknown.
    fn jump(&mut self, to: At, listener: &impl Listener) {
        let was_live = self.at.replace(to).is_some();
        self.low_heads = 0;
        listener.on_clear(&self.stream);
        if !was_live {
            listener.on_live(&self.stream, true);
        }
    }

    fn tick(&mut self, listener: &impl Listener) {
        self.silent_ticks += 1;
        if self.silent_ticks >= SILENT_TICKS {
            self.lost(listener);
        }
    }

    fn lost(&mut self, listener: &impl Listener) {
        if self.at.take().is_some() {
            listener.on_live(&self.stream, false);
            listener.on_clear(&self.stream);
        }
    }
}

fn follows(now: &At, event: &Event) -> bool {
    now.epoch == event.epoch
        && now.position + 1 == event.position
        && (now.event_id.is_none() || now.event_id == event.previous)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::cloud_event::{channel_event, channel_head};
    use crate::recorded::Recorded;
    use crate::test_support::{EPOCH, event, event_id};

    #[derive(Default)]
    struct Heardlist(Mutex<Vec<String>>);

    /// Listens when it comes to subscribe, and then from the third message on.
    #[derive(Default, Clone)]
    struct Late(Arc<Heardlist>, Arc<Mutex<u32>>);

    impl Listener for Late {
        fn on_event(&self, event: &Event) {
            self.0.on_event(event);
        }

        fn on_clear(&self, stream: &str) {
            self.0.on_clear(stream);
        }

        fn on_live(&self, stream: &str, live: bool) {
            self.0.on_live(stream, live);
        }

        fn is_listening(&self) -> bool {
            let mut asked = self.1.lock().unwrap();
            *asked += 1;
            *asked == 1 || *asked > 3
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_listen_is_told_nothing_and_begins_anew_when_it_does() {
        let (late, stop) = (Late::default(), CancellationToken::new());
        let head = Head {
            stream: "s".to_owned(),
            epoch: EPOCH,
            position: 4,
            event_id: Some(event_id(4)),
            oldest: 1,
        };
        // What nobody listens to is not read: it may be anything.
        let said = vec![
            channel_head(&head),
            Bytes::from_static(b"?"),
            channel_event(&event("s", 6)),
            channel_head(&head),
        ];
        let listening = Ephemeral::new(["s".to_owned()], Recorded::new(said), late.clone());
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            stop.cancel();
        };
        tokio::join!(listening.run(stop.clone()), stopping);
        assert_eq!(late.0.take(), ["clear", "live true", "event 6", "live false", "clear"]);
    }

    /// Listens when it is told to.
    #[derive(Default, Clone)]
    struct Switch(Arc<AtomicBool>);

    impl Listener for Switch {
        fn on_event(&self, _event: &Event) {}

        fn on_clear(&self, _stream: &str) {}

        fn on_live(&self, _stream: &str, _live: bool) {}

        fn is_listening(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_subscription_while_somebody_listens_and_for_a_while_after() {
        let (switch, channel, stop) = (Switch::default(), Recorded::new(vec![]), CancellationToken::new());
        let listening = Ephemeral::new(["s".to_owned()], channel.clone(), switch.clone());
        let turn = |on| switch.0.store(on, Ordering::Relaxed);
        let switching = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(channel.subscriptions(), 0, "nobody has listened");
            turn(true);
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(channel.subscriptions(), 1);
            turn(false);
            tokio::time::sleep(Duration::from_secs(4)).await;
            turn(true);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(channel.subscriptions(), 1, "a short pause costs nothing");
            turn(false);
            tokio::time::sleep(Duration::from_secs(6)).await;
            turn(true);
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(channel.subscriptions(), 2, "a long one gives it up");
            stop.cancel();
        };
        tokio::join!(listening.run(stop.clone()), switching);
    }

    impl Heardlist {
        fn note(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Listener for Heardlist {
        fn on_event(&self, event: &Event) {
            self.note(format!("event {}", event.position));
        }

        fn on_clear(&self, _stream: &str) {
            self.note("clear".to_owned());
        }

        fn on_live(&self, _stream: &str, live: bool) {
            self.note(format!("live {live}"));
        }
    }

    fn tail() -> (Tail, Heardlist) {
        (Tail::new("s".to_owned()), Heardlist::default())
    }

    fn at(position: Position) -> Heard {
        Heard::Event(Box::new(event("s", position)))
    }

    fn head(epoch: Uuid, position: Position) -> Heard {
        let event_id = (position > 0).then(|| event_id(position));
        Heard::Head(Head { stream: "s".to_owned(), epoch, position, event_id, oldest: 1 })
    }

    #[test]
    fn it_is_live_from_the_first_head_and_passes_each_event_on_once() {
        let (mut tail, list) = tail();
        for heard in [head(EPOCH, 4), at(5), at(5), at(4), head(EPOCH, 5), at(6)] {
            tail.heard(&heard, &list);
        }
        assert_eq!(list.take(), ["clear", "live true", "event 5", "event 6"]);
    }

    #[test]
    fn whatever_may_have_been_missed_clears_the_cache() {
        let (mut tail, list) = tail();
        tail.heard(&head(EPOCH, 4), &list);
        list.take();
        tail.heard(&at(6), &list);
        assert_eq!(list.take(), ["clear", "event 6"], "a gap");
        tail.heard(&head(EPOCH, 7), &list);
        assert_eq!(list.take(), ["clear"], "a lost tail");
        tail.heard(&Heard::Reference { stream: "s".to_owned(), epoch: EPOCH, position: 8 }, &list);
        assert_eq!(list.take(), ["clear"], "an event without its payload");
        tail.heard(&at(9), &list);
        assert_eq!(list.take(), ["event 9"]);
        let mut other = event("s", 10);
        other.previous = Some(event_id(1));
        tail.heard(&Heard::Event(Box::new(other)), &list);
        assert_eq!(list.take(), ["clear", "event 10"], "another history");
        tail.heard(&head(Uuid::from_u128(9), 10), &list);
        assert_eq!(list.take(), ["clear"], "another epoch");
    }

    #[test]
    fn silence_ends_it_and_the_next_word_begins_it_anew() {
        let (mut tail, list) = tail();
        tail.heard(&head(EPOCH, 4), &list);
        list.take();
        tail.tick(&list);
        tail.tick(&list);
        assert_eq!(list.take(), [""; 0]);
        tail.tick(&list);
        assert_eq!(list.take(), ["live false", "clear"]);
        tail.tick(&list);
        tail.heard(&at(5), &list);
        assert_eq!(list.take(), ["clear", "live true", "event 5"]);
    }

    #[test]
    fn one_late_head_is_ignored_and_a_rewound_stream_is_not() {
        let (mut tail, list) = tail();
        tail.heard(&head(EPOCH, 4), &list);
        list.take();
        for heard in [head(EPOCH, 3), head(EPOCH, 4), head(EPOCH, 3), head(EPOCH, 3)] {
            tail.heard(&heard, &list);
        }
        assert_eq!(list.take(), [""; 0]);
        tail.heard(&head(EPOCH, 3), &list);
        assert_eq!(list.take(), ["clear"]);
    }
}
