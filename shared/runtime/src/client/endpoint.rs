//! One address of a peer: the connection to it, again and again, and whether it gets calls.
//!
//! A connection gets calls once the server has said that it is the service that is meant, and then whenever its health
//! says that it serves. A server that does not know the health protocol serves. One that is somebody else is treated as
//! one that is away.

use std::convert::Infallible;
use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use types::Backoff;

use super::Meant;
use super::connect::connect;
use super::connection::{Connection, Direct, Driver};
use super::identity::{Identity, identify};
use super::protocol::foreign;
use super::servers::{Servers, State};

/// How often a connection is looked at: a server that goes away is left within this time, also when there is nothing to
/// send to it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection that lasted for so long is replaced at once. After one that did not, which may be closed again right away,
/// there is a first pause.
const STEADY: Duration = Duration::from_secs(1);

/// How a connection, or the attempt at one, ended.
enum End {
    /// It was there for a while.
    Lost,
    Failed(String),
    /// Somebody else is there.
    Wrong(String),
}

/// Keeps a connection to this address, for ever.
pub(super) async fn keep(presence: Presence) -> Infallible {
    let Presence { servers, address } = &presence;
    let address = *address;
    let options = servers.options();
    let mut backoff = Backoff::new(options.backoff_first, options.backoff_cap);
    let mut is_failing = false;
    loop {
        if !is_failing {
            servers.set(address, State::Connecting, Identity::Unknown);
        }
        let begun = Instant::now();
        let end = once(servers, address).await;
        // A host whose one address stays dead is asked for others at the usual pace.
        if !is_failing {
            servers.lost();
        }
        is_failing = match end {
            End::Lost => {
                servers.set(address, State::Connecting, Identity::Unknown);
                backoff.reset();
                if begun.elapsed() >= STEADY {
                    continue;
                }
                false
            }
            End::Failed(why) => {
                tracing::debug!(%address, why, "a server of a peer is away");
                servers.set_failure(format!("{address}: {why}"));
                servers.set(address, State::Failed, Identity::Unknown);
                true
            }
            End::Wrong(what) => {
                servers.set_failure(format!("{address}: {what}"));
                servers.set(address, State::Failed, Identity::Wrong(what));
                true
            }
        };
        backoff.pause().await;
    }
}

/// An address, known from the moment that the host has it until it has it no longer.
pub(super) struct Presence {
    servers: Arc<Servers>,
    address: SocketAddr,
}

impl Presence {
    pub(super) fn of(servers: Arc<Servers>, address: SocketAddr) -> Self {
        servers.set(address, State::Connecting, Identity::Unknown);
        Self { servers, address }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.servers.forget(self.address);
    }
}

/// One connection, from its beginning to its end.
async fn once(servers: &Servers, address: SocketAddr) -> End {
    let stream = match connect(address, servers.meant(), servers.options(), servers.tls()).await {
        Ok(stream) => stream,
        Err(error) => return End::Failed(error.to_string()),
    };
    let (connection, driver) = match Connection::open(address, stream, servers.options()).await {
        Ok(opened) => opened,
        Err(error) => return End::Failed(types::chain(&error)),
    };
    let connection = Arc::new(connection);
    let direct = Direct(Arc::clone(&connection));
    let identity = match identify(&direct, servers.meant()).await {
        Ok(Identity::Wrong(what)) => return End::Wrong(what),
        Ok(identity) => identity,
        Err(status) => {
            // Whoever has a right certificate and does not answer is away.
            if servers.meant().is_secure {
                return End::Failed(status.message().to_owned());
            }
            // Nobody answered; perhaps because it is something else that never will.
            let foreign = foreign(&servers.meant().host, address).await;
            return foreign.map_or_else(
                || End::Failed(status.message().to_owned()),
                |foreign| End::Wrong(foreign.to_string()),
            );
        }
    };
    let listed = Listed { servers, connection: &connection };
    let health = Health { listed: &listed, identity: &identity, direct };
    serve(&health, driver, servers).await;
    End::Lost
}

