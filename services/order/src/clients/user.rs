//! User service, as far as orders need it: whether a user exists and is active.

use api::user::v1::user::State;
use api::user::v1::user_service_client::UserServiceClient;
use api::user::v1::{GetUserRequest, User};
use runtime::client::{Outcome, Peer, PeerChannel, RetryPolicy, classify, retry_unavailable};
use tonic::Status;
use types::UserId;

use crate::domain::Customer;
use crate::error::{Error, RETRY_AFTER, Result};

/// Users, asked of user service.
#[derive(Debug, Clone)]
pub struct Users {
    client: UserServiceClient<PeerChannel>,
    policy: RetryPolicy,
}

impl Users {
    /// Asks this peer.
    #[must_use]
    pub fn new(user_service: &Peer) -> Self {
        Self { client: UserServiceClient::new(user_service.channel()), policy: RetryPolicy::default() }
    }

    /// A user; `None` when there is no such user.
    pub(crate) async fn fetch(&self, user_id: UserId) -> Result<Option<Customer>> {
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let request = GetUserRequest { user_id: user_id.to_string() };
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

/// A user as orders see it; `None` when something that they need is missing.
fn customer(user: &User) -> Option<Customer> {
    let is_active = match user.state() {
        State::Active => true,
        State::Deactivated => false,
        State::Unspecified => return None,
    };
    let user_id = user.id.parse().ok()?;
    Some(Customer { user_id, is_active, role: user.role().known()?, version: user.version })
}

fn is_not_found(status: &Status) -> bool {
    matches!(classify(status), Outcome::DidNotHappen { reason, .. } if reason == "USER_NOT_FOUND")
}

/// Reading changes nothing: whatever may work later is "unavailable".
fn failed(status: Status) -> Error {
    match classify(&status) {
        Outcome::DidNotHappen { retryable: false, .. } => Error::internal(status),
        Outcome::Unknown { retry_after } => Error::Unavailable {
            retry_after: retry_after.unwrap_or(RETRY_AFTER),
            source: status.into(),
        },
        Outcome::DidNotHappen { .. } | Outcome::Happened => Error::unavailable(status),
    }
}
