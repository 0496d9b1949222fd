//! A private Jaeger, which keeps traces in its memory, to see what becomes of those that services tell of.

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::http_api::HttpApi;
use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::programs;
use crate::server::{Engine, Server};
use crate::state::State;

const NAME: &str = "jaeger";
/// Ports that it opens and nobody here uses.
const UNUSED: [&str; 5] = [
    "admin.http",
    "collector.grpc-server",
    "collector.http-server",
    "collector.otlp.http",
    "query.grpc-server",
];

/// A running Jaeger of our own.
pub type Jaeger = Server<JaegerEngine>;

/// Jaeger.
#[derive(Debug)]
pub struct JaegerEngine {
    otlp: u16,
}

impl Engine for JaegerEngine {
    type Admin = HttpApi;
    const NAME: &str = "Jaeger";
    const STOP: Signal = Signal::SIGTERM;

    async fn answers(server: &Jaeger) -> Result<()> {
        server.admin.get("/api/services", &[]).await.map(drop)
    }
}

/// A step of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedSpan {
    /// Sixteen hexadecimal digits.
    pub id: String,
    /// The span that it is a part of, if the trace begins with none.
    pub parent: Option<String>,
    /// Whose it is.
    pub service: String,
    /// What is done.
    pub name: String,
    /// When it began, in microseconds since 1970.
    pub began: u64,
    /// How long it took, in microseconds.
    pub took: u64,
}

impl Jaeger {
    /// Starts it in `state`.
    ///
    /// # Errors
    /// When there is no Jaeger, or it does not start.
    pub async fn start(state: &State, lifetime: Lifetime) -> Result<Self> {
        let program = programs::jaeger()?;
        let (otlp, query) = (Port::Free.choose()?, Port::Free.choose()?);
        let mut ports = vec![("collector.otlp.grpc", otlp), ("query.http-server", query)];
        for unused in UNUSED {
            ports.push((unused, Port::Free.choose()?));
        }
        let option = |(name, port)| format!("--{name}.host-port=127.0.0.1:{port}").into();
        let launch = Launch::of_server(state, NAME, program, &["nobody"], lifetime)?;
        let launch = Launch { args: ports.into_iter().map(option).collect(), ..launch };
        Self::launch(JaegerEngine { otlp }, launch, HttpApi::new(query), query).await
    }

    /// Where services send their spans: what `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    #[must_use]
    pub fn otlp_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.engine.otlp)
    }

    /// The spans of a trace that have arrived, in the order in which they began.
    ///
    /// # Errors
    /// When none has.
    pub async fn trace(&self, id: &str) -> Result<Vec<TracedSpan>> {
        let mut answer = self.admin().json(&format!("/api/traces/{id}"), &[]).await?;
        let [trace] = serde_json::from_value::<[Trace; 1]>(answer["data"].take()).context("one trace")?;
        let mut spans = Vec::new();
        for span in trace.spans {
            let service = trace.processes.get(&span.process).context("a span is of a process")?;
            let parent = span.references.into_iter().find(|of| of.kind == "CHILD_OF");
            spans.push(TracedSpan {
                id: span.id,
                parent: parent.map(|of| of.span),
                service: service.name.clone(),
                name: span.name,
                began: span.began,
                took: span.took,
            });
        }
        spans.sort_by_key(|span| span.began);
        Ok(spans)
    }
}

#[derive(Deserialize)]
struct Trace {
    spans: Vec<Span>,
    processes: std::collections::BTreeMap<String, Owner>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(rename = "serviceName")]
    name: String,
}

#[derive(Deserialize)]
struct Span {
    #[serde(rename = "spanID")]
    id: String,
    #[serde(rename = "operationName")]
    name: String,
    #[serde(default)]
    references: Vec<Reference>,
    #[serde(rename = "startTime")]
    began: u64,
    #[serde(rename = "duration")]
    took: u64,
    #[serde(rename = "processID")]
    process: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "refType")]
    kind: String,
    #[serde(rename = "spanID")]
    span: String,
}
