//! What a consumer does with the events of its stream.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use crate::envelope::Event;
use crate::store::StoreError;

/// Why an effect was not applied.
#[derive(Debug)]
pub enum EffectError {
    /// Try again, without end: a database away, a conflict, a timeout.
    Transient(Box<dyn StdError + Send + Sync>),
    /// This event can never be applied: park it, go on with other aggregates.
    Permanent(Box<dyn StdError + Send + Sync>),
    /// Nothing of this stream may be applied any more until somebody has looked.
    Halt(String),
}

impl fmt::Display for EffectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(_) => f.write_str("the effect cannot be applied now"),
            Self::Permanent(_) => f.write_str("the effect can never be applied"),
            Self::Halt(reason) => write!(f, "the stream must halt: {reason}"),
        }
    }
}

impl StdError for EffectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Transient(source) | Self::Permanent(source) => Some(source.as_ref()),
            Self::Halt(_) => None,
        }
    }
}

impl From<StoreError> for EffectError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Transient(source) => Self::Transient(source),
            StoreError::Permanent(source) => Self::Permanent(source),
        }
    }
}

/// What a consumer does with events.
pub trait Effects<Tx>: Send + Sync + 'static {
    /// Applies a run of consecutive events through the transaction that moves the mark, which is locked
    /// already. Locks everything it needs in the order orders, transfers, accounts, products, each sorted by
    /// id, before it changes anything. Events of types that it does not know are no error.
    fn apply(&self, tx: &mut Tx, run: &[Event]) -> impl Future<Output = Result<(), EffectError>> + Send;

    /// Whether an event says anything to this consumer. One that does not moves the mark and nothing else, and nobody
    /// waits for that: it may wait a moment for others.
    fn concerns(&self, _event: &Event) -> bool {
        true
    }

    /// Called after these events' effects have committed: to wake whoever waits for them. Must not block. Never
    /// called for an event twice, but perhaps not at all: the process may die in between.
    fn committed(&self, _events: &[Event]) {}
}
