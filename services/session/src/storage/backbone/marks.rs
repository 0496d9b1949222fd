//! How far a durable consumer has come: its mark.

use std::time::Duration;

use events::{Mark, Position};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::storage::driver::{Reply, millis};
use crate::storage::{Store, keys, scripts};

impl Store {
    /// Whether a consumer has a mark. Without one nobody gets its lease.
    pub(crate) async fn mark_exists(&self, name: &str) -> Result<bool> {
        Ok(self.mark_fetch(name).await?.is_some())
    }

    /// Makes the mark of a consumer that has none; `false` when there is one already.
    pub(crate) async fn mark_begin(&self, name: &str, at: &Mark) -> Result<bool> {
        let [mark, _] = keys::consumer(name);
        let mut script = scripts::CONSUMER_BEGIN.key(mark);
        script.arg(&mark_texts(at)[..]);
        self.redis.script(&script).await
    }

    /// Renews a resync's hold; `false` when the consumer is not held for it any more.
    pub(crate) async fn resync_renew(&self, name: &str, held: &str, duration: Duration) -> Result<bool> {
        let [mark, _] = keys::consumer(name);
        let mut script = scripts::RESYNC_HOLDS.key(mark);
        script.arg(held).arg(millis(duration));
        self.redis.script(&script).await
    }

    /// A consumer's mark; `None` when there is none.
    pub(crate) async fn mark_fetch(&self, name: &str) -> Result<Option<MarkState>> {
        let [key, _] = keys::consumer(name);
        let fields = ["epoch", "position", "event_id", "version", "halted"];
        let values: [Option<String>; 5] = self.redis.run(&redis::Cmd::hmget(key, &fields)).await?;
        let [Some(epoch), Some(position), Some(event_id), Some(version), halted] = values else {
            return Ok(None);
        };
        let position = position.parse().map_err(Error::internal)?;
        let mark = mark_read(&epoch, position, &event_id)?;
        Ok(Some(MarkState { mark, version, halted: halted.filter(|reason| !reason.is_empty()) }))
    }
}

/// A consumer's mark with what is kept beside it.
pub(crate) struct MarkState {
    pub(crate) mark: Mark,
    /// Changed by whatever changes the mark; see [`super::super::Tx`].
    pub(crate) version: String,
    /// Why the consumer is halted, if it is.
    pub(crate) halted: Option<String>,
}

/// A mark as it is kept. An epoch that is not known yet is empty, and so is the id before the first event.
pub(crate) fn mark_texts(mark: &Mark) -> [String; 3] {
    let epoch = if mark.epoch.is_nil() { String::new() } else { mark.epoch.to_string() };
    let event_id = mark.event_id.map(|id| id.to_string()).unwrap_or_default();
    [epoch, mark.position.to_string(), event_id]
}

pub(super) fn mark_next(reply: &mut Reply) -> Result<Mark> {
    mark_read(&reply.next::<String>()?, reply.next()?, &reply.next::<String>()?)
}

fn mark_read(epoch: &str, position: Position, event_id: &str) -> Result<Mark> {
    Ok(Mark {
        epoch: if epoch.is_empty() {
            Uuid::nil()
        } else {
            Uuid::try_parse(epoch).map_err(Error::internal)?
        },
        position,
        event_id: (!event_id.is_empty()).then(|| event_id.parse()).transpose().map_err(Error::internal)?,
    })
}
