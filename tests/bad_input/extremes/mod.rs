//! A caller's number at its end, and a text or a list at its length: generated from the descriptors for every field of
//! every request. Nothing of it may wrap around, panic, or cost more than the call has time for.
//!
//! The rest of each request is good, so that the extreme is not refused for another reason before it gets anywhere.

mod requests;
mod values;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream};
use prost::Message as _;
use testkit::ServiceName;
use tests::status::code_and_reason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use self::requests::{Asked, asked_methods};
use self::values::Variant;
use crate::raw::{self, Connection};
use crate::stage::Stage;

/// How many calls are on their way at once.
const AT_ONCE: usize = 16;
/// Long enough for any look into an index on a busy machine, far too short for a wait or a defect to hide in.
const UNARY_WITHIN: &str = "10S";
/// A stream that has nothing to say stays open: its caller ends it.
const STREAM_WITHIN: &str = "500m";

/// One call and what came of it.
struct Outcome<'a> {
    asked: &'a Asked,
    variant: Variant,
    status: Status,
}

impl Outcome<'_> {
    fn name(&self) -> String {
        format!("{} at {}: {}", self.asked.path, self.asked.service, self.variant.what)
    }

    /// Whether the caller got an answer that is about the call.
    fn is_plain(&self) -> bool {
        let (code, reason) = code_and_reason(&self.status);
        match code {
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange => true,
            Code::ResourceExhausted => reason != "OVERLOADED",
            Code::DeadlineExceeded => self.asked.method.is_server_streaming(),
            Code::Internal
            | Code::Unknown
            | Code::DataLoss
            | Code::Unavailable
            | Code::Unimplemented
            | Code::Cancelled => false,
        }
    }

    /// The limit that the answer tells for the field that was changed, with the rule's name.
    fn told_limit(&self) -> Option<(i64, String)> {
        let details = self.status.get_error_details();
        let broken = details.bad_request()?.field_violations.iter();
        let mut told = broken.filter(|broken| broken.field == self.variant.field);
        told.find_map(|broken| Some((limit_in(&broken.description)?, broken.reason.clone())))
    }

    fn breaks(&self, reason: &str) -> bool {
        let details = self.status.get_error_details();
        let broken = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        broken.iter().any(|broken| broken.field == self.variant.field && broken.reason == reason)
    }
}

/// The number in `at most 100 items` and in `must be 1 to 100`.
fn limit_in(description: &str) -> Option<i64> {
    let number = ["at most ", " to "].into_iter().find_map(|words| description.split_once(words))?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Makes the calls and gives what came of each, in their order.
async fn call_all<'a>(
    stage: &Stage,
    calls: impl IntoIterator<Item = (&'a Asked, Variant)>,
) -> Result<Vec<Outcome<'a>>> {
    let mut connections = BTreeMap::new();
    for service in ServiceName::ALL {
        connections.insert(service.binary(), Connection::open(&stage.address(service)).await?);
    }
    let mut tokens: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut prepared = Vec::new();
    for (asked, variant) in calls {
        let token = match tokens.get(asked.caller) {
            Some(token) => token.clone(),
            None => stage.token(asked.caller)?.map(|token| format!("Bearer {token}")),
        };
        tokens.insert(asked.caller, token.clone());
        prepared.push((asked, variant, token, connections[asked.service.binary()].clone()));
    }
    let outcomes = prepared.into_iter().map(|(asked, variant, token, connection)| async move {
        let within = if asked.method.is_server_streaming() { STREAM_WITHIN } else { UNARY_WITHIN };
        let mut headers = vec![("grpc-timeout", within)];
        headers.extend(token.as_deref().map(|token| ("authorization", token)));
        let message = raw::frame(&variant.message.encode_to_vec());
        let answer = connection.call(&asked.path, &headers, message).await;
        let answer = answer.with_context(|| format!("{}: {}", asked.path, variant.what))?;
        Ok(Outcome { asked, variant, status: answer.status })
    });
    let outcomes: Vec<Result<Outcome<'_>>> = stream::iter(outcomes).buffered(AT_ONCE).collect().await;
    outcomes.into_iter().collect()
}

/// CLAIM: every number, time, text and list of every request can be at its end, alone, and is answered plainly; and a
/// limit that an answer tells is the one that holds.
#[tokio::test]
async fn each_field_at_its_end_gets_a_plain_answer() -> Result<()> {
    let stage = &Stage::get().await?;
    let methods = asked_methods(stage).await?;

    let good =
        call_all(stage, methods.iter().flat_map(|asked| asked.good().map(move |good| (asked, good)))).await?;
    let bad: Vec<String> = good
        .iter()
        .filter(|good| {
            !good.is_plain() || matches!(good.status.code(), Code::InvalidArgument | Code::PermissionDenied)
        })
        .map(|good| format!("{}: {:?}", good.name(), good.status))
        .collect();
    ensure!(bad.is_empty(), "requests that should be good are not:\n{}", bad.join("\n"));

    let extremes = methods.iter().flat_map(|asked| asked.extremes().map(move |variant| (asked, variant)));
    let outcomes = call_all(stage, extremes).await?;
    let mut told: BTreeMap<String, (&Asked, Variant, i64, String)> = BTreeMap::new();
    for outcome in &outcomes {
        if let Some((limit, reason)) = outcome.told_limit() {
            let key = format!("{} {} {reason}", outcome.asked.path, outcome.variant.field);
            told.entry(key).or_insert((outcome.asked, outcome.variant.clone(), limit, reason));
        }
    }
    let mut failures: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.is_plain())
        .map(|outcome| format!("{}: {:?}", outcome.name(), outcome.status))
        .collect();

    let mut at_limits = Vec::new();
    for (asked, variant, limit, reason) in told.values() {
        for (beyond, value) in [(false, *limit), (true, limit.saturating_add(1))] {
            if let Some(variant) = asked.at(variant, value) {
                at_limits.push((*asked, variant, beyond, reason.as_str()));
            }
        }
    }
    let calls = at_limits.iter().map(|(asked, variant, ..)| (*asked, variant.clone()));
    let answered = call_all(stage, calls).await?;
    for (outcome, (.., beyond, reason)) in answered.iter().zip(&at_limits) {
        // A text of one letter is no address, however short.
        let is_told = outcome.breaks(reason) == *beyond || *reason == "INVALID_EMAIL";
        if !outcome.is_plain() || !is_told {
            failures.push(format!("{}, {reason}: {:?}", outcome.name(), outcome.status));
        }
    }

    ensure!(outcomes.len() > 2000 && answered.len() > 20, "too few: the descriptors were not read");
    ensure!(failures.is_empty(), "{} answers:\n{}", failures.len(), failures.join("\n"));
    stage.system.books_balance().await?;
    stage.system.no_errors_logged()
}

#[test]
fn a_limit_is_read_from_the_words_that_tell_it() {
    assert_eq!(limit_in("must have at most 100 items"), Some(100));
    assert_eq!(limit_in("must be 1 to 10000"), Some(10_000));
    assert_eq!(limit_in("must not be negative"), None);
    assert_eq!(limit_in("must name fields of the resource: title, body"), None);
}
