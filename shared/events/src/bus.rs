//! Redis Pub/Sub. It may lose any message, so nothing relies on it.
//!
//! A [`Bus`] needs no connection to exist. Publishing fails at once while Redis is away. A subscription connects again
//! by itself, and always says so: what was published in between is lost, and the subscriber has to know.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use redis::RedisError;
use redis::aio::PubSubStream;
use redis_connection::{Connection, CurrentAddress, Options, SendError, error_word};
use tokio::time::timeout;
use types::DatabaseUrl;

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

/// What a subscription reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The server confirmed all channels. From now on every message arrives, until [`Signal::Lost`] does.
    Subscribed,
    /// A message was published on one of the channels.
    Message {
        /// The channel.
        channel: String,
        /// What was published.
        payload: Bytes,
    },
    /// The connection is lost; another is being made.
    Lost,
}

/// A subscription to some channels. It never ends.
pub struct Subscription(Pin<Box<dyn Stream<Item = Signal> + Send>>);

impl Subscription {
    /// A subscription that reports these signals, and after the last of them nothing more.
    pub fn new(signals: impl Stream<Item = Signal> + Send + 'static) -> Self {
        Self(Box::pin(signals.chain(stream::pending())))
    }

    /// The next signal. Dropping the future loses none.
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

/// A message could not be published.
#[derive(Debug, thiserror::Error)]
#[error("the Redis for events does not take messages")]
pub struct PublishError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A way to publish and to subscribe. The product uses [`Bus`] alone; tests drive the engine over channels that lose
/// messages.
pub trait Channel: Clone + Send + Sync + 'static {
    /// Publishes messages in this order. After an error, any of them may have been published nevertheless.
    fn publish(&self, messages: Vec<Outgoing>) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Subscribes to channels. Where heartbeats are expected, the connection is taken for dead after `silence` without
    /// a message.
    fn subscribe(&self, channels: Vec<String>, silence: Option<Duration>) -> Subscription;
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
const RECONNECT_FIRST: Duration = Duration::from_millis(20);
const RECONNECT_LONGEST: Duration = Duration::from_secs(1);
/// The most messages that are sent in one round trip.
const PIPELINE_MAX: usize = 500;

/// The Redis that carries events.
///
/// Pub/Sub ignores the numbered databases of a server. A bus on another database than 0 therefore puts the number
/// before its channels' names, so that systems on different databases of one server do not hear each other.
#[derive(Clone)]
pub struct Bus {
    address: CurrentAddress,
    prefix: Arc<str>,
    publisher: Arc<OnceLock<Connection>>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus")
    }
}

/// The text is not the URL of a Redis server. The error does not show it, because URLs hold passwords.
#[derive(Debug, thiserror::Error)]
#[error("not the URL of a Redis server")]
pub struct InvalidUrl(#[source] RedisError);

impl Bus {
    /// The Redis at this URL. It is connected to when it is first needed.
    ///
    /// # Errors
    /// When the text is not a URL of Redis; never because Redis is away.
    pub fn connect(url: impl Into<DatabaseUrl>) -> Result<Self, InvalidUrl> {
        let address = CurrentAddress::of(url.into()).map_err(InvalidUrl)?;
        let prefix = match address.now().login().db() {
            0 => String::new(),
            number => format!("{number}:"),
        };
        Ok(Self { address, prefix: prefix.into(), publisher: Arc::default() })
    }

    /// Hints to the sequencer of a stream, wherever it runs, that an event was committed. If this fails, the sequencer
    /// finds the event at its next poll. It takes a round trip to Redis, so not while a caller waits.
    pub async fn wake(&self, stream: &str) {
        if let Err(error) = self.publish(vec![(wake_channel(stream), Bytes::new())]).await {
            tracing::debug!(
                stream,
                error = &error as &dyn std::error::Error,
                "could not publish a hint to the sequencer"
            );
        }
    }

    /// Whether the Redis answers.
    ///
    /// # Errors
    /// When it does not. One that does not let us ask answers, too.
    pub async fn ping(&self) -> Result<(), PublishError> {
        match self.publisher().run::<()>(&redis::cmd("PING")).await {
            Err(SendError::Failed(error)) if error_word(&error).as_deref() == Some("NOPERM") => Ok(()),
            answer => answer.map_err(|error| PublishError(error.into())),
        }
    }

    /// Made at the first use, because a connection belongs to the runtime that it was made in.
    fn publisher(&self) -> &Connection {
        let options = Options {
            answers_within: CONNECT_TIMEOUT + RESPONSE_TIMEOUT,
            connects_within: CONNECT_TIMEOUT,
            is_over: is_refused,
        };
        self.publisher.get_or_init(|| Connection::lazy(self.address.clone(), options))
    }
}

/// Whether Redis refuses all that we publish: another connection may lead to another server, or with another login.
fn is_refused(error: &RedisError) -> bool {
    matches!(error_word(error).as_deref(), Some("NOAUTH" | "WRONGPASS" | "READONLY"))
}

impl Channel for Bus {
    async fn publish(&self, messages: Vec<Outgoing>) -> Result<(), PublishError> {
        let publisher = self.publisher();
        for chunk in messages.chunks(PIPELINE_MAX) {
            let mut pipeline = redis::pipe();
            for (channel, payload) in chunk {
                let channel = format!("{}{channel}", self.prefix);
                pipeline.cmd("PUBLISH").arg(channel).arg(payload.as_ref()).ignore();
            }
            publisher.run_all::<()>(&pipeline).await.map_err(|error| PublishError(error.into()))?;
        }
        Ok(())
    }

    fn subscribe(&self, channels: Vec<String>, silence: Option<Duration>) -> Subscription {
        let listener = Listener {
            address: self.address.clone(),
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

/// A subscriber's connections, one after the other.
struct Listener {
    address: CurrentAddress,
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
            // Not before the first message: a server that takes subscriptions and then hangs up must not be asked again
            // without a pause.
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
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the Redis for events does not take the subscription")
                }
                Err(_) => tracing::debug!("the Redis for events does not answer"),
            }
        }
    }

    async fn subscribe(&self) -> Result<PubSubStream, RedisError> {
        let mut connection = self.address.latest().await.client().await?.get_async_pubsub().await?;
        connection.subscribe(&self.channels).await?;
        Ok(connection.into_on_message())
    }
}
