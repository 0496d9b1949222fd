//! Order service, asked for one thing: what became of a transfer.

use api::order::v1::GetDecisionRequest;
use api::order::v1::transfer::Decision as WireDecision;
use api::order::v1::transfer_service_client::TransferServiceClient;
use events::Mark;
use runtime::client::{Peer, PeerChannel};
use types::TransferId;
use uuid::Uuid;

use crate::error::{Error, Result};

/// What the coordinator decided, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Post it.
    Confirm,
    /// Release it.
    Cancel,
}

/// The coordinator's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// `None` while undecided.
    pub decision: Option<Decision>,
    /// The history of the stream `order` that it belongs to; nil when our mark is not in it.
    pub epoch: Uuid,
}

/// A client of order service.
#[derive(Debug, Clone)]
pub struct OrderClient {
    transfers: TransferServiceClient<PeerChannel>,
}

impl OrderClient {
    /// A client of this peer.
    pub fn new(peer: &Peer) -> Self {
        Self { transfers: TransferServiceClient::new(peer.channel()) }
    }

    /// What was decided about a transfer, in the history that our mark on the stream `order` is in.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for whatever is no answer.
    pub async fn decision(&self, transfer_id: TransferId, mark: &Mark) -> Result<Answer> {
        let request = GetDecisionRequest {
            transfer_id: transfer_id.to_string(),
            epoch: mark.epoch.to_string(),
            position: mark.position,
            event_id: mark.event_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        let answer =
            self.transfers.clone().get_decision(request).await.map_err(Error::unavailable)?.into_inner();
        Ok(Answer {
            decision: match answer.decision() {
                WireDecision::Unspecified => None,
                WireDecision::Confirm => Some(Decision::Confirm),
                WireDecision::Cancel => Some(Decision::Cancel),
            },
            epoch: answer.epoch.parse().map_err(Error::unavailable)?,
        })
    }
}
