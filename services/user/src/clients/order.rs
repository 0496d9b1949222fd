//! Order service, asked what became of transfers: of one that is late, of many that the audit looks at; and what a user
//! still has there.

use std::collections::BTreeMap;

use api::order::v1::audit_service_client::AuditServiceClient;
use api::order::v1::order_service_client::OrderServiceClient;
use api::order::v1::transfer::Decision as WireDecision;
use api::order::v1::transfer_service_client::TransferServiceClient;
use api::order::v1::{GetCustomerHoldingsRequest, GetDecisionRequest, GetPostingsRequest, TransferPosting};
use events::Mark;
use runtime::client::{Peer, PeerChannel};
use types::{Effect, Money, TransferId, UserId};
use uuid::Uuid;

use crate::domain::audit::OtherBook;
use crate::domain::leaving::Holdings;
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
    audit: AuditServiceClient<PeerChannel>,
    orders: OrderServiceClient<PeerChannel>,
}

impl OrderClient {
    /// A client of this peer.
    pub fn new(peer: &Peer) -> Self {
        Self {
            transfers: TransferServiceClient::new(peer.channel()),
            audit: AuditServiceClient::new(peer.channel()),
            orders: OrderServiceClient::new(peer.channel()),
        }
    }

    /// What was decided about a transfer, in the history that our mark on the stream `order` is in.
    ///
    /// # Errors
    /// Unavailable for whatever is no answer.
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

    /// What order service has of these transfers, at most 500.
    ///
    /// # Errors
    /// Unavailable for whatever is no answer.
    pub(crate) async fn postings(&self, transfers: &[TransferId]) -> Result<BTreeMap<TransferId, OtherBook>> {
        let transfer_ids = transfers.iter().map(TransferId::to_string).collect();
        let request = GetPostingsRequest { transfer_ids };
        let answer = self.audit.clone().get_postings(request).await.map_err(Error::unavailable)?;
        answer.into_inner().postings.iter().map(other_book).collect()
    }
}

impl OrderClient {
    /// What a user has there. Nothing was done when it is not known.
    pub(crate) async fn holdings(&self, user_id: UserId) -> Result<Holdings> {
        let unknown = |cause: types::Cause| Error::unavailable(cause).with_effect(Effect::None);
        let request = GetCustomerHoldingsRequest { user_id: user_id.to_string() };
        let answer = self.orders.clone().get_customer_holdings(request).await;
        let told = answer.map_err(|status| unknown(status.into()))?.into_inner();
        let balances: Option<Vec<Money>> = told.account_balances.iter().map(money).collect();
        Ok(Holdings {
            bought: told.bought_count,
            sold: told.sold_count,
            running_transfers: told.running_transfer_count,
            balances: balances
                .ok_or_else(|| unknown("order service sent money that cannot be read".into()))?,
        })
    }
}

fn money(amount: &api::common::v1::Money) -> Option<Money> {
    Some(Money::new(amount.currency_code.parse().ok()?, amount.minor_units))
}

fn other_book(posting: &TransferPosting) -> Result<(TransferId, OtherBook)> {
    let unreadable =
        || Error::unavailable(format!("order service sent a transfer that cannot be read: {posting:?}"));
    let other = OtherBook {
        is_confirmed: posting.decision() == WireDecision::Confirm,
        wallet_user_id: posting.wallet_user_id.parse().map_err(|_| unreadable())?,
        order_id: posting.order_id.parse().map_err(|_| unreadable())?,
        amount: posting.amount.as_ref().map(|amount| money(amount).ok_or_else(unreadable)).transpose()?,
    };
    Ok((posting.transfer_id.parse().map_err(|_| unreadable())?, other))
}
