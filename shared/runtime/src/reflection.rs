//! Server reflection: what this server offers, for clients that have no proto files.
//!
//! The messages are tonic-reflection's. Its server is not: it ends the stream when something is not found, where the
//! protocol wants an `error_response` on it, and it knows no extensions, so that clients show our method options as
//! numbers. The two versions of the protocol have the same messages on the wire, so one server answers under both names.

mod index;

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::ready;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::codec::Codec;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{Request, Response};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::service::Routes;
use tonic::{Code, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use tonic_reflection::pb::{v1, v1alpha};
use tower::service_fn;

use self::index::{FileId, INDEX, Index};

/// Adds both versions of reflection, which list these services, health, and themselves.
pub(crate) fn add_to(routes: Routes, services: &[String]) -> Routes {
    let own =
        [tonic_health::pb::health_server::SERVICE_NAME, Reflection::<V1>::NAME, Reflection::<V1Alpha>::NAME];
    let listed: Arc<[String]> = services.iter().cloned().chain(own.map(str::to_owned)).collect();
    routes.add_service(Reflection::<V1>::of(&listed)).add_service(Reflection::<V1Alpha>::of(&listed))
}

/// `grpc.reflection.v1`.
#[derive(Debug, Clone)]
struct V1;

/// `grpc.reflection.v1alpha`, which many clients still ask first.
#[derive(Debug, Clone)]
struct V1Alpha;

/// The service under the name of one version.
#[derive(Debug, Clone)]
struct Reflection<Version> {
    services: Arc<[String]>,
    version: PhantomData<Version>,
}

impl<Version> Reflection<Version> {
    fn of(services: &Arc<[String]>) -> Self {
        Self { services: Arc::clone(services), version: PhantomData }
    }
}

impl NamedService for Reflection<V1> {
    const NAME: &'static str = v1::server_reflection_server::SERVICE_NAME;
}

impl NamedService for Reflection<V1Alpha> {
    const NAME: &'static str = v1alpha::server_reflection_server::SERVICE_NAME;
}

impl<Version> tower::Service<Request<Body>> for Reflection<Version> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let services = Arc::clone(&self.services);
        Box::pin(async move {
            if !request.uri().path().ends_with("/ServerReflectionInfo") {
                return Ok(Status::unimplemented("the method is not one of this server's").into_http());
            }
            let talk = |requests: tonic::Request<Streaming<ServerReflectionRequest>>| {
                let answers = answers(requests.into_inner(), Conversation::new(Arc::clone(&services)));
                ready(Ok::<_, Status>(tonic::Response::new(answers)))
            };
            let codec = Codec::<ServerReflectionResponse, ServerReflectionRequest>::default();
            Ok(Grpc::new(codec).streaming(service_fn(talk), request).await)
        })
    }
}

/// One answer to each request. The next request is read when the client has taken the answer, so that a client that
/// asks much and reads nothing costs one answer.
fn answers(
    requests: Streaming<ServerReflectionRequest>,
    conversation: Conversation,
) -> impl stream::Stream<Item = Result<ServerReflectionResponse, Status>> + Send {
    stream::try_unfold((requests, conversation), |(mut requests, mut conversation)| async move {
        let request = requests.message().await?;
        Ok(request.map(|request| (conversation.answer(request), (requests, conversation))))
    })
}

/// What one stream is about.
struct Conversation {
    services: Arc<[String]>,
    index: &'static Index,
    /// The files that the client has got on this stream.
    sent: HashSet<FileId>,
}

/// Why a request has no other answer than an `error_response`.
#[derive(Debug, PartialEq)]
struct Miss(Code, &'static str);

impl Conversation {
    fn new(services: Arc<[String]>) -> Self {
        Self { services, index: &INDEX, sent: HashSet::new() }
    }

    fn answer(&mut self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let found = match &request.message_request {
            Some(asked) => self.find(asked),
            None => {
                Err(Miss(Code::InvalidArgument, "message_request must be set, to what this server knows"))
            }
        };
        let message = found.unwrap_or_else(|Miss(code, message)| {
            MessageResponse::ErrorResponse(ErrorResponse {
                error_code: code.into(),
                error_message: message.to_owned(),
            })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(message),
        }
    }

    fn find(&mut self, asked: &MessageRequest) -> Result<MessageResponse, Miss> {
        match asked {
            MessageRequest::FileByFilename(name) => {
                self.files(self.index.file(name).ok_or(Miss(Code::NotFound, "no file has this name"))?)
            }
            MessageRequest::FileContainingSymbol(name) => self
                .files(self.index.symbol(name).ok_or(Miss(Code::NotFound, "no file declares this symbol"))?),
            MessageRequest::FileContainingExtension(asked) => {
                let file = self.index.extension(&asked.containing_type, asked.extension_number);
                self.files(file.ok_or(Miss(Code::NotFound, "no extension of this type has this number"))?)
            }
            MessageRequest::AllExtensionNumbersOfType(name) => {
                let numbers = self.index.extension_numbers(name);
                let numbers = numbers.ok_or(Miss(Code::NotFound, "no message has this name"))?;
                Ok(MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    extension_number: numbers,
                }))
            }
            MessageRequest::ListServices(_) => {
                let service =
                    self.services.iter().map(|name| ServiceResponse { name: name.clone() }).collect();
                Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service }))
            }
        }
    }

    /// A file, and of those that it needs the ones that the client has not got yet.
    fn files(&mut self, file: FileId) -> Result<MessageResponse, Miss> {
        self.sent.remove(&file);
        let mut encoded = Vec::new();
        let mut next = vec![file];
        while let Some(file) = next.pop() {
            if self.sent.insert(file) {
                encoded.push(self.index.encoded(file).to_vec());
                next.extend(self.index.imports(file));
            }
        }
        Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: encoded }))
    }
}
