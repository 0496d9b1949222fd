//! Traces reach a collector. In a binary of its own, because a process has one telemetry.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;

use auth::token::AccessToken;
use auth::{AuthLayer, PolicyTable, ServiceTokens, SessionVerifier, Verified, VerifyError};
use data_encoding::HEXLOWER;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use runtime::config::{ServerConfig, TelemetryConfig};
use runtime::health::Readiness;
use runtime::server::{Service, start_in_process};
use runtime::telemetry;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01";
const SERVICE_TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0aa";

/// A collector that hands on what it gets.
struct Collector(mpsc::Sender<ResourceSpans>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for spans in request.into_inner().resource_spans {
            self.0.try_send(spans).unwrap();
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

fn texts(attributes: &[KeyValue]) -> HashMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.as_str(), text(attribute))).collect()
}

/// A call to a path that the test chooses, asking to be recorded.
async fn call(channel: &Channel, path: &'static str, token: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    client.unary(request, PathAndQuery::from_static(path), codec).await.map(drop)
}

/// A batch of events: one of the trace that asks to be recorded, one of another, and the first again.
fn apply_batch() {
    let span = tracing::info_span!("batch");
    telemetry::set_parents(&span, &["garbage", PARENT, OTHER, PARENT]);
    span.in_scope(|| {
        let next = telemetry::continued(Some(PARENT)).unwrap();
        assert!(next.contains(TRACE) && next != PARENT, "{next}");
        assert_eq!(telemetry::continued(Some(OTHER)).as_deref(), Some(OTHER));
    });
}

/// Of the calls that ask to be recorded, those of services are, in their sender's trace and under names that the
/// server has; whoever else asks is not heard. A batch is a child of its first event's span and linked to the others.
/// The exporter's own calls make no spans, and a flush sends what is left.
#[tokio::test]
async fn the_span_of_a_call_reaches_the_collector_if_a_service_asks_for_it() {
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
        let tokens = ServiceTokens::parse(&format!("user-service={SERVICE_TOKEN}").into())?;
        let auth = AuthLayer::new(policies, tokens, Nobody);
        Ok(Service { routes: Routes::default(), auth, layers: Vec::new(), ready: Readiness::always() })
    });
    let server = server.await.unwrap();
    let channel = Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap();
    let check = "/grpc.health.v1.Health/Check";
    call(&channel, check, None).await.unwrap();
    call(&channel, check, Some("0f1e2d3c4b5a69788796a5b4c3d2e1f0bb")).await.unwrap();
    call(&channel, check, Some(SERVICE_TOKEN)).await.unwrap();
    call(&channel, "/made.up/by-a-caller", Some(SERVICE_TOKEN)).await.unwrap_err();
    apply_batch();
    drop(channel);
    server.stop().await;
    guard.flush().await;

    let ResourceSpans { resource, scope_spans, .. } = exported.recv().await.unwrap();
    let resource = resource.unwrap();
    assert_eq!(
        texts(&resource.attributes),
        [("service.name", "test".to_owned()), ("service.version", env!("CARGO_PKG_VERSION").to_owned())]
            .into()
    );
    let spans: Vec<_> = scope_spans.into_iter().flat_map(|scope| scope.spans).collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["grpc.health.v1.Health/Check", "_OTHER", "batch"]);
    for span in &spans {
        assert_eq!(
            (HEXLOWER.encode(&span.trace_id), HEXLOWER.encode(&span.parent_span_id)),
            (TRACE.to_owned(), "b7ad6b7169203331".to_owned())
        );
    }
    let links: Vec<_> = spans[2]
        .links
        .iter()
        .map(|link| (HEXLOWER.encode(&link.trace_id), HEXLOWER.encode(&link.span_id)))
        .collect();
    let other = ("1af7651916cd43dd8448eb211c80319c".to_owned(), "c7ad6b7169203331".to_owned());
    assert_eq!(links, [other]);
    let attributes = texts(&spans[0].attributes);
    assert_eq!(attributes["rpc.system.name"], "grpc");
    assert_eq!(attributes["rpc.method"], "grpc.health.v1.Health/Check");
    assert_eq!(attributes["rpc.response.status_code"], "OK");
    let metrics = metrics::text();
    assert!(metrics.contains("spans_total{result=\"exported\"} 3\n"), "{metrics}");
    let of_check = |line: &&str| {
        line.contains("rpc_server_call_duration_seconds_bucket") && line.contains("Health/Check")
    };
    let exemplars: Vec<&str> =
        metrics.lines().filter(of_check).filter_map(|line| line.split(" # ").nth(1)).collect();
    assert!(
        matches!(&exemplars[..], [one] if one.starts_with(&format!("{{trace_id=\"{TRACE}\"}} "))),
        "only the call that was recorded is shown: {exemplars:?}"
    );
    let made_up = format!("{:?}", spans[1]);
    assert!(made_up.contains("_OTHER") && !made_up.contains("made"), "{made_up}");
    let more = exported.try_recv();
    assert!(more.is_err(), "what nobody may ask for, and the exporter itself, export nothing: {more:?}");
}
