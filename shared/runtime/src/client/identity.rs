//! Who is at the other end of a connection.

use std::error::Error as _;

use api::codec::Codec;
use http::Uri;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::Meant;
use super::connection::Direct;
use super::meant::is_of_every_program;
use super::options::CALL_TIMEOUT;

/// What an answer says of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It is the service that is meant.
    Right,
    /// It is something else.
    Wrong(String),
    /// It is away, or does not say.
    Unknown,
}

/// Asks the server at the other end of a connection who it is. It hears no token of ours, since it may be anybody.
///
/// # Errors
/// When it does not answer.
pub(super) async fn identify(server: &Direct, meant: &Meant) -> Result<Identity, Status> {
    let asked = Question { server, origin: &meant.uri };
    match asked.health(meant.service).await {
        Ok(()) => Ok(Identity::Right),
        // Whoever serves it without saying so in its health knows at least its methods.
        Err(status) if is_unknown(&status) => match asked.call(meant.service).await {
            Err(status) if status.code() == Code::Unimplemented => Ok(Identity::Wrong(asked.served().await)),
            _ => Ok(Identity::Right),
        },
        // An error with a cause is our own: there was no answer.
        Err(status) if status.source().is_some() || status.code() == Code::DeadlineExceeded => Err(status),
        // Its certificate has said who it is, whatever it thinks of ours.
        Err(_) if meant.is_secure => Ok(Identity::Right),
        Err(_) => Ok(Identity::Unknown),
    }
}

fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::Unimplemented)
}

/// What is asked over one connection.
struct Question<'a> {
    server: &'a Direct,
    origin: &'a Uri,
}

impl Question<'_> {
    async fn health(&self, service: &str) -> Result<(), Status> {
        let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
        request.set_timeout(CALL_TIMEOUT);
        let mut client = HealthClient::with_origin(self.server.clone(), self.origin.clone());
        within(client.check(request)).await.map(drop)
    }

    /// Calls a method of the service, with an empty message and without a token. Whatever the answer, nothing comes of
    /// it.
    async fn call(&self, service: &str) -> Result<(), Status> {
        let method = api::descriptor::service(service).and_then(|service| service.methods().next());
        let path = method.map(|method| format!("/{service}/{}", method.name())).unwrap_or_default();
        let path = path.parse().map_err(|_| Status::internal("not a service of ours"))?;
        let mut client = Grpc::with_origin(self.server.clone(), self.origin.clone());
        let answer = async {
            client.ready().await?;
            client.unary(Request::new(()), path, Codec::<(), ()>::default()).await
        };
        within(answer).await.map(drop)
    }

    /// Which services of ours the server serves instead.
    async fn served(&self) -> String {
        let services = api::descriptor::pool().services();
        for service in services.filter(|service| !is_of_every_program(service.full_name())) {
            match self.health(service.full_name()).await {
                Ok(()) => return format!("it serves {}", service.full_name()),
                Err(status) if is_unknown(&status) => {}
                Err(_) => break,
            }
        }
        "it serves gRPC, and no service of this system".to_owned()
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(CALL_TIMEOUT, answer).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
}
