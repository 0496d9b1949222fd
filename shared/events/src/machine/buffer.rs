//! What the channel said during a replay.

use std::collections::VecDeque;
use std::mem;

use crate::cloud_event::Heard;
use crate::envelope::Position;

/// Bounded by number and by bytes; what does not fit makes it forget everything, and know that it did.
#[derive(Debug)]
pub(super) struct Buffer {
    events_max: usize,
    bytes_max: usize,
    heard: VecDeque<Heard>,
    bytes: usize,
    is_lost: bool,
}

impl Buffer {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { events_max, bytes_max, heard: VecDeque::new(), bytes: 0, is_lost: false }
    }

    pub(super) fn push(&mut self, heard: Heard) {
        if self.heard.len() >= self.events_max || self.bytes >= self.bytes_max {
            self.clear();
            self.is_lost = true;
        }
        if let Heard::Event(event) = &heard {
            self.bytes += event.new.payload.len();
        }
        self.heard.push_back(heard);
    }

    pub(super) fn clear(&mut self) {
        self.heard.clear();
        self.bytes = 0;
    }

    /// Everything, unless some of it was lost: then nothing.
    pub(super) fn take(&mut self) -> Option<VecDeque<Heard>> {
        let heard = mem::take(&mut self.heard);
        self.bytes = 0;
        (!mem::take(&mut self.is_lost)).then_some(heard)
    }

    pub(super) fn first_position(&self) -> Option<Position> {
        self.heard.front().map(Heard::position)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }
}
