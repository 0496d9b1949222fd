//! Redis Pub/Sub, a loudspeaker that may lose anything: nothing here is ever relied on.
//!
//! A [`Bus`] exists without a connection and nobody waits for one: publishing while Redis is away fails at
//! once, and a subscription comes and goes by itself and says so. It never resubscribes silently: what was
//! published in between is lost, and the subscriber has to know.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSubStream};
use redis::{Client, RedisError};
use tokio::time::timeout;

use crate::pace::Backoff;

/// The channel of a stream's events and heartbeats.
#[must_use]
pub fn events_channel(stream: &str) -> String {
    format!("events.{stream}")
}

/// The channel of hints to a stream's sequencer that an event was committed.
#[must_use]
pub fn wake_channel(stream: &str) -> String {
    format!("wake.{stream}")
}

/// A message for a channel.
pub type Outgoing = (String, Bytes);

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The server confirmed all channels: what is published from now on arrives, or [`Signal::Lost`] does.
    Subscribed,
    /// A message.
    Message {
        /// The channel that it came on.
        channel: String,
        /// Its content.
        payload: Bytes,
    },
    /// The connection is gone; another is being made.
    Lost,
}

/// Channels that are being listened to. It never ends.
pub struct Subscription(Pin<Box<dyn Stream<Item = Signal> + Send>>);

impl Subscription {
    /// A subscription that tells what `signals` gives; when that ends, it tells nothing more.
    pub fn new(signals: impl Stream<Item = Signal> + Send + 'static) -> Self {
        Self(Box::pin(signals.chain(stream::pending())))
    }

    /// What happens next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Signal {
        match self.0.next().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

/// Something was not published.
#[derive(Debug, thiserror::Error)]
#[error("the event Redis does not take messages")]
pub struct PublishError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A loudspeaker. [`Bus`] is the only one of the product; tests drive the engine over lossy ones.
pub trait Channel: Clone + Send + Sync + 'static {
    /// Publishes messages in this order. On an error, any of them may have been published.
    fn publish(&self, messages: Vec<Outgoing>) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Listens to channels. Where heartbeats are due, `silence` is how long nothing may come before the
    /// connection is taken for dead.
    fn subscribe(&self, channels: Vec<String>, silence: Option<Duration>) -> Subscription;
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
const RECONNECT_FIRST: Duration = Duration::from_millis(20);
const RECONNECT_LONGEST: Duration = Duration::from_secs(1);
/// How many messages share a round trip.
const PIPELINE_MAX: usize = 500;

/// The event Redis.
///
/// Pub/Sub does not know the numbered databases of a server, so a bus on another one than 0 puts the number
/// before its channels' names: systems that share a server by database do not hear each other.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    prefix: Arc<str>,
    publisher: Arc<OnceLock<ConnectionManager>>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus")
    }
}

/// The text is not the URL of a Redis server. It is not shown: URLs hold passwords.
#[derive(Debug, thiserror::Error)]
#[error("not the URL of a Redis server")]
pub struct InvalidUrl(#[source] RedisError);

impl Bus {
    /// The Redis at this URL. Connects when it is first needed.
    ///
    /// # Errors
    /// When the URL is none; never because Redis is away.
    pub fn connect(url: &str) -> Result<Self, InvalidUrl> {
        let client = Client::open(url).map_err(InvalidUrl)?;
        let prefix = match client.get_connection_info().redis_settings().db() {
            0 => String::new(),
            number => format!("{number}:"),
        };
        Ok(Self { client, prefix: prefix.into(), publisher: Arc::default() })
    }

    /// Tells the sequencer of a stream, wherever it runs, that an event was committed: a hint, so a failure
    /// is nobody's concern. Not for the path of a call that somebody waits for.
    pub async fn wake(&self, stream: &str) {
        if let Err(error) = self.publish(vec![(wake_channel(stream), Bytes::new())]).await {
            tracing::debug!(
                stream,
                error = &error as &dyn std::error::Error,
                "the wake-up was not published"
            );
        }
    }

    /// Made at the first use, because it belongs to the runtime that it is made in.
    fn publisher(&self) -> Result<ConnectionManager, RedisError> {
        if let Some(publisher) = self.publisher.get() {
            return Ok(publisher.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_number_of_retries(0);
        let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        Ok(self.publisher.get_or_init(|| manager).clone())
    }
}

impl Channel for Bus {
    async fn publish(&self, messages: Vec<Outgoing>) -> Result<(), PublishError> {
        let refused = |error: RedisError| PublishError(error.into());
        let mut publisher = self.publisher().map_err(refused)?;
        for chunk in messages.chunks(PIPELINE_MAX) {
            let mut pipeline = redis::pipe();
            for (channel, payload) in chunk {
                let channel = format!("{}{channel}", self.prefix);
                pipeline.cmd("PUBLISH").arg(channel).arg(payload.as_ref()).ignore();
            }
            pipeline.query_async::<()>(&mut publisher).await.map_err(refused)?;
        }
        Ok(())
    }

    fn subscribe(&self, channels: Vec<String>, silence: Option<Duration>) -> Subscription {
        let listener = Listener {
            client: self.client.clone(),
            prefix: self.prefix.clone(),
            channels: channels.iter().map(|channel| format!("{}{channel}", self.prefix)).collect(),
            silence,
            connection: None,
            backoff: Backoff::new(RECONNECT_FIRST, RECONNECT_LONGEST),
            first: true,
        };
        Subscription::new(stream::unfold(listener, |mut listener| async move {
            let signal = listener.next().await;
            Some((signal, listener))
        }))
    }
}

/// One connection after the other.
struct Listener {
    client: Client,
    prefix: Arc<str>,
    channels: Vec<String>,
    silence: Option<Duration>,
    connection: Option<PubSubStream>,
    backoff: Backoff,
    first: bool,
}

impl Listener {
    async fn next(&mut self) -> Signal {
        let Some(connection) = &mut self.connection else {
            self.connection = Some(self.connect().await);
            return Signal::Subscribed;
        };
        let message = match self.silence {
            Some(silence) => timeout(silence, connection.next()).await.ok().flatten(),
            None => connection.next().await,
        };
        if let Some(message) = message {
            // Only now: a server that takes subscriptions and hangs up must not be asked without a pause.
            self.backoff.reset();
            let channel = message.get_channel_name();
            let channel = channel.strip_prefix(&*self.prefix).unwrap_or(channel).to_owned();
            return Signal::Message { channel, payload: Bytes::copy_from_slice(message.get_payload_bytes()) };
        }
        self.connection = None;
        Signal::Lost
    }

    async fn connect(&mut self) -> PubSubStream {
        loop {
            if !std::mem::take(&mut self.first) {
                self.backoff.pause().await;
            }
            match timeout(CONNECT_TIMEOUT + RESPONSE_TIMEOUT, self.subscribe()).await {
                Ok(Ok(connection)) => return connection,
                Ok(Err(error)) => tracing::debug!(%error, "the event Redis takes no subscription"),
                Err(_) => tracing::debug!("the event Redis does not answer"),
            }
        }
    }

    async fn subscribe(&self) -> Result<PubSubStream, RedisError> {
        let mut connection = self.client.get_async_pubsub().await?;
        connection.subscribe(&self.channels).await?;
        Ok(connection.into_on_message())
    }
}
