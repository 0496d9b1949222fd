//! A channel with every fault that Redis Pub/Sub can have, and some that it cannot: loss, repetition,
//! reordering, cut connections, an absent server. It remembers its messages, so that an old relay can send them again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use events::bus::{Channel, Outgoing, PublishError, Signal, Subscription};
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// The faults of the channel.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The share of messages that a subscriber does not get, from 0 to 1.
    pub(crate) drop: f64,
    /// The share that comes twice.
    pub(crate) repeat: f64,
    /// The share that is late, and so out of order.
    pub(crate) delay: f64,
}

#[derive(Clone, Default)]
pub(crate) struct Lossy(Arc<Mutex<Net>>);

#[derive(Default)]
struct Net {
    faults: Faults,
    down: bool,
    /// How long publishing takes.
    slow: Duration,
    subscribers: Vec<Subscriber>,
    said: Vec<Outgoing>,
}

struct Subscriber {
    channels: Vec<String>,
    deaf_until: Instant,
    signals: mpsc::UnboundedSender<(Instant, Signal)>,
}

impl Lossy {
    fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Makes publishing take so long from now on.
    pub(crate) fn set_slow(&self, slow: Duration) {
        self.lock().slow = slow;
    }

    /// The server goes away, or comes back.
    pub(crate) fn set_down(&self, down: bool) {
        let mut net = self.lock();
        if net.down != down {
            net.down = down;
            let signal = if down { Signal::Lost } else { Signal::Subscribed };
            net.tell_all(&signal);
        }
    }

    /// Every connection is lost; each comes back after a while.
    pub(crate) fn cut(&self) {
        let mut net = self.lock();
        if net.down {
            return;
        }
        let now = Instant::now();
        for subscriber in &mut net.subscribers {
            subscriber.deaf_until = now + Duration::from_millis(fastrand::u64(0..1500));
            drop(subscriber.signals.send((now, Signal::Lost)));
            drop(subscriber.signals.send((subscriber.deaf_until, Signal::Subscribed)));
        }
    }

    /// Sends old messages again, as an old relay would.
    pub(crate) fn say_again(&self, count: usize) {
        let mut net = self.lock();
        if net.down || net.said.is_empty() {
            return;
        }
        let from = fastrand::usize(..net.said.len());
        let again: Vec<Outgoing> = net.said[from..].iter().take(count).cloned().collect();
        for message in again {
            net.deliver(&message);
        }
    }
}

impl Net {
    fn tell_all(&mut self, signal: &Signal) {
        let now = Instant::now();
        for subscriber in &self.subscribers {
            drop(subscriber.signals.send((now, signal.clone())));
        }
    }

    fn deliver(&mut self, (channel, payload): &Outgoing) {
        let now = Instant::now();
        let Faults { drop: lost, repeat, delay } = self.faults;
        self.subscribers.retain(|subscriber| !subscriber.signals.is_closed());
        for subscriber in &self.subscribers {
            if !subscriber.channels.contains(channel) || subscriber.deaf_until > now {
                continue;
            }
            let copies = if fastrand::f64() < repeat { 2 } else { 1 };
            for _ in 0..copies {
                if fastrand::f64() < lost {
                    continue;
                }
                let late = if fastrand::f64() < delay { fastrand::u64(0..600) } else { 0 };
                let message = Signal::Message { channel: channel.clone(), payload: payload.clone() };
                drop(subscriber.signals.send((now + Duration::from_millis(late), message)));
            }
        }
    }
}

impl Channel for Lossy {
    async fn publish(&self, messages: Vec<Outgoing>) -> Result<(), PublishError> {
        let slow = self.lock().slow;
        if slow.is_zero() {
            tokio::task::yield_now().await;
        } else {
            sleep(slow).await;
        }
        let mut net = self.lock();
        if net.down {
            return Err(PublishError("the server is away".into()));
        }
        for message in messages {
            net.deliver(&message);
            net.said.push(message);
        }
        Ok(())
    }

    fn subscribe(&self, channels: Vec<String>, _: Option<Duration>) -> Subscription {
        let (signals, received) = mpsc::unbounded_channel();
        let mut net = self.lock();
        let now = Instant::now();
        if !net.down {
            drop(signals.send((now + Duration::from_millis(1), Signal::Subscribed)));
        }
        net.subscribers.push(Subscriber { channels, deaf_until: now, signals });
        Subscription::new(stream::unfold((received, BTreeMap::new(), 0_u64), next))
    }
}

type Arrivals = (mpsc::UnboundedReceiver<(Instant, Signal)>, BTreeMap<(Instant, u64), Signal>, u64);

/// The next signal by its time of arrival.
async fn next((mut received, mut waiting, mut count): Arrivals) -> Option<(Signal, Arrivals)> {
    loop {
        let due = waiting.keys().next().map(|(due, _)| *due);
        let arrive = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = received.recv() => {
                let (due, signal) = signal?;
                count += 1;
                waiting.insert((due, count), signal);
            }
            () = arrive => {
                let (_, signal) = waiting.pop_first()?;
                return Some((signal, (received, waiting, count)));
            }
        }
    }
}
