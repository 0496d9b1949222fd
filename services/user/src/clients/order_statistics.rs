//! Order service, asked what users' orders add up to.

use api::order::v1::order_service_client::OrderServiceClient;
use api::order::v1::{CustomerStatistics, SnapshotOrderStatisticsRequest, SnapshotOrderStatisticsResponse};
use events::Mark;
use runtime::client::{Peer, PeerChannel};
use tonic::Streaming;
use types::UserId;

use crate::domain::user::OrderStatistics;
use crate::error::{Error, Result};

/// Everybody's sums at one position of the stream `order`, page by page.
#[derive(Debug)]
pub(crate) struct StatisticsSnapshot {
    /// The position.
    pub(crate) mark: Mark,
    pages: Streaming<SnapshotOrderStatisticsResponse>,
}

/// A client of order service for this.
#[derive(Debug, Clone)]
pub(crate) struct StatisticsClient(OrderServiceClient<PeerChannel>);

impl StatisticsClient {
    /// A client of this peer.
    pub(crate) fn new(peer: &Peer) -> Self {
        Self(OrderServiceClient::new(peer.channel()))
    }

    /// Begins to read everybody's sums.
    pub(crate) async fn open(&self) -> Result<StatisticsSnapshot> {
        let answer = self.0.clone().snapshot_order_statistics(SnapshotOrderStatisticsRequest {}).await;
        let mut pages = answer.map_err(Error::unavailable)?.into_inner();
        let first = pages.message().await.map_err(Error::unavailable)?;
        let mark = first.as_ref().and_then(mark);
        let mark = mark.ok_or_else(|| Error::internal("a snapshot without a position"))?;
        Ok(StatisticsSnapshot { mark, pages })
    }
}

impl StatisticsSnapshot {
    /// The next users, in ascending order over all pages; `None` after the last.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<(UserId, OrderStatistics)>>> {
        let Some(page) = self.pages.message().await.map_err(Error::unavailable)? else { return Ok(None) };
        let sums: Option<Vec<_>> = page.customers.iter().map(sums).collect();
        sums.map(Some).ok_or_else(|| Error::internal("a snapshot has sums of nobody"))
    }
}

fn mark(first: &SnapshotOrderStatisticsResponse) -> Option<Mark> {
    let event_id = match first.event_id.as_str() {
        "" => None,
        id => Some(id.parse().ok()?),
    };
    let is_whole = first.position >= 0 && (first.position == 0) == event_id.is_none();
    is_whole.then_some(Mark { epoch: first.epoch.parse().ok()?, position: first.position, event_id })
}

fn sums(of: &CustomerStatistics) -> Option<(UserId, OrderStatistics)> {
    let sums = OrderStatistics {
        placed_count: of.placed_count,
        paid_count: of.paid_count,
        cancelled_count: of.cancelled_count,
        owned_count: of.owned_count,
    };
    Some((of.user_id.parse().ok()?, sums))
}
