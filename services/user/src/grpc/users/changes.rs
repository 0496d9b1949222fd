//! The record of changes on the wire.

use api::auth::v1::Role as WireRole;
use api::call::Rpc as _;
use api::page_token;
use api::user::v1::user_change::Kind;
use api::user::v1::{self as wire, ListUserChangesRequest, ListUserChangesResponse};
use api::violations::{Violations, timestamp};
use types::{Currency, UserId};

use crate::app::users::{ListUserChanges, UserChanges};
use crate::domain::user_change::{RecordedChange, What};

pub(super) fn list_user_changes(
    v: &mut Violations,
    request: &ListUserChangesRequest,
) -> Option<ListUserChanges> {
    let user_id: Option<UserId> = v.id("user_id", &request.user_id);
    let size = v.page_size(request.page_size);
    let (viewer, user_id) = v.caller().zip(user_id)?;
    let list = list_of(viewer, user_id);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let below = v.page_start(&list, &request.page_token)?;
    Some(ListUserChanges { user_id, below, size: size? })
}

/// One more change than the page has was read: it tells whether there is a next page.
pub(super) fn page(found: UserChanges, viewer: UserId, page: &ListUserChanges) -> ListUserChangesResponse {
    let UserChanges { mut changes, findings } = found;
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let has_more = changes.len() > size;
    changes.truncate(size);
    let last = changes.last().filter(|_| has_more).and_then(|change| u64::try_from(change.sequence).ok());
    let list = list_of(viewer, page.user_id);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    ListUserChangesResponse {
        next_page_token: last.map(|sequence| page_token::encode_number(&list, sequence)).unwrap_or_default(),
        changes: changes.into_iter().map(wire::UserChange::from).collect(),
        findings,
    }
}

/// What a page token is good for.
fn list_of(viewer: UserId, user: UserId) -> [String; 3] {
    [ListUserChangesRequest::METHOD.to_owned(), viewer.to_string(), user.to_string()]
}

impl From<RecordedChange> for wire::UserChange {
    fn from(change: RecordedChange) -> Self {
        let (before, after) = change.what.roles().unzip();
        let role = |role: Option<types::Role>| role.map_or(WireRole::Unspecified, WireRole::from).into();
        Self {
            sequence: change.sequence,
            kind: Kind::from(change.what).into(),
            actor_id: change.actor,
            change_time: Some(timestamp(change.time)),
            request_id: change.request_id.to_string(),
            role_before: role(before),
            role_after: role(after),
            currency_code: change.what.currency().as_ref().map(Currency::code).unwrap_or_default().to_owned(),
        }
    }
}

impl From<What> for Kind {
    fn from(what: What) -> Self {
        match what {
            What::Role { .. } => Self::Role,
            What::Deactivated => Self::Deactivated,
            What::Reactivated => Self::Reactivated,
            What::Deleted => Self::Deleted,
            What::Email => Self::Email,
            What::Password => Self::Password,
            What::PasswordReset => Self::PasswordReset,
            What::WalletFrozen(_) => Self::WalletFrozen,
            What::WalletUnfrozen(_) => Self::WalletUnfrozen,
            What::WalletLimits(_) => Self::WalletLimits,
        }
    }
}
