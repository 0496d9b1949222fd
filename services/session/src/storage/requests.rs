//! Answers to requests that may be repeated.

use types::{Fingerprint, RequestKey};

use super::connection::Reply;
use super::{Store, keys, millis, script};
use crate::domain::Partition;
use crate::error::{Error, Result};

/// The outcome of an effect under a `request_id`.
#[derive(Debug)]
pub(crate) enum Keyed<T> {
    /// It happened now.
    First(T),
    /// It happened before; this was the answer.
    Replayed(T),
    /// The id stands for another content.
    Other(Fingerprint),
}

impl<T> Keyed<T> {
    pub(super) fn other(reply: &mut Reply) -> Result<Self> {
        let bytes: Vec<u8> = reply.next()?;
        Fingerprint::from_bytes(bytes)
            .map(Self::Other)
            .ok_or_else(|| Error::internal("a damaged fingerprint"))
    }

    /// The answer and whether it is a repeat.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] when the id stands for another content than `fingerprint`.
    pub(crate) fn answer(self, method: &'static str, fingerprint: &Fingerprint) -> Result<(T, bool)> {
        match self {
            Self::First(answer) => Ok((answer, false)),
            Self::Replayed(answer) => Ok((answer, true)),
            Self::Other(known) => {
                Err(Error::RequestIdReused { fields: known.differing_fields(fingerprint), method })
            }
        }
    }
}

impl Store {
    /// Claims a `request_id` for a content in the principal's own partition; needed when the effect is in
    /// another one.
    pub(crate) async fn request_claim(
        &self,
        partition: Partition,
        request: &RequestKey,
        fingerprint: &Fingerprint,
    ) -> Result<Keyed<()>> {
        let mut call = script::REQUEST_CLAIM.key(keys::request(partition, request));
        call.arg(fingerprint.as_bytes()).arg(millis(self.options.lifetimes.request));
        let mut reply: Reply = self.redis.script(&call).await?;
        fault::point!("request.claimed", request.method);
        if reply.next::<String>()? == "OTHER" { Keyed::other(&mut reply) } else { Ok(Keyed::First(())) }
    }

    /// Frees a `request_id` that was claimed for this content and took no effect.
    pub(crate) async fn request_release(
        &self,
        partition: Partition,
        request: &RequestKey,
        fingerprint: &Fingerprint,
    ) -> Result<()> {
        let mut call = script::REQUEST_RELEASE.key(keys::request(partition, request));
        call.arg(fingerprint.as_bytes());
        self.redis.script(&call).await
    }
}
