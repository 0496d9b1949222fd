//! Calls that no generated client would make: any bytes, any headers.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result};
use api::descriptor;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::{Code, Status};

const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// OK, or the error.
    pub(crate) status: Status,
    /// The first message, if there was one, without its frame.
    pub(crate) message: Option<Bytes>,
    /// The HTTP status.
    pub(crate) http: http::StatusCode,
}

/// A method by its path, such as `order.v1.OrderService/PlaceOrder`.
pub(crate) fn method(path: &str) -> Result<MethodDescriptor> {
    descriptor::method(path).with_context(|| format!("there is no method {path}"))
}

/// Encodes a request from its JSON form.
pub(crate) fn encode(path: &str, json: &Value) -> Result<Bytes> {
    let message = DynamicMessage::deserialize(method(path)?.input(), json.clone())
        .with_context(|| format!("{json} is no request of {path}"))?;
    Ok(message.encode_to_vec().into())
}

/// Puts a message into a gRPC frame: flag, length, bytes.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    frame_of(0, u32::try_from(message.len()).expect("test messages are short"), message)
}

/// A frame that may lie about its length or its compression.
pub(crate) fn frame_of(flag: u8, length: u32, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(flag);
    frame.put_u32(length);
    frame.put_slice(message);
    frame.freeze()
}

/// A connection for many calls. It is closed when its last clone is gone.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    address: String,
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.context("the handshake")?;
        #[expect(clippy::disallowed_methods, reason = "ends with its last sender")]
        tokio::spawn(connection);
        Ok(Self { address: address.to_owned(), sender })
    }

    /// As [`call`], on this connection.
    pub(crate) async fn call(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
        let request = request(&self.address, path, headers, body)?;
        let mut sender = self.sender.clone();
        let exchange = async {
            sender.ready().await.context("the connection is gone")?;
            answer(sender.send_request(request).await.context("sending the call")?).await
        };
        timeout(PATIENCE, exchange).await.context("no answer")?
    }
}

/// Makes a call with these very bytes as its body, on a connection of its own. `headers` may repeat a name.
pub(crate) async fn call(address: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
    let request = request(address, path, headers, body)?;
    // No client of tonic's: it would read the time-out itself.
    let stream = TcpStream::connect(address).await.context("connecting")?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.context("the handshake")?;
    let exchange = async {
        let response = sender.send_request(request).await.context("sending the call")?;
        answer(response).await
    };
    let mut exchange = pin!(timeout(PATIENCE, exchange));
    let mut connection = pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer.context("no answer")?,
        // The connection ends by itself only when the server ends it; what was answered is still there.
        _ = &mut connection => exchange.await.context("no answer")?,
    }
}

fn request(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<http::Request<Full<Bytes>>> {
    let mut request = http::Request::post(format!("http://{address}/{path}"))
        .version(http::Version::HTTP_2)
        .body(Full::new(body))?;
    let map = request.headers_mut();
    map.insert("content-type", HeaderValue::from_static("application/grpc"));
    map.insert("te", HeaderValue::from_static("trailers"));
    for (name, value) in headers {
        let name: http::HeaderName = name.parse()?;
        if name == "content-type" {
            map.insert(name, HeaderValue::from_bytes(value.as_bytes())?);
        } else {
            map.append(name, HeaderValue::from_bytes(value.as_bytes())?);
        }
    }
    Ok(request)
}

async fn answer(response: http::Response<Incoming>) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.context("reading the answer")?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let bytes = collected.to_bytes();
    let status = Status::from_header_map(&parts.headers)
        .or_else(|| Status::from_header_map(&trailers))
        .unwrap_or_else(|| Status::new(Code::Unknown, "no grpc-status came back"));
    let message = (bytes.len() >= 5).then(|| bytes.slice(5..));
    Ok(Answer { status, message, http: parts.status })
}
