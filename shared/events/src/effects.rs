//! What a consumer does with the events of its stream.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use crate::envelope::Event;
use crate::store::StoreError;

/// Why an effect was not applied.
#[derive(Debug)]
pub enum EffectError {
    /// It is tried again without end: a database is away, a conflict, a timeout.
    Transient(Box<dyn StdError + Send + Sync>),
    /// This event can never be applied: it is parked, and the consumer goes on with other aggregates.
    Permanent(Box<dyn StdError + Send + Sync>),
    /// Nothing more of this stream may be applied until somebody has looked into it.
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

/// What a consumer does with the events of its stream.
pub trait Effects<Tx>: Send + Sync + 'static {
    /// Applies a run of consecutive events in the transaction that moves the mark; the mark is locked already. Before
    /// it changes anything it locks all it needs, in the order orders, transfers, accounts, products, each sorted by
    /// id. Events of unknown types are no error.
    fn apply(&self, tx: &mut Tx, run: &[Event]) -> impl Future<Output = Result<(), EffectError>> + Send;

    /// Whether an event concerns this consumer. One that does not only moves the mark. Nobody waits for that, so it may
    /// be applied a moment later, together with others.
    fn concerns(&self, _event: &Event) -> bool {
        true
    }

    /// Called after the effects of these events have committed, to wake whoever waits for them. Must not block. It is
    /// called at most once for an event, and not at all when the process dies in between.
    fn committed(&self, _events: &[Event]) {}
}