/// Until nothing more can be sent over the connection.
async fn serve(health: &Health<'_>, mut driver: Driver, servers: &Servers) {
    let mut watch = pin!(health.watch());
    let mut look = interval(LOOK_EVERY);
    loop {
        tokio::select! {
            ended = &mut driver => {
                // A server that goes away in good order is no error.
                if let Ok(Err(error)) = ended {
                    let (address, error) = (health.listed.connection.address, types::chain(&error));
                    tracing::debug!(%address, error, "a connection to a peer broke");
                }
                return;
            }
            _ = look.tick() => health.listed.connection.nudge(&servers.meant().uri),
            never = &mut watch => match never {},
        }
    }
}

/// A connection that may be in the list of ready ones, and is not any more when this is dropped.
struct Listed<'a> {
    servers: &'a Servers,
    connection: &'a Arc<Connection>,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.servers.unlist(self.connection);
    }
}

/// What a server says of its health.
struct Health<'a> {
    listed: &'a Listed<'a>,
    identity: &'a Identity,
    direct: Direct,
}

impl Health<'_> {
    /// Watches it, for ever. Whatever the watch ends with, it is begun again.
    async fn watch(&self) -> Infallible {
        let options = self.listed.servers.options();
        let mut backoff = Backoff::new(options.backoff_first, options.backoff_cap);
        loop {
            let begun = Instant::now();
            let (ended, has_spoken) = self.hear().await;
            match ended.code() {
                Code::Unimplemented => {
                    self.set(State::Ready);
                    std::future::pending::<()>().await;
                }
                // It stops, or something between us and it has lost it.
                Code::Unavailable => self.set(State::NotServing),
                // It has too much to do to tell, or it may not tell us. It has not said that it does not serve.
                _ if ended.source().is_none() && !has_spoken => self.set(State::Ready),
                _ => {}
            }
            if ended.code() == Code::Unauthenticated {
                let Meant { setting, url, .. } = &**self.listed.servers.meant();
                tracing::warn!(
                    setting,
                    url,
                    error = ended.message(),
                    "a peer does not know who we are: its lists have neither our token nor our certificate's id"
                );
            }
            let address = self.listed.connection.address;
            tracing::debug!(%address, message = ended.message(), "the watch of a peer's health ended");
            self.listed.connection.nudge(&self.listed.servers.meant().uri);
            if begun.elapsed() >= STEADY {
                backoff.reset();
            }
            sleep(backoff.next_delay()).await;
        }
    }

    /// Hears what it says, until the answers end; with what, and whether it has said anything.
    async fn hear(&self) -> (Status, bool) {
        let servers = self.listed.servers;
        let mut request = Request::new(HealthCheckRequest::default());
        if *self.identity == Identity::Right
            && let Some(authorization) = servers.authorization()
        {
            // Streams of services have places of their own.
            request.metadata_mut().insert("authorization", authorization);
        }
        let mut client = HealthClient::with_origin(self.direct.clone(), servers.meant().uri.clone());
        let mut answers = match client.watch(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return (status, false),
        };
        let mut has_spoken = false;
        loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    has_spoken = true;
                    self.set(match answer.status() {
                        ServingStatus::Serving => State::Ready,
                        ServingStatus::Unknown
                        | ServingStatus::NotServing
                        | ServingStatus::ServiceUnknown => State::NotServing,
                    });
                }
                Ok(None) => return (Status::unavailable("the watch has ended"), has_spoken),
                Err(status) => return (status, has_spoken),
            }
        }
    }

    fn set(&self, state: State) {
        let Listed { servers, connection } = self.listed;
        if state == State::Ready {
            servers.list(connection);
        } else {
            servers.list_as_not_serving(connection);
        }
        // After the list, because those who wait look there when they hear of this.
        servers.set(connection.address, state, self.identity.clone());
    }
}
