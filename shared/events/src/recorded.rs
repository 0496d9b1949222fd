//! A channel with recorded messages, for tests of its listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};

use crate::bus::{Channel, Outgoing, PublishError, Signal, Subscription};

/// Gives each subscriber the same messages, on the first of its channels, and then nothing more. Clones are one
/// channel.
#[derive(Debug, Clone)]
pub struct Recorded {
    said: Vec<Bytes>,
    subscriptions: Arc<AtomicUsize>,
}

impl Recorded {
    /// A channel with these messages.
    #[must_use]
    pub fn new(said: Vec<Bytes>) -> Self {
        Self { said, subscriptions: Arc::default() }
    }

    /// How often somebody has subscribed.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }
}

impl Channel for Recorded {
    async fn publish(&self, _: Vec<Outgoing>) -> Result<(), PublishError> {
        Ok(())
    }

    fn subscribe(&self, channels: Vec<String>, _: Option<Duration>) -> Subscription {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let channel = channels.first().cloned().unwrap_or_default();
        let message = move |payload| Signal::Message { channel: channel.clone(), payload };
        Subscription::new(stream::iter(self.said.clone()).map(message))
    }
}
