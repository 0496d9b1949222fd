//! The seam between authentication and the handlers, for what belongs to calls and to no domain, such as a cache of
//! responses or a rate limit.
//!
//! A layer sees encoded messages, so that it has to know none of their types. It stands before the methods that it
//! covers, and says at the start which those are: no other call is buffered for it. Streaming calls pass untouched,
//! whatever layers there are, because they have no one request and no one response that could be shown.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use auth::Principal;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost_reflect::MethodDescriptor;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Code, Response, Status};
use tower::Service as _;

use super::errors::split_error;
use super::frame::{PREFIX, framed, unframed};

/// Stands before the handlers of unary methods.
#[tonic::async_trait]
pub trait UnaryLayer: fmt::Debug + Send + Sync {
    /// Whether it stands before this method. Asked once for each unary method of the service when a core starts; health
    /// and reflection are not among them. The descriptor has the method's options, such as its access policy.
    fn covers(&self, method: &MethodDescriptor) -> bool;

    /// Answers a call that authentication has admitted: by itself, or with what [`UnaryCall::proceed`] gives.
    ///
    /// # Errors
    /// The error that the caller gets. It is completed and logged like one of a handler.
    async fn answer(&self, call: UnaryCall<'_>) -> Result<Response<Bytes>, Status>;
}

/// A unary call on its way from authentication to its handler.
pub struct UnaryCall<'a> {
    method: &'a MethodDescriptor,
    principal: Principal,
    head: http::request::Parts,
    /// The message with its prefix.
    framed: Bytes,
    /// The layers that it has not reached yet.
    layers: &'a [Arc<dyn UnaryLayer>],
    routes: Routes,
}

impl UnaryCall<'_> {
    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &MethodDescriptor {
        self.method
    }

    /// Who calls.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The encoded request, exactly as it was sent. It has not been decoded, so that it may be no message of the method,
    /// and what is secret in it is still there.
    #[must_use]
    pub fn message(&self) -> Bytes {
        self.framed.slice(PREFIX..)
    }

    /// Passes the call on to the next layer, and after the last one to the handler. Gives the encoded response.
    ///
    /// # Errors
    /// The error of the handler, or of a layer in between.
    pub async fn proceed(mut self) -> Result<Response<Bytes>, Status> {
        if let Some((next, others)) = self.layers.split_first() {
            self.layers = others;
            return next.answer(self).await;
        }
        let request = Request::from_parts(self.head, Body::new(Full::new(self.framed)));
        let Ok(response) = self.routes.call(request).await;
        let (head, body) = split_error(response)?.into_parts();
        let body = body.collect().await?;
        match body.trailers().and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => return Err(status),
            _ => {}
        }
        let message = unframed(&body.to_bytes()).ok_or_else(|| {
            Status::internal("the handler of a unary method did not respond with one message")
        })?;
        Ok(Response::from_parts(MetadataMap::from_headers(head.headers), message, head.extensions))
    }
}

impl fmt::Debug for UnaryCall<'_> {
    /// Without the message, which may have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, principal) = (self.method.full_name(), &self.principal);
        f.debug_struct("UnaryCall")
            .field("method", &method)
            .field("principal", principal)
            .finish_non_exhaustive()
    }
}

/// The layers before each method that has any, by path.
#[derive(Debug)]
pub(super) struct Layers(HashMap<String, Layered>);

/// A method with its layers, the outermost first.
#[derive(Debug)]
pub(super) struct Layered {
    method: MethodDescriptor,
    layers: Vec<Arc<dyn UnaryLayer>>,
}

impl Layers {
    /// Asks each layer for the methods of these services that it covers.
    pub(super) fn of(services: &[String], layers: &[Arc<dyn UnaryLayer>]) -> Self {
        let services = services.iter().filter_map(|name| api::descriptor::service(name));
        let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
        let unary = methods.filter(|method| !method.is_client_streaming() && !method.is_server_streaming());
        let layered = unary.filter_map(|method| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let layers: Vec<_> = layers.iter().filter(|layer| layer.covers(&method)).cloned().collect();
            (!layers.is_empty()).then(|| (path, Layered { method, layers }))
        });
        Self(layered.collect())
    }

    /// The method at a path, if any layer stands before it.
    pub(super) fn before(&self, path: &str) -> Option<&Layered> {
        self.0.get(path)
    }
}

impl Layered {
    /// Leads a call through the layers. A request that is not one whole message does not reach them: the handler's
    /// codec refuses it, as it would without layers.
    pub(super) async fn answer(
        &self,
        request: Request<Body>,
        principal: Principal,
        mut routes: Routes,
    ) -> Result<http::Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let (framed, end) = read(body).await;
        if end.is_ok() && unframed(&framed).is_some() {
            let Self { method, layers } = self;
            let call = UnaryCall { method, principal, head, framed, layers, routes };
            return call.proceed().await.map(encoded);
        }
        let frames = [Ok(Frame::data(framed))].into_iter().chain(end.err().map(Err));
        let body = Body::new(StreamBody::new(stream::iter(frames)));
        let Ok(response) = routes.call(Request::from_parts(head, body)).await;
        Ok(response)
    }
}

/// What a body brings, which is bounded by the limit of a message, and how it ends.
async fn read(mut body: Body) -> (Bytes, Result<(), Status>) {
    let mut bytes = BytesMut::new();
    loop {
        match body.frame().await {
            None => return (bytes.freeze(), Ok(())),
            Some(Err(status)) => return (bytes.freeze(), Err(status)),
            Some(Ok(frame)) => bytes.extend(frame.into_data().ok()),
        }
    }
}

/// A response as it is sent.
fn encoded(response: Response<Bytes>) -> http::Response<Body> {
    let (metadata, message, extensions) = response.into_parts();
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(framed(&message)).with_trailers(ready(Some(Ok(trailers))));
    let mut response = http::Response::new(Body::new(body));
    *response.headers_mut() = metadata.into_headers();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    *response.extensions_mut() = extensions;
    response
}
