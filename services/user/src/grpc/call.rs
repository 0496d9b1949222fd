//! What the handlers of changing calls share: who calls, which call it is, and how a repeat is marked.

use auth::{Person, Principal};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Extensions, Request, Response};
use types::RequestKey;
use uuid::Uuid;

use crate::app::{Answer, Idempotency};
use crate::error::{Error, Result};

/// Metadata of an answer that was given before.
pub(super) const REPLAY: &str = "idempotent-replay";

/// The person who calls; the policies of this service's methods admit nobody else to them.
pub(super) fn person<T>(request: &Request<T>) -> Result<Person> {
    let principal = Principal::of(request);
    let person = principal.person().copied();
    person.ok_or_else(|| Error::internal("a method for persons was reached by somebody else"))
}

/// Who is named in the log of what operators do.
pub(crate) fn auditable(extensions: &Extensions) -> String {
    extensions.get().unwrap_or(&Principal::Anyone).key()
}

/// Names a changing call. `secret` fields are not fingerprinted.
pub(super) fn idempotency<T: Message>(
    principal: &Principal,
    method: &'static str,
    request_id: Uuid,
    request: &T,
    secret: &[u32],
) -> Idempotency {
    let key = RequestKey { principal: principal.key(), method, request_id };
    Idempotency { key, fingerprint: api::fingerprint::of(request, secret) }
}

/// The response to a changing call.
pub(super) fn respond<T, R>(answer: Answer<T>, message: impl FnOnce(T) -> R) -> Response<R> {
    let is_replay = answer.is_replay;
    let mut response = Response::new(message(answer.value));
    if is_replay {
        response.metadata_mut().insert(REPLAY, MetadataValue::from_static("true"));
    }
    response
}
