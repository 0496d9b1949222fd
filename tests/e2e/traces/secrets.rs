//! What no trace may hold: what people and processes know, each said in as many ways as calls can.

use anyhow::{Context, Result, ensure};
use api::event::v1::ReplayRequest;
use api::session::v1::{LoginRequest, RefreshSessionRequest};
use api::user::v1::CreateUserRequest;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use testkit::client::{PASSWORD, request_id};
use testkit::{ServiceName, wait_until};
use tests::people::{Market, PRICE};
use tonic::client::Grpc;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::{Traced, WITHIN};

/// Shorter ones are in every text.
const LENGTH_MIN: usize = 12;

/// What the processes know: service tokens, passwords of databases, and URLs with those.
pub(super) fn of_processes(traced: &Traced) -> Result<Vec<String>> {
    let secrets = traced.system.stack.databases.state().root().join("secrets");
    let mut canaries = Vec::new();
    for secret in std::fs::read_dir(&secrets)? {
        let content = std::fs::read_to_string(secret?.path())?;
        canaries.extend(
            content.lines().map(str::trim).filter(|line| line.len() >= LENGTH_MIN).map(str::to_owned),
        );
    }
    ensure!(canaries.len() >= 6, "three tokens, three passwords, not {} secrets", canaries.len());
    Ok(canaries)
}

fn login(email: &str, password: &str) -> LoginRequest {
    LoginRequest { email: email.to_owned(), password: password.to_owned(), client_name: "traces".to_owned() }
}

/// What people know, after they have shown all of it: signed up, logged in rightly and wrongly, refreshed, and sent
/// it where it does not belong.
pub(super) async fn of_people(traced: &Traced) -> Result<Vec<String>> {
    let api = &traced.system.api;
    let canary = || Uuid::new_v4().simple().to_string();
    let (email, password, wrong, made_up) =
        (format!("{}@example.com", canary()), canary(), canary(), canary());
    let sign_up = CreateUserRequest {
        request_id: request_id(),
        email: email.clone(),
        display_name: "Canary".to_owned(),
        password: password.clone(),
    };
    api.anyone().users().create_user(sign_up.clone()).await.context("CreateUser")?;
    let taken = CreateUserRequest { request_id: request_id(), ..sign_up };
    let refused = api.anyone().users().create_user(taken).await.expect_err("the address is taken");
    ensure!(refused.code() == Code::AlreadyExists, "{refused:?}");
    let person = api.log_in(&email, &password).await?;
    let refused = api.anyone().sessions().login(login(&email, &wrong)).await.expect_err("a wrong password");
    ensure!(refused.code() == Code::Unauthenticated, "{refused:?}");
    let no_address = format!("{made_up} at {}", canary());
    let refused = api.anyone().sessions().login(login(&no_address, &wrong)).await.expect_err("no address");
    ensure!(matches!(refused.code(), Code::InvalidArgument | Code::Unauthenticated), "{refused:?}");

    let old = RefreshSessionRequest { refresh_token: person.refresh_token.clone() };
    let new =
        api.anyone().sessions().refresh_session(old.clone()).await.context("RefreshSession")?.into_inner();
    let mut elsewhere = Request::new(old);
    elsewhere.metadata_mut().insert("x-user-id", made_up.parse()?);
    elsewhere.metadata_mut().insert("tracestate", format!("made={made_up}").parse()?);
    elsewhere.metadata_mut().insert("baggage", format!("made={made_up}").parse()?);
    // The second use of a refresh token ends the session, which somebody must hear of in the log.
    let _refused = api.anyone().sessions().refresh_session(elsewhere).await;
    call_nowhere(traced, &made_up).await?;
    let tokens = [person.access_token, person.refresh_token, new.access_token, new.refresh_token];
    let admin = &traced.system.admin;
    let admins = [admin.email.clone(), admin.access_token.clone(), admin.refresh_token.clone()];
    let others = [email, password, wrong, made_up, PASSWORD.to_owned(), "@example.com".to_owned()];
    Ok([&tokens[..], &admins, &others].concat())
}

