//! A call that changes something, and its answer: repeated with the same request id, it gives the first answer again.

use uuid::Uuid;

use crate::{Failure, Fingerprint};

/// Names one intent of one caller. All three parts together are unique: for ever where money or an order is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Who asks: a user's id, a service's name, or `anyone` for a method without identity.
    pub principal: String,
    /// The full method name, such as `order.v1.OrderService/PlaceOrder`.
    pub method: &'static str,
    /// Made by the client before the first try.
    pub request_id: Uuid,
}

/// A call that changes something: which one it is, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Names the intent.
    pub key: RequestKey,
    /// What the request says, to tell a repeat from another request under the same id.
    pub fingerprint: Fingerprint,
}

impl Call {
    /// Compares this call with the first one under its request id.
    ///
    /// # Errors
    /// [`Failure::RequestIdReused`] when the first one said something else.
    pub fn require_same(&self, first: &Fingerprint) -> Result<(), Failure> {
        if first.same_content(&self.fingerprint) {
            return Ok(());
        }
        let fields = first.differing_fields(&self.fingerprint);
        Err(Failure::RequestIdReused { method: self.key.method, fields })
    }
}

/// The answer to a [`Call`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<T> {
    /// What the caller is told.
    pub value: T,
    /// Whether an earlier call with the same request id was given this answer first.
    pub is_replay: bool,
}

impl<T> Answer<T> {
    /// The answer of the call that did the work.
    pub const fn first(value: T) -> Self {
        Self { value, is_replay: false }
    }

    /// The first call's answer, given again.
    pub const fn replay(value: T) -> Self {
        Self { value, is_replay: true }
    }

    /// The same answer in other words.
    pub fn map<U>(self, say: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: say(self.value), is_replay: self.is_replay }
    }
}

/// How long the outcome of a [`Call`] is kept for its repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The call concerns an order or money.
    Forever,
    /// Everything else: as long as a client may still be trying.
    ThirtyDays,
}
