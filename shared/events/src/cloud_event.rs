//! An [`Event`] in the CloudEvents protobuf format, which is its form on Redis Pub/Sub, in a replay and in the row of a
//! parked event. `proto/event/v1/envelope.proto` documents the attributes.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use api::event::v1::cloud_event::Data;
use api::event::v1::cloud_event_attribute_value::Attr;
use api::event::v1::{ChannelMessage, CloudEvent, CloudEventAttributeValue, StreamHead, channel_message};
use api::violations;
use bytes::Bytes;
use prost::Message as _;
use types::EventId;
use uuid::Uuid;

use crate::envelope::{Aggregate, Event, Headers, NewEvent, Position};
use crate::store::Head;

/// The longest payload that is sent over Redis Pub/Sub. An event with a longer one is sent without it, because Redis
/// drops a subscriber whose output buffer grows too large.
pub const CHANNEL_PAYLOAD_MAX: usize = 32 * 1024;

const SPEC_VERSION: &str = "1.0";

/// The bytes are not an event of Tristore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an event: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// What came over a stream's channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// An event with its payload.
    Event(Box<Event>),
    /// An event whose payload was too long for the channel.
    Reference {
        /// The stream that it is in.
        stream: String,
        /// The history that its position belongs to.
        epoch: Uuid,
        /// Its place in the stream.
        position: Position,
    },
    /// A heartbeat, with the head of the stream.
    Head(Head),
}

impl Heard {
    /// The stream that it is about.
    #[must_use]
    pub fn stream(&self) -> &str {
        match self {
            Self::Event(event) => &event.stream,
            Self::Reference { stream, .. } => stream,
            Self::Head(head) => &head.stream,
        }
    }

    /// The history that it is about.
    #[must_use]
    pub fn epoch(&self) -> Uuid {
        match self {
            Self::Event(event) => event.epoch,
            Self::Reference { epoch, .. } => *epoch,
            Self::Head(head) => head.epoch,
        }
    }

    /// The position of the event, or of the head.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.position,
            Self::Reference { position, .. } => *position,
            Self::Head(head) => head.position,
        }
    }
}

/// The event as a [`CloudEvent`], with its payload.
#[must_use]
pub fn encode(event: &Event) -> CloudEvent {
    let new = &event.new;
    let text = |text: &str| Attr::CeString(text.to_owned());
    let mut attributes = HashMap::with_capacity(12);
    let mut set = |name: &str, attr: Attr| {
        attributes.insert(name.to_owned(), CloudEventAttributeValue { attr: Some(attr) });
    };
    set("stream", text(&event.stream));
    set("epoch", Attr::CeString(event.epoch.to_string()));
    set("position", Attr::CeString(event.position.to_string()));
    if let Some(previous) = event.previous {
        set("previous", Attr::CeString(previous.to_string()));
    }
    set("aggregatetype", text(&new.aggregate.kind));
    set("subject", text(&new.aggregate.id));
    set("aggregateversion", Attr::CeString(new.aggregate_version.to_string()));
    set("schemaversion", Attr::CeString(new.schema_version.to_string()));
    set("time", Attr::CeTimestamp(violations::timestamp(new.created_at)));
    if let Some(traceparent) = &new.headers.traceparent {
        set("traceparent", text(traceparent));
    }
    if let Some(tracestate) = &new.headers.tracestate {
        set("tracestate", text(tracestate));
    }
    if let Some(request_id) = new.headers.request_id {
        set("requestid", Attr::CeString(request_id.to_string()));
    }
    CloudEvent {
        id: new.id.to_string(),
        source: source(&event.stream),
        spec_version: SPEC_VERSION.to_owned(),
        r#type: new.event_type.clone(),
        attributes,
        data: Some(Data::BinaryData(new.payload.clone())),
    }
}

/// The event in a [`CloudEvent`] that [`encode`] made.
///
/// # Errors
/// When an attribute is missing or malformed, or the payload is missing.
pub fn decode(cloud: CloudEvent) -> Result<Event, Malformed> {
    match decode_any(cloud)? {
        Heard::Event(event) => Ok(*event),
        Heard::Reference { .. } | Heard::Head(_) => Err(Malformed("it has no payload".to_owned())),
    }
}

