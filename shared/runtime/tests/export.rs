//! Traces reach a collector. In a binary of its own, because a process has one telemetry.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use auth::token::AccessToken;
use auth::{AuthLayer, PolicyTable, ServiceTokens, SessionVerifier, Verified, VerifyError};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use runtime::config::{ServerConfig, TelemetryConfig};
use runtime::health::Readiness;
use runtime::server::{Service, start_in_process};
use runtime::telemetry;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector that hands on what it gets.
struct Collector(mpsc::Sender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes =
            request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            self.0.try_send(span).unwrap();
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[derive(Debug, Clone)]
struct Nobody;

impl SessionVerifier for Nobody {
    async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
        Err(VerifyError::Invalid)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The span of a call continues its sender's trace, the exporter's own calls make none, and a flush sends what
/// is left.
#[tokio::test]
async fn the_span_of_a_call_reaches_the_collector() {
    let (spans, mut exported) = mpsc::channel(100);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", incoming.local_addr().unwrap());
    let collector = Server::builder().add_service(TraceServiceServer::new(Collector(spans)));
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(collector.serve_with_incoming(incoming));
    let config =
        TelemetryConfig { otlp_endpoint: Some(endpoint), trace_ratio: 0.0, ..TelemetryConfig::default() };
    let guard = telemetry::init("test", &config).unwrap();

    let server = start_in_process(ServerConfig::for_tests(), "test.tristore", async |_| {
        let policies = PolicyTable::for_services(&["order.v1.CatalogService"])?;
        let auth = AuthLayer::new("test.tristore", policies, ServiceTokens::default(), Nobody);
        Ok(Service { routes: Routes::default(), auth, ready: Readiness::always() })
    });
    let server = server.await.unwrap();
    let channel = Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    client.check(HealthCheckRequest::default()).await.unwrap();
    let mut request = Request::new(HealthCheckRequest { service: "nobody".to_owned() });
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    client.check(request).await.unwrap_err();
    drop(client);
    server.stop().await;
    guard.flush().await;

    let span = exported.recv().await.unwrap();
    assert_eq!(span.name, "grpc.health.v1.Health/Check");
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    let attributes: Vec<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert!(
        attributes.contains(&"rpc.grpc.status_code") && attributes.contains(&"rpc.method"),
        "{attributes:?}"
    );
    let more = exported.try_recv();
    assert!(more.is_err(), "an unsampled call and the exporter itself export nothing: {more:?}");
}
