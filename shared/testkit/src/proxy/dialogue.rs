//! Understands a connection's protocol as far as losing an acknowledgement needs it: which bytes answer which request.
//! Each protocol is read frame by frame, however the bytes arrive in pieces.

use std::sync::{Arc, PoisonError};

use anyhow::{Result, ensure};

use super::grpc::Grpc;
use super::mongo::{Mongo, Transactions};
use super::postgres::Postgres;
use super::redis::{Redis, Scripts};

/// The protocol that an edge speaks, always in clear text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Any protocol; none of it is understood.
    Opaque,
    /// Work is a transaction, known by the text of its statements; its acknowledgement is that of its commit.
    Postgres,
    /// Work is a transaction, known by its commands, such as `insert(post)` or `bulkWrite(post,outbox)`, and
    /// acknowledged by the reply to `commitTransaction`; outside of transactions each command is work of its own.
    Mongo,
    /// Work is a command, known by its words, or a script, known by its source.
    Redis,
    /// Work is a unary call, known by its path, and acknowledged by an answer with status OK.
    Grpc,
}

/// The work that a client asked for: each statement, command or path as text.
pub(super) type Work = Vec<Arc<str>>;

/// What a frame from the server means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It acknowledges nothing.
    Other,
    /// It begins or continues the answer to this work, which is not complete yet.
    Part(Work),
    /// It completes an answer: this work took effect. When the list is empty, none did.
    Done(Work),
}

/// The conversation on one connection. It gets both sides' frames in the order in which they are passed on.
pub(super) trait Dialogue: Send {
    /// The length of the client's next frame, once its head has arrived.
    fn request_len(&self, bytes: &[u8]) -> Result<Option<usize>>;

    /// Takes a frame from the client.
    fn request(&mut self, frame: &[u8]) -> Result<()>;

    /// The length of the server's next frame, once its head has arrived.
    fn answer_len(&self, bytes: &[u8]) -> Result<Option<usize>>;

    /// Takes a frame from the server.
    fn answer(&mut self, frame: &[u8]) -> Result<Heard>;

    /// The text of the work that the last frame from the server answers, done or not. Known for MongoDB only.
    fn answered(&self) -> Option<&str> {
        None
    }
}

/// A protocol, with the knowledge that its connections share.
#[derive(Debug)]
pub(super) enum Speech {
    Opaque,
    Postgres,
    Mongo(Transactions),
    Redis(Scripts),
    Grpc,
}

impl From<Protocol> for Speech {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Opaque => Self::Opaque,
            Protocol::Postgres => Self::Postgres,
            Protocol::Mongo => Self::Mongo(Transactions::default()),
            Protocol::Redis => Self::Redis(Scripts::default()),
            Protocol::Grpc => Self::Grpc,
        }
    }
}

impl Speech {
    /// The commands of each transaction so far, in their order. Known for MongoDB only.
    pub(super) fn transactions(&self) -> Vec<Work> {
        let Self::Mongo(transactions) = self else { return Vec::new() };
        transactions.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The conversation of a new connection.
    pub(super) fn begin(&self) -> Option<Box<dyn Dialogue>> {
        match self {
            Self::Opaque => None,
            Self::Postgres => Some(Box::new(Postgres::default())),
            Self::Mongo(transactions) => Some(Box::new(Mongo::new(Arc::clone(transactions)))),
            Self::Redis(scripts) => Some(Box::new(Redis::new(Arc::clone(scripts)))),
            Self::Grpc => Some(Box::new(Grpc::new())),
        }
    }
}

/// Bytes that have arrived and are not a whole frame yet.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next frame, if it is whole; `len` is [`Dialogue::request_len`] or [`Dialogue::answer_len`].
    pub(super) fn next(
        &mut self,
        len: impl FnOnce(&[u8]) -> Result<Option<usize>>,
    ) -> Result<Option<Vec<u8>>> {
        let Some(len) = len(&self.0)? else { return Ok(None) };
        ensure!(len > 0, "an empty frame");
        if self.0.len() < len {
            return Ok(None);
        }
        let rest = self.0.split_off(len);
        Ok(Some(std::mem::replace(&mut self.0, rest)))
    }
}

/// A big-endian number of four bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod testing {
    //! Feeding a dialogue byte by byte.

    use super::*;

    /// What a side says, one byte at a time.
    pub(in super::super) fn ask(dialogue: &mut dyn Dialogue, bytes: &[u8]) {
        let mut frames = Frames::default();
        for byte in bytes {
            frames.push(&[*byte]);
            while let Some(frame) = frames.next(|bytes| dialogue.request_len(bytes)).unwrap() {
                dialogue.request(&frame).unwrap();
            }
        }
        assert!(frames.0.is_empty(), "a frame is left unfinished");
    }

    /// What each frame of the answer means, fed one byte at a time.
    pub(in super::super) fn hear(dialogue: &mut dyn Dialogue, bytes: &[u8]) -> Vec<Heard> {
        let (mut frames, mut heard) = (Frames::default(), Vec::new());
        for byte in bytes {
            frames.push(&[*byte]);
            while let Some(frame) = frames.next(|bytes| dialogue.answer_len(bytes)).unwrap() {
                heard.push(dialogue.answer(&frame).unwrap());
            }
        }
        assert!(frames.0.is_empty(), "a frame is left unfinished");
        heard
    }

    /// Work of these texts.
    pub(in super::super) fn work(texts: &[&str]) -> Work {
        texts.iter().map(|&text| text.into()).collect()
    }
}
