//! What the handlers of changing calls share: who calls, which call it is, and how a repeat is marked.

use api::fingerprint;
use auth::{Person, Principal};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response};
use types::RequestKey;
use uuid::Uuid;

use super::status::REPLAY;
use crate::app::{Answer, Call, Caller};
use crate::error::{Error, Result};

/// The person who calls; the policies of this service's methods admit nobody else to them.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller> {
    match Principal::of(request).person() {
        Some(Person { user_id, role, .. }) => Ok(Caller { user_id: *user_id, role: *role }),
        None => Err(Error::internal("a method for persons was reached by somebody else")),
    }
}

/// Names a changing call.
pub(super) fn call<T: Message>(caller: Caller, method: &'static str, request_id: Uuid, request: &T) -> Call {
    let key = RequestKey { principal: caller.user_id.to_string(), method, request_id };
    Call { key, fingerprint: fingerprint::of(request, &[]) }
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
