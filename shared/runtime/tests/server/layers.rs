//! What stands between authentication and the handlers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use api::common::v1::ErrorReason;
use api::order::v1::catalog_service_client::CatalogServiceClient;
use api::order::v1::{CreateProductRequest, GetProductRequest, GetProductResponse, Product};
use api::refusal::Refusal;
use auth::Principal;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use prost_reflect::MethodDescriptor;
use runtime::server::{UnaryCall, UnaryLayer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::harness::{ECHO, GET, Harness, frame, refusal};

/// A call as a layer saw it.
#[derive(Debug, PartialEq)]
struct Seen {
    method: String,
    principal: Principal,
    request: Bytes,
    /// Of the calls that it passed on.
    response: Option<Bytes>,
}

/// Notes every call. The id of the product that is asked for says what it does.
#[derive(Debug, Default)]
struct Recorder {
    asked: Mutex<Vec<String>>,
    seen: Mutex<Vec<Seen>>,
}

impl Recorder {
    fn requests(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap().iter().map(|seen| seen.request.clone()).collect()
    }
}

fn product(id: &str) -> GetProductResponse {
    GetProductResponse { product: Some(Product { id: id.to_owned(), ..Product::default() }) }
}

#[tonic::async_trait]
impl UnaryLayer for Recorder {
    fn covers(&self, method: &MethodDescriptor) -> bool {
        self.asked.lock().unwrap().push(method.full_name().to_owned());
        true
    }

    async fn answer(&self, call: UnaryCall<'_>) -> Result<Response<Bytes>, Status> {
        let mut seen = Seen {
            method: call.method().full_name().to_owned(),
            principal: call.principal().clone(),
            request: call.message(),
            response: None,
        };
        let asked_for = GetProductRequest::decode(call.message()).unwrap_or_default().product_id;
        let answer = match asked_for.as_str() {
            "answered" => Ok(Response::new(product("from the layer").encode_to_vec().into())),
            "limited" => {
                let reason = ErrorReason::Overloaded;
                Err(Refusal::new(Code::ResourceExhausted, &reason, "slow down").into_status())
            }
            "bare" => Err(Status::unavailable("the cache is away")),
            "careless layer" => Err(Status::internal("connect to redis://:s3cret@cache failed")),
            "layer panics" => panic!("a panic that a test asked for"),
            _ => call.proceed().await,
        };
        seen.response = answer.as_ref().ok().map(|answer| answer.get_ref().clone());
        self.seen.lock().unwrap().push(seen);
        answer
    }
}

async fn start() -> (Harness, Arc<Recorder>) {
    let recorder = Arc::<Recorder>::default();
    (Harness::start_with_layers(vec![recorder.clone()]).await, recorder)
}

/// As long as a prefix says.
fn framed(message: &[u8]) -> Vec<u8> {
    frame(0, u32::try_from(message.len()).unwrap(), message)
}

#[tokio::test]
async fn a_layer_sees_who_calls_what_and_both_encoded_messages() {
    let (harness, recorder) = start().await;
    // The id of the product, and a field that no version of the message has.
    let message = [&[0x0a, 3][..], b"any", &[0x78, 7]].concat();
    assert_eq!(harness.send(GET, &[], &framed(&message)).await.code(), Code::Ok);
    let principal = harness.seen().principal;
    assert!(principal.person().is_some());
    let seen = std::mem::take(&mut *recorder.seen.lock().unwrap());
    let expected = Seen {
        method: "order.v1.CatalogService.GetProduct".to_owned(),
        principal,
        request: message.into(),
        response: Some(product("any").encode_to_vec().into()),
    };
    assert_eq!(seen, [expected]);
    assert_eq!(harness.get("any", &[]).await.unwrap().id, "any");
}

#[tokio::test]
async fn a_call_that_authentication_refuses_reaches_no_layer() {
    let (harness, recorder) = start().await;
    let mut client = CatalogServiceClient::new(harness.channel.clone());
    let status = client.get_product(GetProductRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unauthenticated, "MISSING_CREDENTIALS".to_owned()));
    let status = harness.get("any", &[("authorization", "Bearer x")]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unauthenticated, "AMBIGUOUS_CREDENTIALS".to_owned()));
    let mut request = Request::new(CreateProductRequest::default());
    request.metadata_mut().insert("authorization", harness.token.parse().unwrap());
    let status = client.create_product(request).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));
    assert_eq!(recorder.requests(), [""; 0]);
}

#[tokio::test]
async fn a_layer_may_answer_by_itself() {
    let (harness, recorder) = start().await;
    assert_eq!(harness.get("answered", &[]).await.unwrap().id, "from the layer");
    assert!(harness.stage.seen.lock().unwrap().is_none(), "the handler was called");
    assert_eq!(recorder.requests().len(), 1);
}

