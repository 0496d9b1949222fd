//! The health protocol, `grpc.health.v1`: what each service of this server is able to do, for one call and for those who
//! watch it.
//!
//! The messages are tonic-health's. Its server is not: it ends the watch of a service that it does not know, where the
//! protocol wants `SERVICE_UNKNOWN` on a stream that stays open, and it blames itself for a message that it cannot read.
//! Both know no `List`, which the protocol's newest version has: it is answered as an unknown method.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::task::{Context, Poll};

use api::codec::Codec;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::SERVICE_NAME;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::service_fn;

/// The status of each service, and under the empty name that of the server as a whole. Clones are the same statuses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statuses(watch::Sender<HashMap<String, ServingStatus>>);

impl Statuses {
    /// Nothing serves yet.
    pub(crate) fn of(services: &[String]) -> Self {
        let statuses = Self::default();
        statuses.set(services, ServingStatus::NotServing);
        statuses
    }

    /// Sets the status of these services and of the server as a whole, and tells those who watch them.
    pub(crate) fn set(&self, services: &[String], status: ServingStatus) {
        self.0.send_modify(|statuses| {
            for service in services.iter().map(String::as_str).chain([""]) {
                statuses.insert(service.to_owned(), status);
            }
        });
    }

    fn check(&self, request: &HealthCheckRequest) -> Result<HealthCheckResponse, Status> {
        let status = self.0.borrow().get(&request.service).copied();
        let status = status.ok_or_else(|| Status::not_found("this server has no service of that name"))?;
        Ok(response(status))
    }

    fn watch(&self, request: HealthCheckRequest) -> impl Stream<Item = HealthCheckResponse> + Send + use<> {
        let watched = Watched { statuses: self.0.subscribe(), service: request.service, told: None };
        stream::unfold(watched, |mut watched| async move {
            let status = watched.changed().await?;
            Some((response(status), watched))
        })
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// One service, and what its watcher has been told of it.
struct Watched {
    statuses: watch::Receiver<HashMap<String, ServingStatus>>,
    service: String,
    told: Option<ServingStatus>,
}

impl Watched {
    /// The status when it is another one than what was told last; `None` when there are no statuses any more.
    async fn changed(&mut self) -> Option<ServingStatus> {
        loop {
            let status = self.statuses.borrow_and_update().get(&self.service).copied();
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(status);
            }
            self.statuses.changed().await.ok()?;
        }
    }
}

impl NamedService for Statuses {
    const NAME: &'static str = SERVICE_NAME;
}

impl tower::Service<Request<Body>> for Statuses {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let statuses = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(Codec::<HealthCheckResponse, HealthCheckRequest>::default());
            Ok(match request.uri().path() {
                "/grpc.health.v1.Health/Check" => {
                    let check = |request: tonic::Request<_>| {
                        ready(statuses.check(request.get_ref()).map(tonic::Response::new))
                    };
                    grpc.unary(service_fn(check), request).await
                }
                "/grpc.health.v1.Health/Watch" => {
                    let watch = |request: tonic::Request<_>| {
                        let answers = statuses.watch(request.into_inner()).map(Ok::<_, Status>);
                        ready(Ok::<_, Status>(tonic::Response::new(answers)))
                    };
                    grpc.server_streaming(service_fn(watch), request).await
                }
                _ => Status::unimplemented("the method is not one of this server's").into_http(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn named(service: &str) -> HealthCheckRequest {
        HealthCheckRequest { service: service.to_owned() }
    }

    #[tokio::test]
    async fn who_watches_an_unknown_service_is_told_when_it_comes() {
        let statuses = Statuses::of(&["first".to_owned()]);
        let mut watch = Box::pin(statuses.watch(named("second")));
        let mut told =
            async || watch.next().now_or_never().map(|answer| answer.expect("it goes on").status());
        assert_eq!(told().await, Some(ServingStatus::ServiceUnknown));
        assert_eq!(told().await, None, "the stream stays open and says nothing");

        statuses.set(&["first".to_owned()], ServingStatus::Serving);
        assert_eq!(told().await, None, "of another service it is told nothing");
        statuses.set(&["second".to_owned()], ServingStatus::NotServing);
        assert_eq!(told().await, Some(ServingStatus::NotServing));
        statuses.set(&["second".to_owned()], ServingStatus::NotServing);
        assert_eq!(told().await, None, "nothing has changed");
        statuses.set(&["second".to_owned()], ServingStatus::Serving);
        assert_eq!(told().await, Some(ServingStatus::Serving));
    }

    #[test]
    fn a_check_knows_the_server_and_its_services_and_no_other() {
        let statuses = Statuses::of(&["first".to_owned()]);
        for service in ["", "first"] {
            assert_eq!(statuses.check(&named(service)).unwrap().status(), ServingStatus::NotServing);
        }
        assert_eq!(statuses.check(&named("second")).unwrap_err().code(), tonic::Code::NotFound);
    }
}
