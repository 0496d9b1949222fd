//! The body of a stream that ends when its caller's right to it does.
//!
//! A right is checked when a call begins, and a stream may live for hours. Whoever is logged out, deactivated or
//! demoted meanwhile must not go on reading.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use crate::SessionVerifier;
use crate::layer::Right;

/// Time between two checks. The verifier caches, so this and the age of its answers is how long a stream may
/// outlive the right to it.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

impl<V: SessionVerifier> Right<V> {
    /// A stream that goes on for as long as its caller has this right. It ends with what a new call would be told.
    pub fn limit(self, stream: Body) -> Body {
        Body::new(RightfulBody::new(stream, self))
    }
}

struct RightfulBody {
    inner: Body,
    lost: Pin<Box<dyn Future<Output = Status> + Send>>,
    is_over: bool,
}

impl RightfulBody {
    fn new<V: SessionVerifier>(inner: Body, right: Right<V>) -> Self {
        let lost = Box::pin(async move {
            loop {
                tokio::time::sleep(CHECK_INTERVAL).await;
                if let Err(status) = right.check().await {
                    return status;
                }
            }
        });
        Self { inner, lost, is_over: false }
    }
}

/// The end of a gRPC stream; an error of the body itself would reach the caller as a broken connection.
fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
}

impl http_body::Body for RightfulBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // First, so that a stream which always has something to say cannot starve the check.
        if let Poll::Ready(status) = self.lost.as_mut().poll(cx) {
            self.is_over = true;
            // Drops the handler's stream and what it holds.
            self.inner = Body::default();
            return Poll::Ready(Some(trailers(&status)));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use http::header::AUTHORIZATION;
    use http_body::Body as _;
    use time::OffsetDateTime;
    use tonic::Code;
    use types::{Role, SessionId, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::token::AccessToken;
    use crate::{AuthLayer, Person, PolicyTable, ServiceTokens, Verified, VerifyError};

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
        let layer = AuthLayer::new(policies, none, sessions.clone());
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {}", token.expose()).parse().unwrap());
        let credentials = layer.credentials(&headers, &crate::CertificateIdentity::Absent);
        let admitted = layer.admit(path, &mut headers, credentials).await.unwrap();
        let body = Body::new(Silent);
        match admitted.right {
            Some(right) => right.limit(body),
            None => body,
        }
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
