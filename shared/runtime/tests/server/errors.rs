//! Every bad input gets its own code and reason, with the trace id.

use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{GET, Harness, frame, refusal, take};

#[tokio::test]
async fn bytes_that_are_no_message_are_the_clients_fault() {
    let harness = Harness::start().await;
    let not_utf8 = [0x0a_u8, 2, 0xff, 0xfe];
    let wrong_wire_type = [0x08_u8, 1];
    let group = [0x0b_u8];
    for message in [&not_utf8 as &[u8], &wrong_wire_type, &group, &[0xff_u8; 12]] {
        let length = u32::try_from(message.len()).unwrap();
        let status = harness.send(GET, &[], &frame(0, length, message)).await;
        assert_eq!(refusal(&status), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()), "{message:?}");
        assert!(status.metadata().get(api::codec::MALFORMED).is_none());
    }
    let truncated = [frame(0, 10, &[1, 2, 3]), vec![0, 0], Vec::new(), frame(7, 0, &[])];
    for bytes in truncated {
        let status = harness.send(GET, &[], &bytes).await;
        assert_eq!(refusal(&status), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_length_alone() {
    let harness = Harness::start().await;
    for bytes in [frame(0, 64 * 1024 + 1, &[]), frame(0, u32::MAX, &[0; 100]), frame(0, 65_537, &[0; 65_537])]
    {
        let status = harness.send(GET, &[], &bytes).await;
        assert_eq!(refusal(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
        assert_eq!(status.get_details_error_info().unwrap().metadata["limit_bytes"], "65536");
    }
    let longest = "x".repeat(65_536 - 4);
    assert_eq!(harness.get(&longest, &[]).await.unwrap().id, longest);
}

#[tokio::test]
async fn a_second_message_where_the_method_has_one_is_refused() {
    let harness = Harness::start().await;
    // Field 1, a text of three bytes.
    let one = frame(0, 5, &[0x0a, 3, b'a', b'n', b'y']);
    for second in [one.clone(), frame(0, 0, &[]), frame(0, 10, &[])] {
        let status = harness.send(GET, &[], &[one.clone(), second].concat()).await;
        assert_eq!(refusal(&status), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()));
    }
    assert!(harness.stage.seen.lock().unwrap().is_none(), "the handler ran");
    assert_eq!(harness.send(GET, &[], &one).await.code(), Code::Ok);
}

#[tokio::test]
async fn an_answer_that_nobody_would_read_is_not_sent() {
    let harness = Harness::start().await;
    let status = harness.get("long", &[]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Internal, "INTERNAL".to_owned()));
    assert!(!status.message().contains("bytes"), "{status:?}");
}

#[tokio::test]
async fn compression_is_refused_as_the_protocol_says() {
    let harness = Harness::start().await;
    let status = harness.send(GET, &[("grpc-encoding", "gzip")], &frame(1, 1, &[0])).await;
    assert_eq!(refusal(&status), (Code::Unimplemented, "UNSUPPORTED_ENCODING".to_owned()));
    assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity");
    let status = harness.send(GET, &[], &frame(1, 1, &[0])).await;
    assert_eq!(refusal(&status), (Code::Internal, "MALFORMED_MESSAGE".to_owned()));
}

#[tokio::test]
async fn an_unknown_method_has_a_reason_too() {
    let harness = Harness::start().await;
    for path in ["/order.v1.CatalogService/Nothing", "/no.such.Service/Method", "/x"] {
        let status = harness.send(path, &[], &frame(0, 0, &[])).await;
        assert_eq!(refusal(&status), (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn identity_is_checked_before_the_message_is_decoded() {
    let harness = Harness::start().await;
    let second = [("authorization", harness.token.as_str())];
    let status = harness.send(GET, &second, &frame(0, 1, &[0xff])).await;
    assert_eq!(refusal(&status), (Code::Unauthenticated, "AMBIGUOUS_CREDENTIALS".to_owned()));
}

#[tokio::test]
async fn headers_that_claim_an_identity_do_not_reach_the_handler() {
    let harness = Harness::start().await;
    let headers =
        [("x-user-id", "admin"), ("x-forwarded-client-cert", "By=spiffe://admin"), ("x-kept", "kept")];
    harness.get("any", &headers).await.unwrap();
    let seen = harness.seen();
    assert!(
        seen.metadata.get("x-user-id").is_none() && seen.metadata.get("x-forwarded-client-cert").is_none()
    );
    assert!(seen.metadata.get("authorization").is_none());
    assert_eq!(seen.metadata.get("x-kept").unwrap(), "kept");
    assert!(seen.principal.person().is_some());
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_lives() {
    let harness = Harness::start().await;
    let status = harness.get("panic", &[]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Internal, "INTERNAL".to_owned()));
    assert!(!status.message().contains("a panic"));
    harness.get("fine", &[]).await.unwrap();
}

#[tokio::test]
async fn an_internal_error_gives_nothing_away() {
    let harness = Harness::start().await;
    let status = harness.get("careless", &[]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Internal, "INTERNAL".to_owned()));
    assert!(!format!("{status:?}").contains("postgres"), "{status:?}");
}

#[tokio::test]
async fn a_complete_error_only_gets_the_trace_id() {
    let harness = Harness::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let status = harness.get("refused", &[("traceparent", &parent)]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Aborted, "VERSION_MISMATCH".to_owned()));
    assert_eq!(status.message(), "changed since");
    assert_eq!(status.get_details_request_info().unwrap().request_id, trace);
    let own = harness.seen().traceparent.unwrap();
    assert!(own.starts_with(&format!("00-{trace}-")) && !own.contains("b7ad6b7169203331"), "{own}");
    // A bad one begins a trace of its own.
    let status = harness.get("refused", &[("traceparent", "garbage")]).await.unwrap_err();
    assert_ne!(status.get_details_request_info().unwrap().request_id, trace);
}

#[tokio::test]
async fn the_deadline_ends_the_handler() {
    let harness = Harness::start().await;
    let status = harness.send(GET, &[("grpc-timeout", "200m")], &frame(0, 6, b"\x0a\x04wait")).await;
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    take(&harness.stage.dropped).await;
}

#[tokio::test]
async fn a_timeout_that_is_none_and_one_that_is_over_reach_no_handler() {
    let harness = Harness::start().await;
    let message = frame(0, 4, b"\x0a\x02ok");
    for bad in ["9999999999S", "-1S", "1X", "S", "1"] {
        let status = harness.send(GET, &[("grpc-timeout", bad)], &message).await;
        assert_eq!(refusal(&status), (Code::InvalidArgument, "BAD_TIMEOUT".to_owned()), "{bad}");
    }
    for over in ["0S", "1n"] {
        let status = harness.send(GET, &[("grpc-timeout", over)], &message).await;
        assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()), "{over}");
    }
    assert!(harness.stage.seen.lock().unwrap().is_none());
}

#[tokio::test]
async fn the_smaller_of_both_timeouts_counts() {
    let harness = Harness::start().await;
    harness.get("ok", &[("grpc-timeout", "99999999H")]).await.unwrap();
    let remaining = harness.seen().remaining.unwrap();
    assert!(remaining.as_secs() >= 3 && remaining.as_secs() < 5, "{remaining:?}");
    harness.get("ok", &[("grpc-timeout", "2S")]).await.unwrap();
    assert!(harness.seen().remaining.unwrap().as_secs() < 2);
}