#[tokio::test]
async fn an_error_is_complete_wherever_it_comes_from() {
    let (harness, _) = start().await;
    for (product_id, code, reason) in [
        ("limited", Code::ResourceExhausted, "OVERLOADED"),
        ("bare", Code::Unavailable, "DEPENDENCY_UNAVAILABLE"),
        ("careless layer", Code::Internal, "INTERNAL"),
        ("layer panics", Code::Internal, "INTERNAL"),
    ] {
        let status = harness.get(product_id, &[]).await.unwrap_err();
        assert_eq!(refusal(&status), (code, reason.to_owned()));
        assert!(!status.message().contains("s3cret") && !status.message().contains("a panic"), "{status:?}");
    }
    assert!(harness.stage.seen.lock().unwrap().is_none(), "the handler was called");
    for (product_id, code, reason) in [
        ("refused", Code::Aborted, "VERSION_MISMATCH"),
        ("careless", Code::Internal, "INTERNAL"),
        ("panic", Code::Internal, "INTERNAL"),
        ("long", Code::Internal, "INTERNAL"),
    ] {
        let status = harness.get(product_id, &[]).await.unwrap_err();
        assert_eq!(refusal(&status), (code, reason.to_owned()));
    }
    assert_eq!(harness.get("any", &[]).await.unwrap().id, "any", "the connection lives");
}

#[tokio::test]
async fn a_request_that_is_not_one_message_is_refused_as_without_layers() {
    let (harness, recorder) = start().await;
    let one = framed(&[0x0a, 3, b'a', b'n', b'y']);
    let twice = one.repeat(2);
    for bytes in [&one[..7], &one[..3], &[], &frame(7, 0, &[]), &twice] {
        let status = harness.send(GET, &[], bytes).await;
        assert_eq!(refusal(&status), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()), "{bytes:?}");
    }
    let status = harness.send(GET, &[], &frame(1, 1, &[0])).await;
    assert_eq!(refusal(&status), (Code::Internal, "MALFORMED_MESSAGE".to_owned()));
    let status = harness.send(GET, &[], &framed(&[0; 65_537])).await;
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    assert_eq!(recorder.requests(), [""; 0]);
    // Only the handler knows the type of the message.
    let status = harness.send(GET, &[], &framed(&[0x0b])).await;
    assert_eq!(refusal(&status), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()));
    assert_eq!(recorder.requests(), [&[0x0b][..]]);
}

#[tokio::test]
async fn a_streaming_call_passes_untouched() {
    let (harness, recorder) = start().await;
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let call = harness.post(ECHO, &[], StreamBody::new(ReceiverStream::new(receiver)));
    let mut response = call.await.into_body();
    // Each part comes back before the next one is sent, although none of them is a whole message.
    let message = framed(b"any");
    for part in message.chunks(3).map(Bytes::copy_from_slice) {
        sender.send(Ok(Frame::data(part.clone()))).await.unwrap();
        assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), part);
    }
    drop(sender);
    assert_eq!(response.collect().await.unwrap().to_bytes(), "", "the end comes back too");
    assert_eq!(recorder.requests(), [""; 0]);
    let asked = recorder.asked.lock().unwrap();
    assert!(asked.iter().any(|method| method == "order.v1.TransferService.GetTransfer"), "{asked:?}");
    assert!(!asked.iter().any(|method| method == "order.v1.TransferService.WatchTransfer"), "{asked:?}");
}

/// Adds its name to that of the product that passes.
#[derive(Debug)]
struct Signs(&'static str, &'static [&'static str]);

#[tonic::async_trait]
impl UnaryLayer for Signs {
    fn covers(&self, method: &MethodDescriptor) -> bool {
        self.1.contains(&method.name())
    }

    async fn answer(&self, call: UnaryCall<'_>) -> Result<Response<Bytes>, Status> {
        let answer = call.proceed().await?.into_inner();
        let mut product = GetProductResponse::decode(answer).unwrap().product.unwrap();
        product.name.push_str(self.0);
        Ok(Response::new(GetProductResponse { product: Some(product) }.encode_to_vec().into()))
    }
}

#[tokio::test]
async fn layers_stand_in_their_order_before_the_methods_that_they_cover() {
    let layers: [Arc<dyn UnaryLayer>; 3] = [
        Arc::new(Signs("outer", &["GetProduct", "CreateProduct"])),
        Arc::new(Signs("elsewhere", &["CreateProduct"])),
        Arc::new(Signs("inner ", &["GetProduct"])),
    ];
    let harness = Harness::start_with_layers(layers.into()).await;
    assert_eq!(harness.get("any", &[]).await.unwrap().name, "inner outer");
}
