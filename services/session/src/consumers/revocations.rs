//! Ends the sessions that a user has when user service deactivates or deletes the user, or changes the role or the password.

use api::user::v1::{UserDeactivated, UserDeleted, UserPasswordChanged, UserRoleChanged};
use events::{ConsumerId, EffectError, Effects, Event, Headers};
use types::UserId;

use crate::storage::Tx;

/// The consumer of stream `user` that ends sessions.
pub(crate) const REVOCATIONS: ConsumerId = ConsumerId { name: "session.revocations", stream: "user" };

/// Ends the sessions that have a lower auth epoch than the event. An event that comes late or twice ends no newer
/// session, so the consumer's mark may move after its effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revocations;

impl Effects<Tx> for Revocations {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        for event in run {
            let Some((user_id, auth_epoch)) = revocation(event)? else { continue };
            let ended = tx.store().session_revoke_below(user_id, auth_epoch, &caused_by(event)).await?;
            tracing::info!(target: "audit", { user.id = %user_id, auth_epoch, ended, cause = event.new.event_type }, "sessions were revoked");
        }
        Ok(())
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(revocation(event), Ok(None))
    }
}

/// Whose sessions end below which epoch; `None` for an event that ends none.
fn revocation(event: &Event) -> Result<Option<(UserId, i64)>, EffectError> {
    let permanent = |error: Box<dyn std::error::Error + Send + Sync>| EffectError::Permanent(error);
    let deactivated =
        event.decode::<UserDeactivated>().map(|read| read.map(|told| (told.user_id, told.auth_epoch)));
    let role_changed =
        || event.decode::<UserRoleChanged>().map(|read| read.map(|told| (told.user_id, told.auth_epoch)));
    let password_changed =
        || event.decode::<UserPasswordChanged>().map(|read| read.map(|told| (told.user_id, told.auth_epoch)));
    let deleted =
        || event.decode::<UserDeleted>().map(|read| read.map(|told| (told.user_id, told.auth_epoch)));
    let told = deactivated.or_else(role_changed).or_else(password_changed).or_else(deleted);
    let Some(told) = told else { return Ok(None) };
    let (user_id, auth_epoch) = told.map_err(|error| permanent(error.into()))?;
    if auth_epoch < 0 {
        return Err(permanent(format!("auth epoch {auth_epoch}").into()));
    }
    Ok(Some((user_id.parse().map_err(|error: types::InvalidId| permanent(error.into()))?, auth_epoch)))
}

/// The event that we append belongs to the call that caused the event of user service.
fn caused_by(event: &Event) -> Headers {
    let theirs = &event.new.headers;
    let traceparent = runtime::telemetry::continued(theirs.traceparent.as_deref());
    Headers { traceparent, ..theirs.clone() }
}
