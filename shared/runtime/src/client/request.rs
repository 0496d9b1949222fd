//! What is sent: a request that can be sent a second time when the first server has certainly not looked at it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

/// The body of a request.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// All of it, as the one message of a call usually is. A copy shares the bytes.
    Whole(Option<Bytes>),
    /// A stream of messages, of which a part may have been taken out already.
    Stream { begun: Option<Bytes>, rest: Body },
}

impl Outgoing {
    /// Takes out what is there without waiting.
    ///
    /// # Errors
    /// When the message cannot be encoded.
    pub(super) fn of(mut body: Body) -> Result<Self, Status> {
        if body.is_end_stream() {
            return Ok(Self::Whole(None));
        }
        // What is not there yet is waited for by the connection, which polls again with a waker of its own.
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = poll_data(&mut body, &mut cx)? else {
            return Ok(Self::Stream { begun: None, rest: body });
        };
        if first.is_none() || body.is_end_stream() {
            return Ok(Self::Whole(first));
        }
        match poll_data(&mut body, &mut cx)? {
            Poll::Ready(None) => Ok(Self::Whole(first)),
            Poll::Pending => Ok(Self::Stream { begun: first, rest: body }),
            Poll::Ready(Some(second)) => {
                let begun = [first.unwrap_or_default(), second].concat();
                Ok(Self::Stream { begun: Some(begun.into()), rest: body })
            }
        }
    }

    /// The same once more; `None` when it is not at hand.
    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Stream { .. } => None,
        }
    }
}

/// The next bytes. Requests of gRPC have no trailers.
fn poll_data(body: &mut Body, cx: &mut Context<'_>) -> Result<Poll<Option<Bytes>>, Status> {
    match Pin::new(body).poll_frame(cx) {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(None) => Ok(Poll::Ready(None)),
        Poll::Ready(Some(frame)) => {
            let data = frame?.into_data().map_err(|_| Status::internal("a request has trailers"))?;
            Ok(Poll::Ready(Some(data)))
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { begun, rest } => {
                if let Some(bytes) = begun.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Poll::Ready(ready!(Pin::new(rest).poll_frame(cx)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream { begun, rest } => begun.is_none() && rest.is_end_stream(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    fn stream(parts: Vec<&'static [u8]>, then_waits: bool) -> Body {
        let parts =
            futures_util::stream::iter(parts).map(|part| Ok::<_, Status>(Frame::data(Bytes::from(part))));
        if then_waits {
            return Body::new(StreamBody::new(parts.chain(futures_util::stream::pending())));
        }
        Body::new(StreamBody::new(parts))
    }

    #[tokio::test]
    async fn one_message_is_whole_and_can_be_sent_twice() {
        for body in [Body::new(Full::new(Bytes::from_static(b"one"))), stream(vec![b"one"], false)] {
            let body = Outgoing::of(body).unwrap();
            let copy = body.copy().expect("it is at hand");
            for body in [body, copy] {
                assert_eq!(body.collect().await.unwrap().to_bytes(), "one");
            }
        }
        let empty = Outgoing::of(Body::empty()).unwrap();
        assert!(empty.is_end_stream() && empty.copy().is_some());
    }

    #[tokio::test]
    async fn of_a_stream_nothing_is_lost_and_nothing_is_sent_twice() {
        let body = Outgoing::of(stream(vec![b"one", b"two", b"three"], false)).unwrap();
        assert!(body.copy().is_none());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "onetwothree");
        let mut body = Outgoing::of(stream(vec![b"one"], true)).unwrap();
        assert!(body.copy().is_none());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    }

    #[test]
    fn a_message_that_cannot_be_encoded_is_not_sent() {
        let parts =
            futures_util::stream::iter([Err::<Frame<Bytes>, _>(Status::resource_exhausted("too long"))]);
        let status = Outgoing::of(Body::new(StreamBody::new(parts))).unwrap_err();
        assert_eq!(status.message(), "too long");
    }
}
