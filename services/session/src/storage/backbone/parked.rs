//! The events that a durable consumer has parked, and the last act of an operator on them.

use events::{Act, Parked};
use types::EventId;

use super::messages::parked_read;
use crate::error::{Error, Result};
use crate::storage::{Store, keys};

impl Store {
    /// The last act of an operator on a consumer's parked events.
    pub(crate) async fn act_fetch(&self, name: &str) -> Result<Option<Act>> {
        let [key, _] = keys::consumer(name);
        let fields = ["act_request", "act_outcome"];
        let values: [Option<String>; 2] = self.redis.run(&redis::Cmd::hmget(key, &fields)).await?;
        let [Some(request_id), Some(outcome)] = values else { return Ok(None) };
        Ok(Some(Act { request_id: request_id.parse().map_err(Error::internal)?, outcome }))
    }

    /// Whether a consumer has parked events.
    pub(crate) async fn parked_is_there(&self, name: &str) -> Result<bool> {
        let [_, parked] = keys::consumer(name);
        self.redis.run(&redis::Cmd::exists(parked)).await
    }

    /// A parked event.
    pub(crate) async fn parked_fetch(&self, name: &str, id: EventId) -> Result<Option<Parked>> {
        let [_, parked] = keys::consumer(name);
        let value: Option<Vec<u8>> = self.redis.run(&redis::Cmd::hget(parked, id.to_string())).await?;
        value.map(|value| parked_read(&value)).transpose()
    }

    /// All parked events of a consumer, in order. Many events may wait behind the first one of an aggregate, so this is
    /// not to be read for every event that is applied.
    pub(crate) async fn parked_all(&self, name: &str) -> Result<Vec<Parked>> {
        let [_, parked] = keys::consumer(name);
        let values: Vec<Vec<u8>> = self.redis.run(&redis::Cmd::hvals(parked)).await?;
        let mut parked = values.iter().map(|value| parked_read(value)).collect::<Result<Vec<_>>>()?;
        parked.sort_by_key(|parked| parked.event.position);
        Ok(parked)
    }
}
