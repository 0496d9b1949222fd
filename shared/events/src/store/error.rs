//! Why a store could not do what it was asked.

use std::error::Error as StdError;
use std::fmt;

/// Why a store could not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// The database is away or too slow, or a concurrent change conflicted: the same may work in a moment.
    Transient(Box<dyn StdError + Send + Sync>),
    /// It would fail again: corrupt data, a broken invariant, a defect.
    Permanent(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient(_) => "the database cannot do this now",
            Self::Permanent(_) => "the database cannot do this",
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
