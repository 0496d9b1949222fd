//! User service's side of transfers, as far as it is asked rather than told by events.

use api::user::v1::GetHoldRequest;
use api::user::v1::hold::State;
use api::user::v1::wallet_service_client::WalletServiceClient;
use api::violations;
use runtime::client::{Outcome, Peer, PeerChannel, RetryPolicy, classify, retry_unavailable};
use time::OffsetDateTime;
use types::TransferId;

use crate::error::{Error, Result};

/// Wallets, asked of user service.
#[derive(Debug, Clone)]
pub(crate) struct Wallets {
    client: WalletServiceClient<PeerChannel>,
    policy: RetryPolicy,
}

/// The wallet's hold of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalletHold {
    /// How far it is, in words.
    pub(crate) state: String,
    pub(crate) created_at: Option<OffsetDateTime>,
    pub(crate) updated_at: Option<OffsetDateTime>,
}

impl Wallets {
    /// Asks this peer.
    pub(crate) fn new(user_service: &Peer) -> Self {
        Self { client: WalletServiceClient::new(user_service.channel()), policy: RetryPolicy::default() }
    }

    /// The wallet's hold; `None` when user service never heard of the transfer.
    pub(crate) async fn hold(&self, transfer_id: TransferId) -> Result<Option<WalletHold>> {
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let request = GetHoldRequest { transfer_id: transfer_id.to_string() };
            async move { client.get_hold(request).await }
        });
        match answer.await {
            Ok(answer) => Ok(answer.into_inner().hold.map(|hold| {
                let state = match hold.state() {
                    State::Unspecified => "of a state that is unknown here",
                    State::Held => "held",
                    State::Posted => "posted",
                    State::Cancelled => "cancelled",
                };
                let reason = Some(&hold.reason).filter(|reason| !reason.is_empty());
                WalletHold {
                    state: reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}")),
                    created_at: hold.create_time.as_ref().and_then(violations::time),
                    updated_at: hold.update_time.as_ref().and_then(violations::time),
                }
            })),
            Err(status) => match classify(&status) {
                Outcome::DidNotHappen { reason, .. } if reason == "HOLD_NOT_FOUND" => Ok(None),
                _ => Err(Error::unavailable(status)),
            },
        }
    }
}
