//! What the handlers of all services do in the same way: who calls, what a request asks for, which call it is, and how
//! the answer is sent.
//!
//! A conversion reads a request into the words of the service: `fn(&mut Violations, &Request) -> Option<Wish>`. It looks
//! at every field before it gives up, so that the caller hears of all broken rules at once.

use std::pin::Pin;

use api::call::{Changing, mark_replay};
use api::fingerprint;
use api::refusal::{logged, status};
use api::violations::Violations;
use auth::{Person, Principal};
use futures_util::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status};
use types::{Answer, Call, Failure, RequestKey};

/// The messages of a streaming answer.
pub type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The person who calls.
///
/// # Errors
/// `INTERNAL` when it is somebody else: the policy of a method for persons admits nobody but them.
pub fn person<R>(request: &Request<R>) -> Result<Person, Status> {
    let person = Principal::of(request).person().copied();
    person.ok_or_else(|| status(Failure::internal("a method for persons was called by somebody else")))
}

/// What a reading request asks for.
///
/// # Errors
/// `INVALID_ARGUMENT` with all rules that the request breaks.
pub fn check<R, W>(
    request: &Request<R>,
    convert: impl FnOnce(&mut Violations, &R) -> Option<W>,
) -> Result<W, Status> {
    let caller = Principal::of(request).person().map(|person| person.user_id);
    let mut violations = Violations::of_caller(caller);
    let wish = convert(&mut violations, request.get_ref());
    violations.finish(wish).map_err(status)
}

/// What a changing request asks for, and the call that it is.
///
/// # Errors
/// `INVALID_ARGUMENT` with all rules that the request breaks.
pub fn accept<R: Changing, W>(
    request: &Request<R>,
    convert: impl FnOnce(&mut Violations, &R) -> Option<W>,
) -> Result<(Call, W), Status> {
    let (request_id, wish) = check(request, |violations, message| {
        let request_id = violations.request_id(message.request_id());
        let wish = convert(violations, message);
        request_id.zip(wish)
    })?;
    let key = RequestKey { principal: Principal::of(request).key(), method: R::METHOD, request_id };
    Ok((Call { key, fingerprint: fingerprint::of(request.get_ref()) }, wish))
}

/// The response to a changing call, marked when it was given before.
pub fn respond<T, M>(answer: Answer<T>, message: impl FnOnce(T) -> M) -> Response<M> {
    let is_replay = answer.is_replay;
    let mut response = Response::new(message(answer.value));
    if is_replay {
        mark_replay(response.metadata_mut());
    }
    response
}

/// The response whose messages are those of a stream. What ends the stream early is logged here: of an error in the
/// middle of a stream only its wire form reaches the server.
pub fn stream<M: 'static, E>(
    messages: impl Stream<Item = Result<M, E>> + Send + 'static,
) -> Response<Messages<M>>
where
    E: std::error::Error + Into<Status> + 'static,
{
    Response::new(Box::pin(messages.map(|message| message.map_err(ended_early))))
}

fn ended_early<E: std::error::Error + Into<Status>>(error: E) -> Status {
    let chain = crate::config::redact_url(&types::chain(&error));
    let status: Status = error.into();
    match status.code() {
        Code::Internal => tracing::error!(error = chain, "a stream ended early"),
        Code::Unavailable => tracing::warn!(error = chain, "a stream ended early"),
        _ => tracing::debug!(error = chain, "a stream ended early"),
    }
    logged(status)
}

#[cfg(test)]
mod tests {
    use api::call::REPLAY;
    use api::order::v1::CancelOrderRequest;
    use api::user::v1::SendCreditRequest;
    use tonic_types::StatusExt as _;
    use types::{Role, SessionId, UserId};
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::from_uuid(Uuid::from_u128(1));

    fn from_ann<R>(message: R) -> Request<R> {
        let session_id = SessionId::from_uuid(Uuid::from_u128(2));
        let mut request = Request::new(message);
        let person = Person { user_id: ANN, role: Role::Customer, session_id };
        request.extensions_mut().insert(Principal::User(person));
        request
    }

    #[test]
    fn a_call_is_named_by_its_caller_its_method_and_its_request_id() {
        let request_id = Uuid::from_u128(3);
        let message =
            CancelOrderRequest { request_id: request_id.to_string(), ..CancelOrderRequest::default() };
        let (call, ()) = accept(&from_ann(message.clone()), |_, _| Some(())).unwrap();
        let method = "order.v1.OrderService/CancelOrder";
        assert_eq!(call.key, RequestKey { principal: ANN.to_string(), method, request_id });
        let (other, ()) = accept(&Request::new(message), |_, _| Some(())).unwrap();
        assert_eq!(other.key.principal, "anyone");
        assert_eq!(other.fingerprint, call.fingerprint);
    }

    #[test]
    fn a_request_is_checked_whole_and_against_its_caller() {
        let message = SendCreditRequest { to_user_id: ANN.to_string(), ..SendCreditRequest::default() };
        let refused = accept(&from_ann(message), |v, message| {
            let to = v.another_user("to_user_id", &message.to_user_id, "SAME_ACCOUNT");
            let amount = v.amount("amount", message.amount.as_ref());
            to.zip(amount)
        });
        let status = refused.unwrap_err();
        let details = status.get_details_bad_request().unwrap();
        let broken: Vec<_> = details
            .field_violations
            .iter()
            .map(|violation| format!("{} {}", violation.field, violation.reason))
            .collect();
        assert_eq!(broken, ["request_id REQUIRED", "to_user_id SAME_ACCOUNT", "amount REQUIRED"]);
    }

    #[test]
    fn only_a_person_is_one() {
        assert_eq!(person(&from_ann(())).unwrap().user_id, ANN);
        assert_eq!(person(&Request::new(())).unwrap_err().code(), Code::Internal);
    }

    #[test]
    fn an_answer_says_whether_it_was_given_before() {
        let first = respond(Answer::first(1), |number| number);
        assert!(first.metadata().get(REPLAY).is_none());
        let replay = respond(Answer::replay(1), |number| number);
        assert_eq!(replay.metadata().get(REPLAY).unwrap(), "true");
    }
}
