//! The layer as tower knows it: before a call, and beside a stream for as long as it lives.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::rightful_body::RightfulBody;
use crate::{AuthLayer, SessionVerifier};

impl<S, V: SessionVerifier> Layer<S> for AuthLayer<V> {
    type Service = AuthService<S, V>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthService { inner, auth: self.clone() }
    }
}

/// A service behind an [`AuthLayer`].
#[derive(Debug)]
pub struct AuthService<S, V> {
    inner: S,
    auth: AuthLayer<V>,
}

impl<S: Clone, V> Clone for AuthService<S, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), auth: self.auth.clone() }
    }
}

impl<S, V, B> Service<Request<B>> for AuthService<S, V>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    V: SessionVerifier,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The clone that was polled ready makes the call; its replacement is polled before the next one.
        let replacement = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, replacement);
        let auth = self.auth.clone();
        Box::pin(async move {
            let path = request.uri().clone();
            let right = auth.right(path.path(), request.headers());
            match auth.admit(path.path(), request.headers_mut()).await {
                Ok(principal) => {
                    request.extensions_mut().insert(principal);
                    let response = inner.call(request).await?;
                    Ok(match right {
                        Some(right) => response.map(|body| Body::new(RightfulBody::new(body, right))),
                        None => response,
                    })
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use http::header::AUTHORIZATION;
    use http_body::{Body as _, Frame};
    use time::OffsetDateTime;
    use tonic::{Code, Status};
    use tower::service_fn;
    use types::{Role, SessionId, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::token::AccessToken;
    use crate::{Person, PolicyTable, ServiceTokens, Verified, VerifyError};

    const WATCH: &str = "/order.v1.TransferService/WatchTransfer";
    const REPLAY: &str = "/event.v1.EventService/Replay";
    const GET: &str = "/order.v1.TransferService/GetTransfer";
    const MINUTE: Duration = Duration::from_secs(60);

    #[derive(Clone, Default)]
    struct Sessions(Arc<Mutex<HashMap<String, Role>>>);

    impl Sessions {
        fn set(&self, token: &AccessToken, role: Option<Role>) {
            let mut known = self.0.lock().unwrap();
            match role {
                Some(role) => known.insert(token.expose().to_owned(), role),
                None => known.remove(token.expose()),
            };
        }
    }

    impl SessionVerifier for Sessions {
        async fn verify(&self, token: &AccessToken) -> Result<Verified, VerifyError> {
            let role = *self.0.lock().unwrap().get(token.expose()).ok_or(VerifyError::Invalid)?;
            let person = Person {
                user_id: UserId::from_uuid(Uuid::from_u128(1)),
                role,
                session_id: SessionId::from_uuid(Uuid::from_u128(2)),
            };
            Ok(Verified { person, expires_at: OffsetDateTime::UNIX_EPOCH })
        }
    }

    /// An answer that says nothing and does not end.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    /// The body of the silent answer to a call.
    async fn opened(sessions: &Sessions, path: &str, token: &AccessToken) -> Body {
        let services = ["order.v1.TransferService", "event.v1.EventService"];
        let policies = PolicyTable::for_services(&services).unwrap();
        let none = ServiceTokens::parse(&String::new().into()).unwrap();
        let layer = AuthLayer::new("test.tristore", policies, none, sessions.clone());
        let silent = async |_: Request<()>| Ok::<_, Infallible>(Response::new(Body::new(Silent)));
        let authorization = format!("Bearer {}", token.expose());
        let request = Request::post(path).header(AUTHORIZATION, authorization).body(()).unwrap();
        let mut service = layer.layer(service_fn(move |request| silent(request).boxed()));
        let response = service.call(request).await.unwrap();
        assert!(Status::from_header_map(response.headers()).is_none(), "{path} is admitted");
        response.into_body()
    }

    async fn end(body: &mut Body) -> Option<Code> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = tokio::time::timeout(MINUTE, frame).await.ok()?.unwrap().unwrap();
        Some(Status::from_header_map(frame.trailers_ref().unwrap()).unwrap().code())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_session_does() {
        let (sessions, token) = (Sessions::default(), AccessToken::generate(0));
        sessions.set(&token, Some(Role::Customer));
        let mut body = opened(&sessions, WATCH, &token).await;
        assert_eq!(end(&mut body).await, None, "it lives as long as the session");
        sessions.set(&token, None);
        assert_eq!(end(&mut body).await, Some(Code::Unauthenticated));
        assert!(body.is_end_stream());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_the_role_is_taken_away() {
        let (sessions, token) = (Sessions::default(), AccessToken::generate(0));
        sessions.set(&token, Some(Role::Admin));
        let mut body = opened(&sessions, REPLAY, &token).await;
        assert_eq!(end(&mut body).await, None);
        sessions.set(&token, Some(Role::Customer));
        assert_eq!(end(&mut body).await, Some(Code::PermissionDenied));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_no_stream_is_not_checked_again() {
        let (sessions, token) = (Sessions::default(), AccessToken::generate(0));
        sessions.set(&token, Some(Role::Customer));
        let mut body = opened(&sessions, GET, &token).await;
        sessions.set(&token, None);
        assert_eq!(end(&mut body).await, None);
    }
}
