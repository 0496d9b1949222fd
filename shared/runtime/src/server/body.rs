//! The two bodies of a call: the request, which may not be too long, and the response, whose trailers may hold
//! an error and whose stream may have to end before its handler ends it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};
use tracing::Span;

use super::connection::Live;
use super::errors::Errors;
use super::frame::PREFIX;
use super::limits::StreamSlot;

/// A request's body that refuses a message over the limit as soon as its length is known, before anything is
/// allocated for it, and a second message where the method has one. Compressed messages are not accepted at all, so
/// that the length is the real one.
pub(super) struct LimitedBody {
    inner: Incoming,
    errors: Arc<Errors>,
    max: usize,
    /// How many messages may still begin.
    messages: usize,
    /// Bytes of the present message that are still to come.
    rest: usize,
    prefix: [u8; PREFIX],
    prefix_length: usize,
}

impl LimitedBody {
    /// A body with at most `messages` messages of `max` bytes each.
    pub(super) fn new(inner: Incoming, messages: usize, max: usize, errors: Arc<Errors>) -> Self {
        Self { inner, errors, max, messages, rest: 0, prefix: [0; PREFIX], prefix_length: 0 }
    }

    fn check(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(data.len());
                self.rest -= skipped;
                data = &data[skipped..];
                continue;
            }
            let taken = (PREFIX - self.prefix_length).min(data.len());
            let (head, tail) = data.split_at(taken);
            self.prefix[self.prefix_length..][..taken].copy_from_slice(head);
            self.prefix_length += taken;
            data = tail;
            if self.prefix_length == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.rest = u32::from_be_bytes(length) as usize;
                self.prefix_length = 0;
                self.messages = self.messages.checked_sub(1).ok_or_else(|| self.errors.message_too_many())?;
                if self.rest > self.max {
                    return Err(self.errors.message_too_large(self.max));
                }
            }
        }
        Ok(())
    }
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(Box::new(error))))),
            Some(Ok(frame)) => frame,
        };
        let checked = frame.data_ref().map_or(Ok(()), |data| self.check(data));
        Poll::Ready(Some(checked.map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body.
pub(super) struct CallBody {
    inner: tonic::body::Body,
    errors: Arc<Errors>,
    span: Span,
    /// Present in streams.
    end: Option<StreamEnd>,
    is_over: bool,
    _live: Live,
}

/// What ends a stream before its handler does.
pub(super) struct StreamEnd {
    pub(super) shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    pub(super) _slot: StreamSlot,
}

impl CallBody {
    pub(super) fn new(
        inner: tonic::body::Body,
        errors: Arc<Errors>,
        span: Span,
        end: Option<StreamEnd>,
        live: Live,
    ) -> Self {
        Self { inner, errors, span, end, is_over: false, _live: live }
    }

    /// Why the stream must end now.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(end) = &mut self.end else {
            return Poll::Pending;
        };
        if end.shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(self.errors.going_away());
        }
        match &mut end.deadline {
            Some(deadline) => deadline.as_mut().poll(cx).map(|()| self.errors.deadline_exceeded()),
            None => Poll::Pending,
        }
    }

    fn finish(&mut self, status: Status) -> Frame<Bytes> {
        self.is_over = true;
        // Drops the handler's stream and what it holds.
        self.inner = tonic::body::Body::default();
        let status = self.errors.complete(status);
        let mut trailers = HeaderMap::new();
        if let Err(error) = status.add_header(&mut trailers) {
            tracing::error!(%error, "cannot send an error");
        }
        Frame::trailers(trailers)
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let span = this.span.clone();
        // An answer that is no stream is complete already: only its encoding is left.
        let _entered = this.end.is_some().then(|| span.enter());
        if let Poll::Ready(status) = this.poll_end(cx) {
            return Poll::Ready(Some(Ok(this.finish(status))));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.inner).poll_frame(cx)));
        let Ok(polled) = polled else {
            let status = this.errors.panicked();
            return Poll::Ready(Some(Ok(span.in_scope(|| this.finish(status)))));
        };
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let failed =
            frame.trailers_ref().and_then(Status::from_header_map).filter(|status| status.code() != Code::Ok);
        match failed {
            Some(status) => Poll::Ready(Some(Ok(span.in_scope(|| this.finish(status))))),
            None => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
