//! Consumers without a mark, for the caches in a process' memory. They start at the head of a stream, replay nothing
//! and acknowledge nothing. When they may have missed an event, their cache is cleared.
//!
//! A cache may be used only while its stream is *live*: heard in the last three ticks, without a hole.

mod listener;
mod tail;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use self::listener::Listener;
use self::tail::Tail;
use crate::bus::{Channel, Signal, Subscription, events_channel};
use crate::cloud_event::from_channel;
use crate::pace::Throttle;

/// After so many ticks without a message the connection is taken for dead.
const DEAD_TICKS: u32 = 20;
/// After so many ticks in which nobody needed the events, the subscription is given up.
const UNNEEDED_TICKS: u32 = 20;

/// Listens to any number of streams over one subscription, for one listener.
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
    /// Calls `listener` for what happens on these streams.
    pub fn new(streams: impl IntoIterator<Item = String>, bus: C, listener: L) -> Self {
        let streams = streams.into_iter().collect();
        Self { streams, bus, listener, tick: Duration::from_millis(250) }
    }

    /// Runs until the shutdown. No stream is live afterwards.
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

    /// Listens until nobody has needed the events for a while.
    async fn listen(
        &self,
        mut subscription: Subscription,
        tails: &mut HashMap<String, Tail>,
        tick: &mut Interval,
        warnings: &mut Throttle,
    ) {
        let mut unneeded_ticks = 0;
        while unneeded_ticks < UNNEEDED_TICKS {
            tokio::select! {
                // A message that has arrived is handled before the tick that came after it.
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
                            tracing::warn!(error, "ignored a message on the channel that cannot be decoded");
                        },
                    },
                },
                _ = tick.tick() => {
                    unneeded_ticks = if self.listener.is_listening() { 0 } else { unneeded_ticks + 1 };
                    tails.values_mut().for_each(|tail| tail.tick(&self.listener));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::cloud_event::{channel_event, channel_head};
    use crate::envelope::Event;
    use crate::recorded::Recorded;
    use crate::store::Head;
    use crate::test_support::{Calls, EPOCH, event, event_id};

    /// Listens when it comes to subscribe, and then from the third message on.
    #[derive(Default, Clone)]
    struct Late(Arc<Calls>, Arc<Mutex<u32>>);

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
    async fn a_listener_that_needs_nothing_gets_nothing_and_starts_anew_later() {
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
}
