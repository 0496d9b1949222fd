//! The spans of events on their way, in the words of OpenTelemetry's conventions for messaging.

use tracing::Span;

use crate::bus::events_channel;
use crate::envelope::Event;
use crate::store::{ConsumerId, Mark};

/// Makes a new span part of the traces with these `traceparent`s.
pub type Continues = fn(&Span, &[&str]);

/// The span of publishing events; none for a heartbeat alone. Of several streams, the first stands for all.
pub(crate) fn send(events: &[Event], continues: Option<Continues>) -> Span {
    let Some(stream) = events.first().map(|event| &event.stream) else {
        return Span::none();
    };
    let span = tracing::info_span!(
        "relay.send",
        otel.name = format_args!("send {stream}"),
        otel.kind = "producer",
        messaging.system = "redis",
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = events_channel(stream),
        messaging.batch.message_count = events.len(),
        stream = stream.as_str(),
    );
    in_traces_of(&span, events, continues);
    span
}

/// The span of a consumer's transaction that applies the events between two marks.
pub(crate) fn process(
    consumer: ConsumerId,
    from: &Mark,
    events: &[Event],
    to: &Mark,
    continues: Option<Continues>,
) -> Span {
    let ConsumerId { name: consumer, stream } = consumer;
    let span = tracing::info_span!(
        "consumer.apply",
        otel.name = format_args!("process {stream}"),
        otel.kind = "consumer",
        messaging.system = "redis",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = events_channel(stream),
        messaging.consumer.group.name = consumer,
        messaging.batch.message_count = events.len(),
        consumer,
        stream,
        first = from.position + 1,
        last = to.position
    );
    in_traces_of(&span, events, continues);
    span
}

/// Makes a span part of the traces of these events.
fn in_traces_of(span: &Span, events: &[Event], continues: Option<Continues>) {
    if let Some(continues) = continues {
        let traceparents = events.iter().filter_map(|event| event.new.headers.traceparent.as_deref());
        continues(span, &traceparents.collect::<Vec<_>>());
    }
}