/// The bytes of an event, as a database keeps them for a parked one.
#[must_use]
pub fn to_bytes(event: &Event) -> Vec<u8> {
    encode(event).encode_to_vec()
}

/// The event in the bytes that [`to_bytes`] made.
///
/// # Errors
/// When the bytes are not such an event.
pub fn from_bytes(bytes: &[u8]) -> Result<Event, Malformed> {
    let cloud = CloudEvent::decode(bytes).map_err(|error| Malformed(error.to_string()))?;
    decode(cloud)
}

/// The message with an event, for its stream's channel.
#[must_use]
pub fn channel_event(event: &Event) -> Bytes {
    let mut cloud = encode(event);
    if event.new.payload.len() > CHANNEL_PAYLOAD_MAX {
        cloud.data = None;
    }
    ChannelMessage { kind: Some(channel_message::Kind::Event(cloud)) }.encode_to_vec().into()
}

/// The message with a heartbeat, for a stream's channel.
#[must_use]
pub fn channel_head(head: &Head) -> Bytes {
    ChannelMessage { kind: Some(channel_message::Kind::Head(encode_head(head))) }.encode_to_vec().into()
}

/// The content of a message on a stream's channel.
///
/// # Errors
/// When it is not a message of Tristore.
pub fn from_channel(bytes: Bytes) -> Result<Heard, Malformed> {
    let message = ChannelMessage::decode(bytes).map_err(|error| Malformed(error.to_string()))?;
    match message.kind {
        Some(channel_message::Kind::Event(cloud)) => decode_any(cloud),
        Some(channel_message::Kind::Head(head)) => decode_head(&head).map(Heard::Head),
        None => Err(Malformed("an empty message".to_owned())),
    }
}

/// A head in its protobuf form.
#[must_use]
pub fn encode_head(head: &Head) -> StreamHead {
    StreamHead {
        stream: head.stream.clone(),
        epoch: head.epoch.to_string(),
        position: head.position,
        event_id: head.event_id.map(|id| id.to_string()).unwrap_or_default(),
        oldest_position: head.oldest,
    }
}

/// The head in its protobuf form.
///
/// # Errors
/// When a field is malformed.
pub fn decode_head(head: &StreamHead) -> Result<Head, Malformed> {
    if head.position < 0 || head.oldest_position < 0 {
        return Err(Malformed("a position is negative".to_owned()));
    }
    Ok(Head {
        stream: head.stream.clone(),
        epoch: parse("epoch", &head.epoch)?,
        position: head.position,
        event_id: match head.event_id.as_str() {
            "" => None,
            id => Some(parse("event_id", id)?),
        },
        oldest: head.oldest_position,
    })
}

/// The CloudEvents source of a stream: the service that owns it.
fn source(stream: &str) -> String {
    let owner = stream.split_once('-').map_or(stream, |(owner, _)| owner);
    format!("/{owner}-service")
}

fn decode_any(cloud: CloudEvent) -> Result<Heard, Malformed> {
    let attributes = Attributes(&cloud.attributes);
    let stream = attributes.text("stream")?.to_owned();
    let epoch = attributes.parse("epoch")?;
    let position: Position = attributes.parse("position")?;
    if position < 1 {
        return Err(Malformed("the position is below 1".to_owned()));
    }
    let payload = match cloud.data {
        Some(Data::BinaryData(payload)) => payload,
        Some(Data::TextData(_)) => return Err(Malformed("the payload is text".to_owned())),
        None => {
            return Ok(Heard::Reference { stream, epoch, position });
        }
    };
    let headers = Headers {
        traceparent: attributes.get("traceparent").map(str::to_owned),
        tracestate: attributes.get("tracestate").map(str::to_owned),
        request_id: attributes.get("requestid").map(|text| parse("requestid", text)).transpose()?,
    };
    let created_at = match cloud.attributes.get("time").and_then(|value| value.attr.as_ref()) {
        Some(Attr::CeTimestamp(time)) => violations::time(time),
        _ => None,
    };
    let new = NewEvent {
        id: parse("id", &cloud.id)?,
        aggregate: Aggregate::new(attributes.text("aggregatetype")?, attributes.text("subject")?),
        aggregate_version: attributes.parse("aggregateversion")?,
        schema_version: attributes.parse("schemaversion")?,
        created_at: created_at.ok_or_else(|| Malformed("`time` is not a time".to_owned()))?,
        event_type: cloud.r#type,
        payload,
        headers,
    };
    let previous: Option<EventId> =
        attributes.get("previous").map(|text| parse("previous", text)).transpose()?;
    Ok(Heard::Event(Box::new(Event { stream, epoch, position, previous, new })))
}

