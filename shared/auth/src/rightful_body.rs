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

/// Ends with what a new call would be told.
pub(crate) struct RightfulBody {
    inner: Body,
    lost: Pin<Box<dyn Future<Output = Status> + Send>>,
    is_over: bool,
}

impl RightfulBody {
    pub(crate) fn new<V: SessionVerifier>(inner: Body, right: Right<V>) -> Self {
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
