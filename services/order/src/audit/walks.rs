//! What a full audit looks at besides the chains of the accounts.

use bookkeeping::Finding;
use types::{OrderId, TransferId};

use super::Pass;
use crate::domain::audit_funds::{against_hold, against_no_hold, against_order};
use crate::domain::transfer::Decision;
use crate::error::Result;

const TRANSFERS: i64 = 1_000;
const ORDERS: i64 = 500;

impl Pass {
    /// Transfers that were decided CONFIRM and have no entry here, and refunds that nothing was set aside for.
    pub(super) async fn transfers(&mut self, above: TransferId) -> Result<Option<TransferId>> {
        let page = self.audits.store.audit_transfers(above, TRANSFERS).await?;
        let last = page.last().map(|transfer| transfer.id);
        for transfer in page {
            let decided = &transfer.decided;
            if !transfer.has_entry && decided.decision == Some(Decision::Confirm) {
                let missing = types::Money::new(decided.amount.currency, -decided.account_change());
                let what = "CONFIRM was decided, and order-service has no entry";
                self.found_by_full(Finding::transfer(transfer.id, what, Some(missing)));
            }
            if !transfer.has_hold {
                self.found(against_no_hold(transfer.id, decided));
            }
        }
        Ok(last)
    }

    /// Postings that no account's chain leads to. One that does not cancel out is told there.
    pub(super) async fn loose(&mut self, above: TransferId) -> Result<Option<TransferId>> {
        let page = self.audits.store.audit_loose(above, TRANSFERS).await?;
        let mut last = None;
        for posting in page {
            let (id, net, is_loose) = posting.into_parts()?;
            self.entries += 2;
            if is_loose {
                let what = "no account's chain leads to its entries";
                self.found_by_full(Finding::transfer(id, what, Some(net)));
            }
            last = Some(id);
        }
        Ok(last)
    }

    /// Holds that are not as their transfer is decided.
    pub(super) async fn holds(&mut self, above: TransferId) -> Result<Option<TransferId>> {
        let page = self.audits.store.audit_holds(above, TRANSFERS).await?;
        let wrong = page.iter().filter_map(|(hold, transfer)| against_hold(hold, transfer.as_ref()));
        self.found(wrong);
        Ok(page.last().map(|(hold, _)| hold.transfer_id))
    }

    /// Orders whose sums are not those of their transfers.
    pub(super) async fn orders(&mut self, above: OrderId) -> Result<Option<OrderId>> {
        let page = self.audits.store.audit_orders(above, ORDERS).await?;
        self.found(page.iter().filter_map(against_order));
        Ok(page.last().map(|order| order.id))
    }

    fn found_by_full(&mut self, finding: Finding) {
        self.found([finding.seen_by_full(true)]);
    }
}