struct Attributes<'a>(&'a HashMap<String, CloudEventAttributeValue>);

impl<'a> Attributes<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        match self.0.get(name).and_then(|value| value.attr.as_ref()) {
            Some(Attr::CeString(text)) => Some(text),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Result<&'a str, Malformed> {
        self.get(name).ok_or_else(|| Malformed(format!("`{name}` is missing")))
    }

    fn parse<T: FromStr>(&self, name: &str) -> Result<T, Malformed> {
        parse(name, self.text(name)?)
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed(format!("`{name}` is not of its form")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::event;

    #[test]
    fn an_event_survives_the_wire() {
        let mut event = event("order", 7);
        for headers in [event.new.headers.clone(), Headers::default()] {
            event.new.headers = headers;
            assert_eq!(from_bytes(&to_bytes(&event)).as_ref(), Ok(&event));
            assert_eq!(from_channel(channel_event(&event)), Ok(Heard::Event(Box::new(event.clone()))));
        }
        let first = Event { position: 1, previous: None, ..event };
        assert_eq!(from_bytes(&to_bytes(&first)), Ok(first));
    }

    #[test]
    fn attributes_are_those_that_the_proto_documents() {
        let cloud = encode(&event("session-07", 7));
        let mut names: Vec<&str> = cloud.attributes.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "aggregatetype",
                "aggregateversion",
                "epoch",
                "position",
                "previous",
                "requestid",
                "schemaversion",
                "stream",
                "subject",
                "time",
                "traceparent",
                "tracestate",
            ]
        );
        assert_eq!((cloud.source.as_str(), cloud.spec_version.as_str()), ("/session-service", "1.0"));
    }

    #[test]
    fn a_long_payload_goes_over_the_channel_as_a_reference_and_an_empty_one_whole() {
        let mut event = event("user", 3);
        event.new.payload = vec![1; CHANNEL_PAYLOAD_MAX + 1].into();
        let reference = Heard::Reference { stream: "user".to_owned(), epoch: event.epoch, position: 3 };
        assert_eq!(from_channel(channel_event(&event)), Ok(reference));
        for payload in [Bytes::new(), vec![1; CHANNEL_PAYLOAD_MAX].into()] {
            event.new.payload = payload;
            assert_eq!(from_channel(channel_event(&event)), Ok(Heard::Event(Box::new(event.clone()))));
        }
    }

    #[test]
    fn a_head_survives_the_wire() {
        let head = Head {
            stream: "order".to_owned(),
            epoch: Uuid::now_v7(),
            position: 9,
            event_id: Some(EventId::from_uuid(Uuid::now_v7())),
            oldest: 2,
        };
        assert_eq!(from_channel(channel_head(&head)), Ok(Heard::Head(head.clone())));
        let empty = Head { position: 0, event_id: None, oldest: 0, ..head };
        assert_eq!(from_channel(channel_head(&empty)), Ok(Heard::Head(empty)));
    }

    #[test]
    fn what_is_no_event_is_refused_and_never_half_read() {
        let good = encode(&event("user", 3));
        for name in ["stream", "epoch", "position", "aggregatetype", "subject", "time"] {
            let mut bad = good.clone();
            bad.attributes.remove(name);
            assert!(decode(bad).is_err(), "without {name}");
        }
        let mut bad = good.clone();
        let negative = CloudEventAttributeValue { attr: Some(Attr::CeString("-1".to_owned())) };
        bad.attributes.insert("position".to_owned(), negative);
        assert_eq!(decode(bad), Err(Malformed("the position is below 1".to_owned())));
        assert_eq!(from_channel(Bytes::new()), Err(Malformed("an empty message".to_owned())));
        assert!(from_channel(Bytes::from_static(b"\xff\xff")).is_err());
    }
}
