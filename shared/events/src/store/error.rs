//! Why a store did not do what it was asked.

use std::error::Error as StdError;
use std::fmt;

/// Why a store did not do it.
#[derive(Debug)]
pub enum StoreError {
    /// The database is away, too slow, or a concurrent change got in the way: the same may work in a moment.
    Transient(Box<dyn StdError + Send + Sync>),
    /// It will fail again: corrupt data, a broken invariant, a defect.
    Permanent(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient(_) => "the store cannot do it now",
            Self::Permanent(_) => "the store cannot do it",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Transient(source) | Self::Permanent(source) => Some(source.as_ref()),
        }
    }
}
