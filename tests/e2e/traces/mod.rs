//! Traces as a collector gets them: one trace from a caller through both services and the events between them, and
//! no secret in any of it.

mod collector;
mod secrets;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::event::v1::HeadRequest;
use api::order::v1::transfer::State;
use api::session::v1::LoginRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use testkit::client::PASSWORD;
use testkit::{DatabaseOptions, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, pay};
use tonic::Request;
use uuid::Uuid;

use self::collector::{Collector, Span};

const WITHIN: Duration = Duration::from_secs(60);
/// Who applies the events of which stream.
const CONSUMERS: [(&str, ServiceName, &str); 4] = [
    ("order", ServiceName::Order, "user.transfers"),
    ("order", ServiceName::Order, "user.statistics"),
    ("user", ServiceName::User, "order.transfers"),
    ("user", ServiceName::User, "order.customers"),
];

/// A system that exports every trace.
struct Traced {
    system: System,
    collector: Collector,
}

/// The trace that a caller of ours begins.
struct Caller {
    trace: String,
    span: String,
}

impl Traced {
    async fn start() -> Result<Self> {
        let collector = Collector::start()?;
        let settings = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("TRACE_RATIO", "1"),
        ];
        let env = ServiceName::ALL.iter().flat_map(|service| {
            settings.iter().map(|(name, value)| (*service, (*name).to_owned(), (*value).to_owned()))
        });
        let services = ServiceOptions { env: env.collect(), ..ServiceOptions::default() };
        let system = System::start_with(DatabaseOptions::default(), services).await?;
        Ok(Self { system, collector })
    }

    /// Waits until every consumer has told of the newest event, so that what comes next shares no batch with what
    /// was before.
    async fn quiet(&self) -> Result<()> {
        for (stream, producer, consumer) in CONSUMERS {
            wait_until(WITHIN, "the consumers to have applied everything", async || {
                let request = HeadRequest { stream: stream.to_owned() };
                let head = self.system.admin.caller.events(producer).head(request).await;
                let head = head.map_err(|status| status.to_string())?.into_inner().head.unwrap_or_default();
                let applied = |span: &Span| {
                    span.attribute("consumer") == consumer
                        && span.attribute("last") == head.position.to_string()
                };
                let is_quiet = self.collector.spans().iter().any(applied);
                if is_quiet { Ok(()) } else { Err(format!("{consumer} is not at {}", head.position)) }
            })
            .await?;
        }
        Ok(())
    }

    /// The span that this one caused, once it was exported: its child, or the child of its call to another service, or
    /// linked to it, in the same trace.
    async fn caused(&self, cause: &str, trace: &str, service: &str, what: &str) -> Result<Span> {
        let is_it = |span: &Span| {
            let calls =
                self.spans_of(trace).into_iter().filter(|call| call.parent == cause && call.name == what);
            let is_of_call = calls.into_iter().any(|call| call.id == span.parent);
            let is_caused = is_of_call || span.parent == cause || span.links.iter().any(|link| link == cause);
            is_caused
                && span.service() == service
                && (span.name == what || span.attribute("consumer") == what)
        };
        wait_until(WITHIN, what, async || {
            let mut spans = self.spans_of(trace);
            match spans.iter().position(is_it) {
                Some(place) => Ok(spans.swap_remove(place)),
                None => Err(format!("nothing of it in {spans:#?}")),
            }
        })
        .await
        .with_context(|| format!("{what} of {service}, caused by {cause}"))
    }

    fn spans_of(&self, trace: &str) -> Vec<Span> {
        self.collector.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Every span of the trace is in it by its parent: another one of the trace, or the caller's.
    async fn assert_whole(&self, caller: &Caller) -> Result<()> {
        wait_until(WITHIN, "the parents of all spans", async || {
            let spans = self.spans_of(&caller.trace);
            let is_known = |id: &str| id == caller.span || spans.iter().any(|span| span.id == id);
            let orphans: Vec<_> = spans.iter().filter(|span| !is_known(&span.parent)).collect();
            if orphans.is_empty() { Ok(()) } else { Err(format!("{orphans:#?}")) }
        })
        .await
    }
}

impl Caller {
    fn new() -> Self {
        let id = || Uuid::new_v4().simple().to_string();
        Self { trace: id(), span: id()[..16].to_owned() }
    }

    /// A request that goes on in the caller's trace.
    fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let traceparent = format!("00-{}-{}-01", self.trace, self.span);
        request.metadata_mut().insert("traceparent", traceparent.parse()?);
        Ok(request)
    }
}

