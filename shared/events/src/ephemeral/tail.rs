//! The newest event that was heard of a stream: whether the next one follows it, and whether the stream is live.

use types::EventId;
use uuid::Uuid;

use super::listener::Listener;
use crate::cloud_event::Heard;
use crate::envelope::{Event, Position};
use crate::store::Head;

/// After so many ticks without a message a stream is not live.
const SILENT_TICKS: u32 = 3;
/// One head below what was heard may be late; so many in a row mean that the stream was rewound.
const LOW_HEADS: u32 = 3;

/// What was heard last of one stream.
#[derive(Debug)]
pub(super) struct Tail {
    stream: String,
    at: Option<At>,
    silent_ticks: u32,
    low_heads: u32,
}

#[derive(Debug, Clone, Copy)]
struct At {
    epoch: Uuid,
    position: Position,
    /// `None` after an event that came without its payload.
    event_id: Option<EventId>,
}

impl Tail {
    pub(super) fn new(stream: String) -> Self {
        Self { stream, at: None, silent_ticks: 0, low_heads: 0 }
    }

    pub(super) fn heard(&mut self, heard: &Heard, listener: &impl Listener) {
        self.silent_ticks = 0;
        match heard {
            Heard::Event(event) => {
                let at = At { epoch: event.epoch, position: event.position, event_id: Some(event.new.id) };
                match self.at {
                    Some(now) if now.epoch == at.epoch && at.position <= now.position => return,
                    Some(now) if follows(&now, event) => self.at = Some(at),
                    _ => self.jump(at, listener),
                }
                listener.on_event(event);
            }
            Heard::Reference { epoch, position, .. } => {
                let known = self.at.is_some_and(|now| now.epoch == *epoch && *position <= now.position);
                if !known {
                    self.jump(At { epoch: *epoch, position: *position, event_id: None }, listener);
                }
            }
            Heard::Head(head) => self.head(head, listener),
        }
    }

    fn head(&mut self, head: &Head, listener: &impl Listener) {
        let at = At { epoch: head.epoch, position: head.position, event_id: head.event_id };
        match self.at {
            Some(now) if now.epoch == at.epoch && now.position == at.position => self.low_heads = 0,
            Some(now) if now.epoch == at.epoch && now.position > at.position => {
                self.low_heads += 1;
                if self.low_heads >= LOW_HEADS {
                    self.jump(at, listener);
                }
            }
            // Events are published before the head that includes them, so some were lost.
            _ => self.jump(at, listener),
        }
    }

    /// Goes on at another place. What came before it is unknown.
    fn jump(&mut self, to: At, listener: &impl Listener) {
        let was_live = self.at.replace(to).is_some();
        self.low_heads = 0;
        listener.on_clear(&self.stream);
        if !was_live {
            listener.on_live(&self.stream, true);
        }
    }

    pub(super) fn tick(&mut self, listener: &impl Listener) {
        self.silent_ticks += 1;
        if self.silent_ticks >= SILENT_TICKS {
            self.lost(listener);
        }
    }

    pub(super) fn lost(&mut self, listener: &impl Listener) {
        if self.at.take().is_some() {
            listener.on_live(&self.stream, false);
            listener.on_clear(&self.stream);
        }
    }
}

fn follows(now: &At, event: &Event) -> bool {
    now.epoch == event.epoch
        && now.position + 1 == event.position
        && (now.event_id.is_none() || now.event_id == event.previous)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{Calls, EPOCH, event, event_id};

    fn tail() -> (Tail, Calls) {
        (Tail::new("s".to_owned()), Calls::default())
    }

    fn at(position: Position) -> Heard {
        Heard::Event(Box::new(event("s", position)))
    }

    fn head(epoch: Uuid, position: Position) -> Heard {
        let event_id = (position > 0).then(|| event_id(position));
        Heard::Head(Head { stream: "s".to_owned(), epoch, position, event_id, oldest: 1 })
    }

    #[test]
    fn it_is_live_from_the_first_head_and_passes_each_event_on_once() {
        let (mut tail, list) = tail();
        for heard in [head(EPOCH, 4), at(5), at(5), at(4), head(EPOCH, 5), at(6)] {
            tail.heard(&heard, &list);
        }
        assert_eq!(list.take(), ["clear", "live true", "event 5", "event 6"]);
    }

    #[test]
    fn whatever_may_have_been_missed_clears_the_cache() {
        let (mut tail, list) = tail();
        tail.heard(&head(EPOCH, 4), &list);
        list.take();
        tail.heard(&at(6), &list);
        assert_eq!(list.take(), ["clear", "event 6"], "a gap");
        tail.heard(&head(EPOCH, 7), &list);
        assert_eq!(list.take(), ["clear"], "a lost tail");
        tail.heard(&Heard::Reference { stream: "s".to_owned(), epoch: EPOCH, position: 8 }, &list);
        assert_eq!(list.take(), ["clear"], "an event without its payload");
        tail.heard(&at(9), &list);
        assert_eq!(list.take(), ["event 9"]);
        let mut other = event("s", 10);
        other.previous = Some(event_id(1));
        tail.heard(&Heard::Event(Box::new(other)), &list);
        assert_eq!(list.take(), ["clear", "event 10"], "another history");
        tail.heard(&head(Uuid::from_u128(9), 10), &list);
        assert_eq!(list.take(), ["clear"], "another epoch");
    }

    #[test]
    fn silence_ends_it_and_the_next_word_begins_it_anew() {
        let (mut tail, list) = tail();
        tail.heard(&head(EPOCH, 4), &list);
        list.take();
        tail.tick(&list);
        tail.tick(&list);
        assert_eq!(list.take(), [""; 0]);
        tail.tick(&list);
        assert_eq!(list.take(), ["live false", "clear"]);
        tail.tick(&list);
        tail.heard(&at(5), &list);
        assert_eq!(list.take(), ["clear", "live true", "event 5"]);
    }

    #[test]
    fn one_late_head_is_ignored_and_a_rewound_stream_is_not() {
        let (mut tail, list) = tail();
        tail.heard(&head(EPOCH, 4), &list);
        list.take();
        for heard in [head(EPOCH, 3), head(EPOCH, 4), head(EPOCH, 3), head(EPOCH, 3)] {
            tail.heard(&heard, &list);
        }
        assert_eq!(list.take(), [""; 0]);
        tail.heard(&head(EPOCH, 3), &list);
        assert_eq!(list.take(), ["clear"]);
    }
}
