//! User service, as far as orders need it: one user, or all of them.

use api::update_mask::FieldMask;
use api::user::v1::user::State;
use api::user::v1::user_service_client::UserServiceClient;
use api::user::v1::{GetUserRequest, SnapshotUsersRequest, SnapshotUsersResponse, User};
use events::Head;
use runtime::client::{Outcome, Peer, PeerChannel, RetryPolicy, classify, retry_unavailable};
use tonic::{Status, Streaming};
use types::{Effect, Failure, RETRY_AFTER, UserId};

use crate::domain::{Customer, CustomerState};
use crate::error::{Error, Result};

/// The stream of user service's events.
pub(crate) const STREAM: &str = "user";

/// Users, asked of user service.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    client: UserServiceClient<PeerChannel>,
    policy: RetryPolicy,
}

impl Users {
    /// Asks this peer.
    #[must_use]
    pub(crate) fn new(user_service: &Peer) -> Self {
        Self { client: UserServiceClient::new(user_service.channel()), policy: RetryPolicy::default() }
    }

    /// A user; `None` when there is no such user.
    pub(crate) async fn fetch(&self, user_id: UserId) -> Result<Option<Customer>> {
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let request = GetUserRequest { user_id: user_id.to_string(), read_mask: Some(needed()) };
            async move { client.get_user(request).await }
        });
        match answer.await {
            Ok(answer) => {
                let user = answer.into_inner().user.as_ref().and_then(customer);
                let user = user.filter(|user| user.user_id == user_id);
                user.map(Some).ok_or_else(|| Error::internal("user service answered without the user"))
            }
            Err(status) if is_not_found(&status) => Ok(None),
            Err(status) => Err(failed(status)),
        }
    }
}

/// Every user, page by page, with where the stream of their events stood before the first was read.
#[derive(Debug)]
pub(crate) struct UserSnapshot {
    pub(crate) head: Head,
    pages: Streaming<SnapshotUsersResponse>,
}

impl Users {
    /// Begins to read every user.
    pub(crate) async fn snapshot(&self) -> Result<UserSnapshot> {
        let answer = self.client.clone().snapshot_users(SnapshotUsersRequest {}).await;
        let mut pages = answer.map_err(failed)?.into_inner();
        let first = pages.message().await.map_err(failed)?;
        let head =
            first.as_ref().and_then(head).ok_or_else(|| Error::internal("a snapshot without a head"))?;
        Ok(UserSnapshot { head, pages })
    }
}

impl UserSnapshot {
    /// The next page; `None` after the last.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<Customer>>> {
        let Some(page) = self.pages.message().await.map_err(failed)? else { return Ok(None) };
        let users: Option<Vec<_>> = page.users.iter().map(customer).collect();
        users.map(Some).ok_or_else(|| Error::internal("a snapshot has a user without state, role or id"))
    }
}

fn head(first: &SnapshotUsersResponse) -> Option<Head> {
    let event_id = match first.event_id.as_str() {
        "" => None,
        id => Some(id.parse().ok()?),
    };
    let epoch = first.epoch.parse().ok()?;
    let is_whole = first.position >= 0 && (first.position == 0) == event_id.is_none();
    // The snapshot does not say how far back the stream can be replayed, and no reader needs it.
    is_whole.then_some(Head {
        stream: STREAM.to_owned(),
        epoch,
        position: first.position,
        event_id,
        oldest: 0,
    })
}

/// What [`customer`] reads of a user.
fn needed() -> FieldMask {
    FieldMask { paths: ["id", "role", "state", "version"].map(str::to_owned).to_vec() }
}

/// A user as orders see it; `None` when something that they need is missing.
fn customer(user: &User) -> Option<Customer> {
    let state = match user.state() {
        State::Active => CustomerState::Active,
        State::Deactivated => CustomerState::Deactivated,
        State::Deleted => CustomerState::Deleted,
        State::Unspecified => return None,
    };
    let user_id = user.id.parse().ok()?;
    Some(Customer { user_id, state, role: user.role().known()?, version: user.version })
}

fn is_not_found(status: &Status) -> bool {
    matches!(classify(status), Outcome::DidNotHappen { reason, .. } if reason == "USER_NOT_FOUND")
}

/// Reading changes nothing: whatever may work later is "unavailable".
fn failed(status: Status) -> Error {
    match classify(&status) {
        Outcome::DidNotHappen { retryable: false, .. } => Error::internal(status),
        Outcome::Unknown { retry_after } => {
            let retry_after = retry_after.unwrap_or(RETRY_AFTER);
            Failure::Unavailable { retry_after, effect: Effect::None, source: status.into() }.into()
        }
        Outcome::DidNotHappen { .. } | Outcome::Happened => {
            Error::unavailable(status).with_effect(Effect::None)
        }
    }
}
