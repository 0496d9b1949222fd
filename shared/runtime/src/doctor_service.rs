//! `doctor.v1.DoctorService`, which every service serves: what it says of itself and of its peers to an operator. What it
//! cannot find out is part of the answer, and never an error.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::doctor::v1::doctor_service_client::DoctorServiceClient;
use api::doctor::v1::doctor_service_server::{DoctorService, DoctorServiceServer};
use api::doctor::v1::{self, GetIdentityRequest, GetIdentityResponse, GetPeersRequest, GetPeersResponse};
use api::violations;
use auth::Principal;
use futures_util::future::{BoxFuture, join_all};
use time::OffsetDateTime;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};
use types::{Clock as _, SystemClock};

use crate::client::{AnyServer, Identity, Peer, ask};

/// Longer than any of these questions takes where all is well.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// The program that serves.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name, such as `order-service`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// Asks the service's own database for its time.
#[derive(Clone)]
pub struct DatabaseClock(Arc<dyn Fn() -> BoxFuture<'static, Option<OffsetDateTime>> + Send + Sync>);

impl DatabaseClock {
    /// A clock that is read by this.
    pub fn new<F, Fut, E>(read: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<OffsetDateTime, E>> + Send + 'static,
        E: std::error::Error,
    {
        Self(Arc::new(move || {
            let read = read();
            Box::pin(async move {
                read.await
                    .inspect_err(|error| tracing::debug!(%error, "the database does not tell its time"))
                    .ok()
            })
        }))
    }
}

impl fmt::Debug for DatabaseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseClock(..)")
    }
}

/// The service, on one core.
#[derive(Debug, Clone)]
pub struct DoctorServer {
    program: Program,
    database: DatabaseClock,
    peers: Arc<[Peer]>,
}

impl DoctorServer {
    /// Of this program, with this database, that calls these peers.
    #[must_use]
    pub fn new(program: Program, database: DatabaseClock, peers: Vec<Peer>) -> Self {
        Self { program, database, peers: peers.into() }
    }

    /// The service for a tonic router.
    #[must_use]
    pub fn into_service(self) -> DoctorServiceServer<Self> {
        DoctorServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl DoctorService for DoctorServer {
    async fn get_identity(
        &self,
        request: Request<GetIdentityRequest>,
    ) -> Result<Response<GetIdentityResponse>, Status> {
        let question = Question::now();
        let theirs = timeout(ASK_WITHIN, (self.database.0)()).await.ok().flatten();
        Ok(Response::new(GetIdentityResponse {
            service: self.program.name.to_owned(),
            version: self.program.version.to_owned(),
            database_clock: theirs.map(|theirs| question.compared_with(theirs)),
            // The caller compares it with the middle of its own question.
            clock_time: Some(violations::timestamp(question.middle())),
            caller: Principal::of(&request).service().unwrap_or_default().to_owned(),
        }))
    }

    async fn get_peers(&self, _: Request<GetPeersRequest>) -> Result<Response<GetPeersResponse>, Status> {
        let peers = join_all(self.peers.iter().map(seen)).await;
        Ok(Response::new(GetPeersResponse { peers }))
    }
}

/// What can be seen of a peer. Only the right one hears our token.
async fn seen(peer: &Peer) -> v1::Peer {
    let meant = peer.meant();
    let mut seen = v1::Peer {
        setting: meant.setting.to_owned(),
        url: meant.url.clone(),
        meant: meant.service.to_owned(),
        ..Default::default()
    };
    match ask(peer).await {
        Identity::Right => seen.set_identity(v1::peer::Identity::Right),
        Identity::Wrong(found) => {
            seen.found = found;
            seen.set_identity(v1::peer::Identity::Wrong);
            return seen;
        }
        Identity::Unknown => {
            seen.set_identity(v1::peer::Identity::Away);
            return seen;
        }
    }
    let mut request = Request::new(GetIdentityRequest {});
    request.set_timeout(ASK_WITHIN);
    request.extensions_mut().insert(AnyServer);
    let question = Question::now();
    match DoctorServiceClient::new(peer.channel()).get_identity(request).await.map(Response::into_inner) {
        Ok(answer) => {
            seen.set_token(v1::peer::Token::Accepted);
            seen.clock = answer
                .clock_time
                .as_ref()
                .and_then(violations::time)
                .map(|theirs| question.compared_with(theirs));
            seen.known_as = answer.caller;
            seen.service = answer.service;
            seen.version = answer.version;
        }
        Err(status) if [Code::Unauthenticated, Code::PermissionDenied].contains(&status.code()) => {
            seen.set_token(v1::peer::Token::Refused);
        }
        // It is too old to have the method, or it has gone away since.
        Err(_) => {}
    }
    seen
}

/// When somebody was asked for the time.
struct Question {
    at: OffsetDateTime,
    since: Instant,
}

impl Question {
    fn now() -> Self {
        Self { at: SystemClock.now(), since: Instant::now() }
    }

    /// Our time halfway between the question and now.
    fn middle(&self) -> OffsetDateTime {
        self.at + self.since.elapsed() / 2
    }

    /// Another clock's time, which is answered now.
    fn compared_with(&self, theirs: OffsetDateTime) -> v1::Clock {
        let round_trip = self.since.elapsed();
        let offset = theirs - (self.at + round_trip / 2);
        v1::Clock {
            offset_duration: Some(duration(offset)),
            round_trip_duration: Some(duration(round_trip.try_into().unwrap_or(time::Duration::MAX))),
        }
    }
}

fn duration(duration: time::Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.whole_seconds(), nanos: duration.subsec_nanoseconds() }
}
