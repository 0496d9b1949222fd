//! Wakes the calls of this process that wait for a transfer which another replica has moved: as long as there are such
//! calls, this replica hears stream `order`. What is not heard is found by the call's next look.

use std::sync::Arc;

use api::order::v1::{TransferCancelled, TransferCompleted};
use events::{Event, Listener};
use prost::Name as _;

use crate::transfers::{Moved, Waiters};

/// Passes on what stream `order` tells of transfers.
#[derive(Debug)]
pub(crate) struct Moves(Arc<Waiters>);

impl Moves {
    /// Wakes these.
    pub(crate) const fn new(waiters: Arc<Waiters>) -> Self {
        Self(waiters)
    }
}

impl Listener for Moves {
    fn on_event(&self, event: &Event) {
        let new = &event.new;
        if new.aggregate.kind != "transfer" {
            return;
        }
        let ends = [TransferCompleted::full_name(), TransferCancelled::full_name()];
        let moved = if ends.contains(&new.event_type) { Moved::ToItsEnd } else { Moved::On };
        if let Ok(id) = new.aggregate.id.parse() {
            self.0.wake([(id, moved)]);
        }
    }

    fn on_clear(&self, _stream: &str) {}

    fn on_live(&self, _stream: &str, _live: bool) {}

    fn is_listening(&self) -> bool {
        self.0.is_anybody_waiting()
    }
}
