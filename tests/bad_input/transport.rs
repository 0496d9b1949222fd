//! Bytes that are no call: rows 1 to 21 of the catalogue.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use procfs::process::Process;
use prost::Message as _;
use serde_json::json;
use testkit::ServiceName;
use testkit::client::request_id;
use tests::status::{code_and_reason, has_common_details, metadata};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::digest;
use crate::raw::{self, Answer};
use crate::stage::Stage;

const GET_USER: &str = "user.v1.UserService/GetUser";
/// Of a transfer that is at its end, the stream ends too.
const WATCH_TRANSFER: &str = "order.v1.TransferService/WatchTransfer";
const CREATE_POST: &str = "user.v1.PostService/CreatePost";

async fn call(stage: &Stage, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
    let token = format!("Bearer {}", stage.token("buyer")?.context("a token")?);
    let mut all = vec![("authorization", token.as_str())];
    all.extend_from_slice(headers);
    raw::call(&stage.address(ServiceName::User), path, &all, body).await
}

fn get_user(stage: &Stage) -> Result<Bytes> {
    raw::encode(GET_USER, &json!({ "userId": stage.market.buyer.user_id }))
}

#[tokio::test]
async fn bodies_that_are_no_message_are_refused() -> Result<()> {
    let stage = &Stage::get().await?;
    let before = stage.settled_digest().await?;
    let good = get_user(stage)?;
    let deep: Vec<u8> = {
        // A message inside a message, 200 deep, in an unknown field: the decoder's recursion limit is 100.
        let mut inner = vec![];
        for _ in 0..200 {
            let mut outer = BytesMut::new();
            prost::encoding::encode_key(15, prost::encoding::WireType::StartGroup, &mut outer);
            outer.extend_from_slice(&inner);
            prost::encoding::encode_key(15, prost::encoding::WireType::EndGroup, &mut outer);
            inner = outer.to_vec();
        }
        inner
    };
    let rows: [(&str, Bytes, Code, &str); 9] = [
        ("1 over the limit", raw::frame(&vec![0; 65_537]), Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        (
            "2 a length of 4 GiB and no body",
            raw::frame_of(0, u32::MAX, &[]),
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
        ),
        (
            "3 a frame that ends early",
            raw::frame_of(0, 100, &good),
            Code::InvalidArgument,
            "MALFORMED_MESSAGE",
        ),
        (
            "4 compressed, and no encoding named",
            raw::frame_of(1, u32::try_from(good.len())?, &good),
            Code::Internal,
            "MALFORMED_MESSAGE",
        ),
        ("7 a wrong wire type", raw::frame(&[0x08, 0x01]), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        ("7 a stray end of group", raw::frame(&[0x0c]), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        ("8 nested too deep", raw::frame(&deep), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        ("9 no UTF-8", raw::frame(&[0x0a, 0x02, 0xc3, 0x28]), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        (
            "59 a lone surrogate",
            raw::frame(&[0x0a, 0x03, 0xed, 0xa0, 0x80]),
            Code::InvalidArgument,
            "MALFORMED_MESSAGE",
        ),
    ];
    for (row, body, code, reason) in rows {
        let answer = call(stage, GET_USER, &[], body).await.context(row)?;
        assert_eq!(code_and_reason(&answer.status), (code, reason.to_owned()), "{row}: {:?}", answer.status);
        assert!(has_common_details(&answer.status), "{row}");
        if reason == "MESSAGE_TOO_LARGE" {
            assert_eq!(metadata(&answer.status, "limit_bytes").as_deref(), Some("65536"), "{row}");
        }
    }
    assert_eq!(stage.settled_digest().await?, before);
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn compression_that_is_not_accepted_is_unimplemented() -> Result<()> {
    let stage = &Stage::get().await?;
    for encoding in ["gzip", "br", "zip-bomb"] {
        let body = raw::frame_of(1, 4, &[1, 2, 3, 4]);
        let answer = call(stage, GET_USER, &[("grpc-encoding", encoding)], body).await?;
        let expected = (Code::Unimplemented, "UNSUPPORTED_ENCODING".to_owned());
        assert_eq!(code_and_reason(&answer.status), expected, "{encoding}");
    }
    stage.system.no_errors_logged()
}

/// Row 6. Nothing is inflated, so a bomb is refused for its encoding, and the service does not grow by it.
#[tokio::test]
async fn a_zip_bomb_is_refused_and_not_inflated() -> Result<()> {
    let stage = &Stage::get().await?;
    let bomb = gzip(&vec![0; INFLATED])?;
    assert!(bomb.len() <= 65_536, "the bomb is within the limit of a message: {}", bomb.len());
    let body = raw::frame_of(1, u32::try_from(bomb.len())?, &bomb);
    let pid = stage.system.stack.services.user.process().pid().context("user service runs")?;
    let before = most_resident(pid)?;
    let answer = call(stage, GET_USER, &[("grpc-encoding", "gzip")], body).await?;
    let expected = (Code::Unimplemented, "UNSUPPORTED_ENCODING".to_owned());
    assert_eq!(code_and_reason(&answer.status), expected);
    let grown = most_resident(pid)? - before;
    assert!(grown < INFLATED / 2, "user service grew by {grown} bytes");
    stage.system.no_errors_logged()
}

/// What the bomb would become.
const INFLATED: usize = 48 * 1024 * 1024;

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = testkit::tool("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut plain = gzip.stdin.take().context("gzip's input")?;
    let output = std::thread::scope(|scope| {
        let written = scope.spawn(move || plain.write_all(bytes));
        let output = gzip.wait_with_output().context("running gzip");
        written.join().expect("writing does not panic").context("writing to gzip").and(output)
    })?;
    anyhow::ensure!(output.status.success(), "gzip ended with {}", output.status);
    Ok(output.stdout)
}

/// The most memory that a process ever had, in bytes.
fn most_resident(pid: u32) -> Result<usize> {
    let kilobytes = Process::new(pid.cast_signed())?.status()?.vmhwm.context("VmHWM")?;
    Ok(usize::try_from(kilobytes)? * 1024)
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_the_last_value_of_a_field_counts() -> Result<()> {
    let stage = &Stage::get().await?;
    let mut body = get_user(stage)?.to_vec();
    body.extend([0x82, 0x7d, 0x03, b'x', b'y', b'z']);
    let answer = call(stage, GET_USER, &[], raw::frame(&body)).await?;
    assert_eq!(answer.status.code(), Code::Ok, "row 10: {:?}", answer.status);
    let echoed = answer.message.context("a message")?;
    assert!(!echoed.windows(3).any(|window| window == b"xyz"), "an unknown field came back");

    const UNKNOWN: &[u8] = b"nobody-knows-this-field";
    let post = json!({ "requestId": request_id(), "title": "With more", "body": "Than is known." });
    let mut post = raw::encode(CREATE_POST, &post)?.to_vec();
    post.extend([0x82, 0x7d, u8::try_from(UNKNOWN.len())?]);
    post.extend(UNKNOWN);
    let answer = call(stage, CREATE_POST, &[], raw::frame(&post)).await?;
    assert_eq!(answer.status.code(), Code::Ok, "row 10: {:?}", answer.status);
    stage.system.at_rest().await?;
    let stored = digest::stored_in_mongodb(&stage.system).await?;
    let has = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    for name in ["post", "outbox", "request"] {
        let rows = stored.get(name).with_context(|| format!("no collection {name}"))?;
        assert!(!rows.is_empty(), "{name} is empty");
        for row in rows {
            let bytes = bson::serialize_to_vec(row)?;
            assert!(!has(&bytes, UNKNOWN), "an unknown field is stored in {name}: {row}");
        }
    }
    let created = api::user::v1::CreatePostResponse::decode(answer.message.context("a message")?)?;
    let id = created.post.context("a post")?.id;
    let events = stored["outbox"].iter().map(bson::serialize_to_vec).collect::<Result<Vec<_>, _>>()?;
    assert!(events.iter().any(|event| has(event, id.as_bytes())), "what is known is in an event");

    let mut twice = raw::encode(GET_USER, &json!({ "userId": "not an id" }))?.to_vec();
    twice.extend(get_user(stage)?);
    let answer = call(stage, GET_USER, &[], raw::frame(&twice)).await?;
    assert_eq!(answer.status.code(), Code::Ok, "row 11: {:?}", answer.status);
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn unknown_methods_and_services_are_unimplemented() -> Result<()> {
    let stage = &Stage::get().await?;
    for path in [
        "user.v1.UserService/DropUsers",
        "user.v1.NoService/GetUser",
        "x/y",
        "order.v1.OrderService/GetOrder",
    ] {
        let answer = call(stage, path, &[], raw::frame(&[])).await?;
        let expected = (Code::Unimplemented, "UNKNOWN_METHOD".to_owned());
        assert_eq!(code_and_reason(&answer.status), expected, "{path}");
    }
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn other_content_types_and_http_1_reach_no_handler() -> Result<()> {
    let stage = &Stage::get().await?;
    for content_type in ["application/json", "text/html"] {
        let answer = call(stage, GET_USER, &[("content-type", content_type)], raw::frame(&[])).await?;
        assert_eq!(answer.http, http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}: {answer:?}");
        assert!(answer.message.is_none(), "{content_type}: {answer:?}");
    }
    let address = stage.system.stack.services.user.address();
    let answer = tokio::task::spawn_blocking(move || -> Result<Vec<u8>> {
        // It is closed, not left open: else reading ends by its time.
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => Ok(answer),
            // A reset is as good a refusal as an end.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(answer),
            Err(error) => Err(error).context("the connection is not closed"),
        }
    })
    .await??;
    // Frames of HTTP/2 say why the connection is closed; words of HTTP/1 would be an answer.
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn time_outs_are_read_or_refused() -> Result<()> {
    let stage = &Stage::get().await?;
    let body = raw::frame(&get_user(stage)?);
    for bad in ["9999999999S", "-1S", "1X", "S", "", "1", " 1S", "1.5S"] {
        let answer = call(stage, GET_USER, &[("grpc-timeout", bad)], body.clone()).await?;
        let expected = (Code::InvalidArgument, "BAD_TIMEOUT".to_owned());
        assert_eq!(code_and_reason(&answer.status), expected, "{bad:?}");
    }
    let before = stage.settled_digest().await?;
    let post = json!({ "requestId": request_id(), "title": "Late", "body": "Too late." });
    let post = raw::frame(&raw::encode(CREATE_POST, &post)?);
    for over in ["0S", "0n", "1n"] {
        let answer = call(stage, CREATE_POST, &[("grpc-timeout", over)], post.clone()).await?;
        let expected = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
        assert_eq!(code_and_reason(&answer.status), expected, "{over}");
    }
    assert_eq!(stage.settled_digest().await?, before, "a call without time began to write");
    // The longest that can be written is eleven thousand years.
    for good in ["5S", "5000m", "99999999n", "1H", "99999999S", "99999999M", "99999999H"] {
        let answer = call(stage, GET_USER, &[("grpc-timeout", good)], body.clone()).await?;
        assert_eq!(answer.status.code(), Code::Ok, "{good}: {:?}", answer.status);
    }
    // A stream is given its caller's time, however long that is.
    for long in ["99999999S", "99999999M", "99999999H"] {
        let watch = raw::encode(WATCH_TRANSFER, &stage.fill(&json!({ "transferId": "$transfer" }))?)?;
        let token = format!("Bearer {}", stage.token("buyer")?.context("a token")?);
        let headers = [("authorization", token.as_str()), ("grpc-timeout", long)];
        let order = stage.address(ServiceName::Order);
        let answer = raw::call(&order, WATCH_TRANSFER, &headers, raw::frame(&watch)).await?;
        assert_eq!(answer.status.code(), Code::Ok, "a stream, {long}: {:?}", answer.status);
    }
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn headers_beyond_the_limit_end_the_call_and_not_the_server() -> Result<()> {
    let stage = &Stage::get().await?;
    let body = raw::frame(&get_user(stage)?);
    for kilobytes in [8, 64] {
        let huge = "a".repeat(kilobytes * 1024);
        match call(stage, GET_USER, &[("x-large", &huge)], body.clone()).await {
            // HTTP's own words for it.
            Ok(answer) => {
                let too_large = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                assert_eq!(answer.http, too_large, "{kilobytes} KiB: {answer:?}");
                assert!(answer.message.is_none(), "{kilobytes} KiB: {answer:?}");
            }
            // The stream or the connection was ended.
            Err(error) => assert!(error.downcast_ref::<hyper::Error>().is_some(), "{error:#}"),
        }
    }
    let much = "a".repeat(7 * 1024);
    let answer = call(stage, GET_USER, &[("x-large", &much)], body).await?;
    assert_eq!(
        answer.status.code(),
        Code::Ok,
        "within the limit, and the server goes on: {:?}",
        answer.status
    );
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn bad_trace_headers_start_a_new_trace_and_good_ones_are_kept() -> Result<()> {
    let stage = &Stage::get().await?;
    let body = raw::frame(&raw::encode(GET_USER, &json!({ "userId": "x" }))?);
    let trace = |answer: &Answer| {
        let details = answer.status.get_error_details();
        details.request_info().map(|info| info.request_id.clone()).unwrap_or_default()
    };
    for bad in ["x", "00-0-0-0", "00-00000000000000000000000000000000-0000000000000000-01"] {
        let answer = call(stage, GET_USER, &[("traceparent", bad)], body.clone()).await?;
        let id = trace(&answer);
        assert!(id.len() == 32 && id.chars().any(|digit| digit != '0'), "{bad}: {id:?}");
    }
    let own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = call(stage, GET_USER, &[("traceparent", own)], body.clone()).await?;
    assert_eq!(trace(&answer), "4bf92f3577b34da6a3ce929d0e0e4736");
    let answer = call(stage, GET_USER, &[("x-data-bin", "no base 64 !!")], body).await?;
    assert_eq!(answer.status.code(), Code::InvalidArgument, "row 19: {:?}", answer.status);
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn two_messages_on_a_unary_call_are_refused_and_take_no_effect() -> Result<()> {
    let stage = &Stage::get().await?;
    let posts = async || -> Result<i64> {
        let request =
            api::user::v1::GetUserRequest { user_id: stage.market.buyer.user_id.clone(), read_mask: None };
        let answer = stage.market.buyer.caller.users().get_user(request).await?;
        Ok(answer.into_inner().user.context("a user")?.post_count)
    };
    let before = posts().await?;
    let mut body = BytesMut::new();
    for title in ["One", "Two"] {
        let post = api::user::v1::CreatePostRequest {
            request_id: request_id(),
            title: title.to_owned(),
            body: "Of two messages.".to_owned(),
            ..Default::default()
        };
        body.extend_from_slice(&raw::frame(&post.encode_to_vec()));
    }
    let answer = call(stage, CREATE_POST, &[], body.freeze()).await?;
    assert_eq!(answer.status.code(), Code::InvalidArgument, "row 20: {:?}", answer.status);
    let reason = answer.status.get_details_error_info().context("row 20: ErrorInfo")?.reason;
    assert_eq!(reason, "MALFORMED_MESSAGE", "row 20");
    assert_eq!(posts().await?, before, "row 20: {:?}", answer.status);
    stage.system.no_errors_logged()
}
