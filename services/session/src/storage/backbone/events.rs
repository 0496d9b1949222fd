//! The events of sessions: their payloads for the scripts, and how an entry of a stream is read.

use std::collections::HashMap;

pub(crate) use api::session::v1::session_revoked::Cause;
use api::session::v1::{AllSessionsRevoked, SessionCreated, SessionRefreshed, SessionRevoked};
use bytes::Bytes;
use events::{Aggregate, Event, Headers, NewEvent};
use prost::Message as _;
use redis::FromRedisValue;
use redis::streams::StreamId;
use types::{EventId, SessionId, UserId};
use uuid::Uuid;

use crate::domain::Partition;
use crate::error::{Error, Result};
use crate::storage::driver::time_of;

/// The kind of the aggregate; its id is the user's.
const AGGREGATE: &str = "user_sessions";
/// Placeholders for ids that only the script knows; see `payload_fill` in `prelude.lua`.
const SESSION: &str = "ssssssssssssssssssssssssssssssssssss";
const USER: &str = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

pub(crate) fn created(session: SessionId, user: UserId) -> Vec<u8> {
    SessionCreated { session_id: session.to_string(), user_id: user.to_string() }.encode_to_vec()
}

/// With placeholders for the session and the user.
pub(crate) fn refreshed() -> Vec<u8> {
    SessionRefreshed { session_id: SESSION.to_owned(), user_id: USER.to_owned() }.encode_to_vec()
}

pub(crate) fn revoked(session: SessionId, user: UserId, cause: Cause) -> Vec<u8> {
    let (session_id, user_id) = (session.to_string(), user.to_string());
    SessionRevoked { session_id, user_id, cause: cause.into() }.encode_to_vec()
}

/// With placeholders for the session and the user.
pub(crate) fn revoked_somewhere(cause: Cause) -> Vec<u8> {
    let (session_id, user_id) = (SESSION.to_owned(), USER.to_owned());
    SessionRevoked { session_id, user_id, cause: cause.into() }.encode_to_vec()
}

pub(crate) fn all_revoked(user: UserId, auth_epoch: i64) -> Vec<u8> {
    AllSessionsRevoked { user_id: user.to_string(), auth_epoch }.encode_to_vec()
}

/// The position in an entry's id.
pub(super) fn position(entry: &StreamId) -> Result<i64> {
    entry
        .id
        .strip_suffix("-0")
        .and_then(|position| position.parse().ok())
        .ok_or_else(|| Error::internal(format!("{} is not the id of an event", entry.id)))
}

/// Reads an entry of a stream.
pub(super) fn event(partition: Partition, epoch: Uuid, entry: StreamId) -> Result<Event> {
    let position = position(&entry)?;
    let mut fields = Fields(entry.map, position);
    let previous = fields.text("previous")?;
    let traceparent = fields.text("traceparent")?;
    let request = fields.text("request")?;
    Ok(Event {
        stream: partition.stream(),
        epoch,
        position,
        previous: (!previous.is_empty()).then(|| previous.parse()).transpose().map_err(Error::internal)?,
        new: NewEvent {
            id: fields.id()?,
            aggregate: Aggregate::new(AGGREGATE, fields.text("aggregate")?),
            aggregate_version: fields.take("version")?,
            event_type: fields.text("type")?,
            schema_version: fields.take("schema")?,
            payload: Bytes::from(fields.take::<Vec<u8>>("payload")?),
            headers: Headers {
                traceparent: (!traceparent.is_empty()).then_some(traceparent),
                tracestate: None,
                request_id: Uuid::try_parse(&request).ok(),
            },
            created_at: time_of(fields.take("at")?)?,
        },
    })
}

/// The id of the event in an entry, and when it was appended, in milliseconds since 1970.
pub(super) fn id_and_time(entry: StreamId) -> Result<(EventId, i64)> {
    let position = position(&entry)?;
    let mut fields = Fields(entry.map, position);
    Ok((fields.id()?, fields.take("at")?))
}

/// The fields of an entry that are not read yet, and its position.
struct Fields(HashMap<String, redis::Value>, i64);

impl Fields {
    fn take<T: FromRedisValue>(&mut self, name: &str) -> Result<T> {
        let value = self.0.remove(name);
        let value = value.ok_or_else(|| Error::internal(format!("event {} has no {name}", self.1)))?;
        redis::from_redis_value(value).map_err(Error::internal)
    }

    fn text(&mut self, name: &str) -> Result<String> {
        self.take(name)
    }

    fn id(&mut self) -> Result<EventId> {
        self.text("id")?.parse().map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_with_placeholders_has_the_length_of_a_real_one() {
        let id = Uuid::now_v7();
        let real = revoked(SessionId::from_uuid(id), UserId::from_uuid(id), Cause::RefreshReused);
        let filled = revoked_somewhere(Cause::RefreshReused);
        assert_eq!(real.len(), filled.len());
        let text = String::from_utf8(filled).unwrap();
        assert_eq!((text.matches(SESSION).count(), text.matches(USER).count()), (1, 1));
    }
}
