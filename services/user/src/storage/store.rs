//! The database as a whole: connecting to it, reading from it, and what is the same in all of its documents.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bson::doc;
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;
use mongodb::options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use mongodb::{Client, Collection, Database};
use secrecy::ExposeSecret as _;
use tokio::sync::{Notify, OnceCell};

use super::backbone::low_mark::LowMark;
use super::connections::Connections;
use super::driver::bounded;
use super::latest::Latest;
use super::made::Made;
use super::place::Place;
use crate::config::MongoConfig;
use crate::error::{Error, Result};

/// How long a call waits for a primary before it is told that there is none.
const SERVER_SELECTION_TIME: Duration = Duration::from_secs(2);
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How often the driver looks whether a server that it takes for lost is there again. Its own ten seconds would be a long
/// time after a login was refused.
const LOOK_FOR_SERVERS: Duration = Duration::from_secs(1);
const APPLICATION: &str = "user-service";

/// What the stores of all cores of this process share.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// Tells the sequencer that there is something to stamp.
    pub(super) appended: Arc<Notify>,
    /// Where the sequencer's next scan begins.
    pub(super) low_mark: Arc<Mutex<LowMark>>,
    /// Whether the server has snapshot sessions, once that is known.
    pub(super) has_snapshots: Arc<OnceCell<bool>>,
    /// Whether the server lacks the index of text, once that is known.
    pub(super) lacks_ranked_words: Arc<OnceCell<bool>>,
}

/// The database, for reads and to begin transactions. Cheap to clone. Its client answers on the runtime that made it, so
/// each core has one of its own, or few cores one together: [`runtime::connections::Spread`].
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) latest: Latest,
    /// What its first client was made of.
    pub(super) made: Arc<Made>,
    pub(super) shared: Shared,
    pub(super) connections: Connections,
    pub(super) place: Arc<Place>,
}

impl Store {
    /// Gets ready to connect; connections come with the first use, so a database that is away is no error yet.
    ///
    /// # Errors
    /// When the URL is not one of MongoDB, names no database, or has certificates that cannot be used. `Unavailable` when
    /// the members of `mongodb+srv://` cannot be looked up now.
    pub async fn connect(config: &MongoConfig, shared: Shared) -> Result<Self> {
        Self::connect_heard(config, shared, None).await
    }

    /// The same, with somebody who hears every command that is sent.
    pub(crate) async fn connect_heard(
        config: &MongoConfig,
        shared: Shared,
        commands: Option<EventHandler<CommandEvent>>,
    ) -> Result<Self> {
        let connections = Connections::default();
        let (database, place, made) = connect(config, commands, &connections).await?;
        let (latest, place, made) = (Latest::new(database), Arc::new(place), Arc::new(made));
        Ok(Self { latest, made, shared, connections, place })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        bounded(self.database().run_command(doc! { "ping": 1 })).await.map(drop)
    }

    pub(super) fn low_mark(&self) -> MutexGuard<'_, LowMark> {
        self.shared.low_mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for something that must stay with one client, as a session must.
    pub(super) fn kept(&self) -> Self {
        Self { latest: self.latest.kept(), ..self.clone() }
    }

    /// The same connections, with another database of the server.
    pub(crate) fn on_database(&self, name: &str) -> Self {
        Self { latest: Latest::new(self.client().database(name)), ..self.clone() }
    }

    /// The same connections, for a sequencer to which every scan is a slow one, so that the next begins at a mark.
    pub(crate) fn with_slow_scans(&self) -> Self {
        let low_mark = Arc::new(Mutex::new(LowMark::without_cheap_scans()));
        Self { shared: Shared { low_mark, ..self.shared.clone() }, ..self.clone() }
    }

    /// The client, for commands that are of no collection of ours.
    pub(crate) fn client(&self) -> Client {
        self.database().client().clone()
    }

    /// The database, for the same.
    pub(crate) fn database(&self) -> Database {
        self.latest.database()
    }

    /// A collection whose documents are read as `T`.
    pub(crate) fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database().collection(name)
    }
}

/// A client of the URL as it is now, where that leads, and what the client was made of.
///
/// # Errors
/// As those of [`Store::connect`].
pub(super) async fn connect(
    config: &MongoConfig,
    commands: Option<EventHandler<CommandEvent>>,
    connections: &Connections,
) -> Result<(Database, Place, Made)> {
    let url = config.url.latest().await;
    let mut options = ClientOptions::parse(url.expose_secret()).await.map_err(unusable)?;
    options.app_name = Some(APPLICATION.to_owned());
    options.server_selection_timeout = Some(SERVER_SELECTION_TIME);
    options.connect_timeout = Some(CONNECT_TIME);
    options.heartbeat_freq.get_or_insert(LOOK_FOR_SERVERS);
    options.max_idle_time = Some(config.connection_idle);
    options.max_pool_size = Some(config.connections);
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern = Some(durable());
    let name = options
        .default_database
        .clone()
        .ok_or_else(|| Error::internal("MONGODB_URL names no database: mongodb://host:port/<database>"))?;
    let place = Place::of(&options);
    options.command_event_handler = commands;
    options.cmap_event_handler = Some(connections.handler(config.connections as usize));
    let made = Made::of(url, &options).await;
    let client = Client::with_options(options).map_err(unusable)?;
    Ok((client.database(&name), place, made))
}

/// Why the driver takes no URL. Its own error may quote the URL with its password, except where it is about something else.
fn unusable(error: DriverError) -> Error {
    match *error.kind {
        ErrorKind::DnsResolve { .. } => {
            let what = "the members of mongodb+srv:// in MONGODB_URL cannot be looked up";
            Error::unavailable(anyhow::Error::new(error).context(what))
        }
        ErrorKind::InvalidTlsConfig { .. } => Error::internal(
            anyhow::Error::new(error).context("the certificates in MONGODB_URL cannot be used"),
        ),
        _ => Error::internal("MONGODB_URL is not a MongoDB URL"),
    }
}

/// Acknowledged by a majority that has it on disk.
pub(super) fn durable() -> WriteConcern {
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    concern
}

/// Rows hold milliseconds, so what is written is what is read back.
pub(crate) fn to_time(time: bson::DateTime) -> time::OffsetDateTime {
    time.to_time_0_3()
}

/// Rounds down to what a row can hold.
pub(crate) fn from_time(time: time::OffsetDateTime) -> bson::DateTime {
    bson::DateTime::from_time_0_3(time)
}