/// One after the other on one system: a payment, a login, and then the search for everything secret in what leaves
/// the services besides their answers.
#[tokio::test]
async fn a_trace_goes_from_the_caller_through_both_services_and_has_no_secret_in_it() -> Result<()> {
    let traced = Traced::start().await?;
    let mut canaries = secrets::of_processes(&traced)?;
    a_payment_is_one_trace(&traced).await?;
    a_login_is_one_trace(&traced).await?;
    canaries.extend(secrets::of_people(&traced).await?);
    let events = secrets::events(&traced).await?;
    secrets::while_databases_are_away(&traced, &mut canaries).await?;
    let exported = traced.collector.bytes();
    for (what, bytes) in [("spans", exported), ("events", events), ("logs", secrets::logs(&traced)?)] {
        let leaks = secrets::leaks(&bytes, &canaries);
        ensure!(leaks.is_empty(), "in {what}: {leaks:?}");
        ensure!(bytes.len() > 10_000, "only {} bytes of {what} were searched", bytes.len());
    }
    let spans = traced.collector.spans();
    ensure!(spans.len() > 100, "only {} spans were searched", spans.len());
    for span in &spans {
        ensure!(ServiceName::ALL.iter().any(|service| span.service() == service.to_string()), "{span:?}");
        ensure!(span.resource["service.version"] == env!("CARGO_PKG_VERSION"), "{span:?}");
    }
    Ok(())
}

/// The claim: every step of a payment, the calls and what the events cause, is a span of the trace that its caller
/// began, and each is a child of the one that caused it.
async fn a_payment_is_one_trace(traced: &Traced) -> Result<()> {
    let system = &traced.system;
    let market = Market::open(system, 10 * PRICE, 10).await?;
    let order = market.order(1).await?;
    // A token that order service has not seen: it must ask for it.
    let buyer = system.api.log_in(&market.buyer.email, PASSWORD).await?;
    traced.quiet().await?;
    let caller = Caller::new();
    let paid = buyer.caller.transfers().pay_order(caller.request(pay(&order))?).await?.into_inner();
    ensure!(paid.transfer.is_some_and(|transfer| transfer.state() == State::Completed));

    let in_trace = async |cause: &str, service: &str, what: &str| {
        anyhow::Ok(traced.caused(cause, &caller.trace, service, what).await?.id)
    };
    let call = in_trace(&caller.span, "order-service", "order.v1.TransferService/PayOrder").await?;
    in_trace(&call, "session-service", "session.v1.SessionService/ValidateSession").await?;
    let reserve = in_trace(&call, "user-service", "user.transfers").await?;
    let decide = in_trace(&reserve, "order-service", "order.transfers").await?;
    let confirm = in_trace(&decide, "user-service", "user.transfers").await?;
    in_trace(&decide, "user-service", "user.statistics").await?;
    let complete = in_trace(&confirm, "order-service", "order.transfers").await?;
    in_trace(&complete, "user-service", "user.transfers").await?;
    traced.assert_whole(&caller).await
}

/// The claim: a call of somebody unknown goes on in their trace, in the service that it calls and in the next.
async fn a_login_is_one_trace(traced: &Traced) -> Result<()> {
    let person = traced.system.api.sign_up("Ann").await?;
    let caller = Caller::new();
    let login = LoginRequest {
        email: person.email.clone(),
        password: PASSWORD.to_owned(),
        client_name: "traces".to_owned(),
    };
    traced.system.api.anyone().sessions().login(caller.request(login)?).await?;
    let login = traced
        .caused(&caller.span, &caller.trace, "session-service", "session.v1.SessionService/Login")
        .await?;
    let verify = "user.v1.UserService/VerifyPassword";
    let verify = traced.caused(&login.id, &caller.trace, "user-service", verify).await?;
    ensure!(verify.attribute("rpc.method") == "user.v1.UserService/VerifyPassword", "{verify:?}");
    traced.assert_whole(&caller).await
}

/// The search finds what it looks for, wherever in an export it is.
#[tokio::test]
async fn a_secret_is_found_wherever_it_is_exported() -> Result<()> {
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    for place in secrets::Place::ALL {
        let collector = Collector::start()?;
        let mut client = TraceServiceClient::connect(collector.url.clone()).await?;
        let canary = Uuid::new_v4().to_string();
        let request = ExportTraceServiceRequest { resource_spans: vec![secrets::planted(place, &canary)] };
        client.export(request).await?;
        let canaries = [Uuid::new_v4().to_string(), canary.clone()];
        ensure!(secrets::leaks(&collector.bytes(), &canaries) == [canary.as_str()], "{place:?}");
    }
    Ok(())
}
