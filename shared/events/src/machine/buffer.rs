//! What the channel said during a replay.

use std::collections::VecDeque;
use std::mem;

use super::{Limits, position_of};
use crate::cloud_event::Heard;
use crate::store::Position;

/// Bounded by number and by bytes; what does not fit makes it forget everything, and know that it did.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    heard: VecDeque<Heard>,
    bytes: usize,
    is_lost: bool,
}

impl Buffer {
    pub(super) fn push(&mut self, heard: Heard, limits: &Limits) {
        if self.heard.len() >= limits.events || self.bytes >= limits.buffer_bytes {
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
        self.heard.front().map(position_of)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }
}
