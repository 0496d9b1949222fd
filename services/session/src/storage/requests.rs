//! The request ids of calls that may be repeated. Their answers are kept by the scripts of the effects.

use types::{Call, Fingerprint};

use super::driver::{Reply, millis};
use super::{Store, keys, scripts};
use crate::domain::Partition;
use crate::error::{Error, Result};

/// The failure of a call whose request id stands for another content: the reply goes on with that of the first call.
pub(super) fn reused(call: &Call, reply: &mut Reply) -> Error {
    let first = reply.next().map(Fingerprint::from_bytes);
    match first {
        Ok(Some(first)) => match call.require_same(&first) {
            Err(reused) => reused.into(),
            Ok(()) => Error::internal("a script took a repeat for another request"),
        },
        Ok(None) => Error::internal("a damaged fingerprint"),
        Err(error) => error,
    }
}

impl Store {
    /// Claims a call's request id for its content in the caller's own partition; needed when the effect is in another
    /// one.
    pub(crate) async fn request_claim(&self, partition: Partition, call: &Call) -> Result<()> {
        let mut script = scripts::REQUEST_CLAIM.key(keys::request(partition, &call.key));
        script.arg(call.fingerprint.as_bytes()).arg(millis(self.options.lifetimes.request));
        let mut reply: Reply = self.redis.script(&script).await?;
        fault::point!("request.claimed", call.key.method);
        if reply.next::<String>()? == "OTHER" { Err(reused(call, &mut reply)) } else { Ok(()) }
    }

    /// Frees a request id that was claimed for this content and took no effect.
    pub(crate) async fn request_release(&self, partition: Partition, call: &Call) -> Result<()> {
        let mut script = scripts::REQUEST_RELEASE.key(keys::request(partition, &call.key));
        script.arg(call.fingerprint.as_bytes());
        self.redis.script(&script).await
    }
}