/// Calls a method whose name the caller made up, on every service.
async fn call_nowhere(traced: &Traced, name: &str) -> Result<()> {
    for service in ServiceName::ALL {
        let mut client = Grpc::new(traced.system.api.channel(service));
        client.ready().await?;
        let path = PathAndQuery::try_from(format!("/{name}/{name}"))?;
        let codec = ProstCodec::<LoginRequest, LoginRequest>::default();
        let refused = client.unary(Request::new(LoginRequest::default()), path, codec).await;
        ensure!(refused.is_err_and(|status| status.code() == Code::Unimplemented));
    }
    wait_until(WITHIN, "the calls of no method", async || {
        let count = traced
            .collector
            .spans()
            .iter()
            .filter(|span| span.name == "_OTHER" && span.attribute("rpc.method") == "_OTHER")
            .count();
        if count == ServiceName::ALL.len() { Ok(()) } else { Err(format!("{count} are exported")) }
    })
    .await
}

/// What services tell when their databases are away is where addresses and passwords slip out.
pub(super) async fn while_databases_are_away(traced: &Traced, canaries: &mut Vec<String>) -> Result<()> {
    let system = &traced.system;
    let market = Market::open(system, PRICE, 1).await?;
    canaries.extend([market.buyer.access_token.clone(), market.seller.email.clone()]);
    let databases = &system.stack.databases;
    let processes =
        [databases.postgres.process(), databases.mongo.process(), databases.redis_session.process()];
    for database in processes {
        database.kill().await?;
    }
    market.stock().await.expect_err("no catalog");
    system.api.sign_up("Nobody").await.expect_err("no users");
    system.api.log_in(&market.buyer.email, PASSWORD).await.expect_err("no sessions");
    wait_until(WITHIN, "all three services to tell of it", async || {
        let failed = |service: ServiceName| {
            let spans = traced.collector.spans();
            spans.iter().any(|span| {
                span.service() == service.to_string()
                    && span.attribute("rpc.response.status_code") == "UNAVAILABLE"
            })
        };
        let silent: Vec<_> = ServiceName::ALL.into_iter().filter(|service| !failed(*service)).collect();
        if silent.is_empty() { Ok(()) } else { Err(format!("{silent:?} told nothing")) }
    })
    .await
}

/// Every event of every stream, as consumers get it.
pub(super) async fn events(traced: &Traced) -> Result<Vec<u8>> {
    let sessions = (0..16).map(|partition| (format!("session-{partition:02}"), ServiceName::Session));
    let streams = [("user".to_owned(), ServiceName::User), ("order".to_owned(), ServiceName::Order)];
    let mut bytes = Vec::new();
    for (stream, service) in streams.into_iter().chain(sessions) {
        let request = ReplayRequest { stream, ..ReplayRequest::default() };
        let replay = traced.system.admin.caller.events(service).replay(request).await.context("Replay")?;
        let mut pages = replay.into_inner();
        while let Some(page) = pages.message().await? {
            page.encode(&mut bytes)?;
        }
    }
    Ok(bytes)
}

/// What the services wrote into their logs.
pub(super) fn logs(traced: &Traced) -> Result<Vec<u8>> {
    let log = |service: ServiceName| traced.system.stack.services.get(service).log();
    let logs = ServiceName::ALL.map(|service| std::fs::read(log(service).path()));
    Ok(logs.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

/// Which of these are anywhere in there.
pub(super) fn leaks<'a>(bytes: &[u8], canaries: &'a [String]) -> Vec<&'a str> {
    let leaks = |canary: &&String| bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
    canaries.iter().filter(leaks).map(String::as_str).collect()
}

/// Where in an export something can be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Resource,
    Name,
    Attribute,
    List,
    Event,
    Link,
    Error,
}

impl Place {
    pub(super) const ALL: [Self; 7] =
        [Self::Resource, Self::Name, Self::Attribute, Self::List, Self::Event, Self::Link, Self::Error];
}

/// An export with something secret in this place.
pub(super) fn planted(place: Place, secret: &str) -> ResourceSpans {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    let text = || Some(AnyValue { value: Some(Value::StringValue(format!("it is {secret}."))) });
    let list = || {
        Some(AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: text().into_iter().collect() })) })
    };
    let attribute = |value| vec![KeyValue { key: "key".to_owned(), value, ..KeyValue::default() }];
    let (mut span, mut resource) = (Span::default(), Resource::default());
    match place {
        Place::Resource => resource.attributes = attribute(text()),
        Place::Name => secret.clone_into(&mut span.name),
        Place::Attribute => span.attributes = attribute(text()),
        Place::List => span.attributes = attribute(list()),
        Place::Event => span.events = vec![Event { attributes: attribute(text()), ..Event::default() }],
        Place::Link => span.links = vec![Link { attributes: attribute(text()), ..Link::default() }],
        Place::Error => span.status = Some(Status { message: secret.to_owned(), ..Status::default() }),
    }
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }
}
