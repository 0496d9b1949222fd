//! An OTLP collector that keeps what services export, as spans to look at and as bytes to search.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A span, with who told of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) resource: HashMap<String, String>,
    pub(super) name: String,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    /// Spans of other traces that it handles as well.
    pub(super) links: Vec<String>,
    pub(super) attributes: HashMap<String, String>,
}

impl Span {
    pub(super) fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    pub(super) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A collector that ends with this value.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) url: String,
    exported: Exported,
    _server: JoinSet<()>,
}

#[derive(Debug, Clone, Default)]
struct Exported(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Exported {
    fn lock(&self) -> MutexGuard<'_, Vec<ExportTraceServiceRequest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for Exported {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.lock().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(super) fn start() -> Result<Self> {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?).ok().context("a free port")?;
        let url = format!("http://{}", incoming.local_addr()?);
        let exported = Exported::default();
        let service = TraceServiceServer::new(exported.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let served = Server::builder().add_service(service).serve_with_incoming(incoming).await;
            served.expect("the collector serves");
        });
        Ok(Self { url, exported, _server: server })
    }

    /// All spans until now.
    pub(super) fn spans(&self) -> Vec<Span> {
        let exported = self.exported.lock();
        let resources = exported.iter().flat_map(|export| &export.resource_spans);
        let spans = resources.flat_map(|of| {
            let resource = texts(of.resource.as_ref().map_or(&[], |Resource { attributes, .. }| attributes));
            let spans = of.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(move |span| Span {
                resource: resource.clone(),
                name: span.name.clone(),
                trace: HEXLOWER.encode(&span.trace_id),
                id: HEXLOWER.encode(&span.span_id),
                parent: HEXLOWER.encode(&span.parent_span_id),
                links: span.links.iter().map(|link| HEXLOWER.encode(&link.span_id)).collect(),
                attributes: texts(&span.attributes),
            })
        });
        spans.collect()
    }

    /// Every byte that was exported: names, attributes, events, links, errors, resources.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.exported.lock().iter().flat_map(|export| export.encode_to_vec()).collect()
    }
}

fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}
