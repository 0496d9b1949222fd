//! What is open to everybody, without credentials: health, and what it has in common with reflection.

use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Harness, frame, refusal};

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
async fn the_watch_of_an_unknown_service_stays_open() {
    let harness = Harness::start().await;
    let mut health = HealthClient::new(harness.channel.clone());
    let unknown = HealthCheckRequest { service: "no.such.Service".to_owned() };
    let mut watch = health.watch(unknown).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    // A known one changes meanwhile, and the server goes away: nothing else is said of the unknown one.
    harness.server.begin_stop();
    let (status, _stopped) = tokio::join!(watch.message(), harness.server.stop());
    assert_eq!(refusal(&status.unwrap_err()).0, Code::Unavailable);
}

/// What cannot be read is the caller's fault here too, and what is too long is not kept for as long as a watch lasts.
#[tokio::test]
async fn a_bad_message_to_health_or_reflection_is_the_callers_fault() {
    let harness = Harness::start().await;
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        for (bytes, expected) in [
            (frame(0, 3, &[0xff; 3]), (Code::InvalidArgument, "MALFORMED_MESSAGE")),
            (frame(0, 9, &[0xff; 3]), (Code::InvalidArgument, "MALFORMED_MESSAGE")),
            (frame(0, 16 * 1024 + 1, &[]), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")),
        ] {
            let status = harness.send(path, &[], &bytes).await;
            let (code, reason) = refusal(&status);
            assert_eq!((code, reason.as_str()), expected, "{path}");
        }
    }
    let status = harness.send("/grpc.health.v1.Health/List", &[], &frame(0, 0, &[])).await;
    assert_eq!(refusal(&status), (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()));
}
