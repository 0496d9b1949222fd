//! Parked events as Redis keeps them: as the message that operators are shown.

use api::event::v1::ParkedEvent;
use api::violations;
use events::{Parked, cloud_event};
use prost::Message as _;

use crate::error::{Error, Result};

/// A parked event as it is kept.
pub(crate) fn parked_write(consumer: &str, parked: &Parked) -> Vec<u8> {
    let row = ParkedEvent {
        consumer: consumer.to_owned(),
        event: Some(cloud_event::encode(&parked.event)),
        attempts: parked.attempts,
        error: parked.error.clone(),
        park_time: Some(violations::timestamp(parked.parked_at)),
    };
    row.encode_to_vec()
}

/// Reads one back.
pub(super) fn parked_read(bytes: &[u8]) -> Result<Parked> {
    let row = ParkedEvent::decode(bytes).map_err(Error::internal)?;
    let event = row.event.ok_or_else(|| Error::internal("a parked row without an event"))?;
    Ok(Parked {
        event: cloud_event::decode(event).map_err(Error::internal)?,
        attempts: row.attempts,
        error: row.error,
        parked_at: row
            .park_time
            .and_then(|time| violations::time(&time))
            .ok_or_else(|| Error::internal("a parked row without a time"))?,
    })
}
