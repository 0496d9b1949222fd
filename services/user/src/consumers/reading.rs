//! Reading events: what cannot be read never will be.

use std::any::type_name;
use std::str::FromStr;

use events::{EffectError, Event};
use prost::{Message, Name};

/// The payload of an event; `None` when it is of another type.
pub(super) fn read<M: Message + Name + Default>(event: &Event) -> Result<Option<M>, EffectError> {
    event.decode::<M>().transpose().map_err(|error| EffectError::Permanent(error.into()))
}

/// An id in a payload.
pub(super) fn id<T: FromStr>(text: &str) -> Result<T, EffectError> {
    let kind = type_name::<T>().rsplit("::").next().unwrap_or_default();
    text.parse().map_err(|_| EffectError::Permanent(format!("{text:?} is not a {kind}").into()))
}
