//! Health and reflection: open to everybody, without credentials.

use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::harness::{Harness, refusal};
use runtime::config::ServerConfig;
use runtime::health::Readiness;

#[tokio::test]
async fn health_knows_the_server_and_each_service() {
    let harness = Harness::start().await;
    let mut health = HealthClient::new(harness.channel.clone());
    for service in ["", "order.v1.CatalogService"] {
        health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
    }
    let unknown =
        health.check(HealthCheckRequest { service: "no.such.Service".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_stream_ends_at_its_clients_deadline() {
    let harness = Harness::start().await;
    let mut request = Request::new(HealthCheckRequest::default());
    // Not by set_timeout, which would have the client itself end the call.
    request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
    let mut stream = HealthClient::new(harness.channel.clone()).watch(request).await.unwrap().into_inner();
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without an error"),
            Err(status) => break status,
        }
    };
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
}

#[tokio::test]
async fn reflection_knows_the_services_and_the_details_of_errors() {
    let harness = Harness::start().await;
    let expected =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "order.v1.CatalogService"];
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(harness.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, expected);

    // The details of errors as well, which no method names.
    for symbol in ["order.v1.CatalogService", "google.rpc.BadRequest", "google.rpc.ErrorInfo"] {
        let symbol =
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.to_owned());
        let request =
            v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(symbol.clone()) };
        let mut client =
            v1alpha::server_reflection_client::ServerReflectionClient::new(harness.channel.clone());
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
        assert!(
            matches!(answer, v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)),
            "{symbol:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    let config = ServerConfig { reflection: false, ..ServerConfig::for_tests() };
    let harness = Harness::start_with(config, Readiness::always(), |_| {}).await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(harness.channel.clone());
    let status = client.server_reflection_info(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()));
}
