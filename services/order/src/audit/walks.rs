//! What a full audit looks at besides the chains of the accounts.

use types::TransferId;

use super::Pass;
use crate::domain::audit::Finding;
use crate::error::Result;

const TRANSFERS: i64 = 1_000;

impl Pass {
    /// Transfers that were decided CONFIRM and have no entry here.
    pub(super) async fn decided(&mut self, above: TransferId) -> Result<Option<TransferId>> {
        let (unposted, last) = self.audits.store.audit_decided(above, TRANSFERS).await?;
        let found = unposted.into_iter().map(|(id, decided)| {
            let missing = types::Money::new(decided.amount.currency, -decided.account_change());
            Finding::transfer(id, "CONFIRM was decided, and order-service has no entry", Some(missing))
        });
        self.found(found.collect());
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
                self.found(vec![Finding::transfer(id, "no account's chain leads to its entries", Some(net))]);
            }
            last = Some(id);
        }
        Ok(last)
    }
}
