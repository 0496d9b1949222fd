//! What users do while Prometheus watches: a bit of everything that is measured.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use api::order::v1::GetOrderRequest;
use testkit::client::{Caller, PASSWORD, Person};
use tests::people::{Market, PRICE, pay, refund};
use tonic::Code;
use uuid::Uuid;

use super::super::watched::Watched;

/// A source that fails more often has to wait.
const FAILED_LOGINS: usize = 3;

/// Who works.
pub(super) struct Work {
    market: Market,
    /// Who does nothing but log in. Each login too many ends the oldest session of its user.
    visitor: Person,
    /// How often the visitor has tried another password.
    failed: AtomicUsize,
    /// With a token that no session has.
    stranger: Caller,
}

impl Work {
    pub(super) async fn prepare(watched: &Watched) -> Result<Self> {
        let system = &watched.system;
        let market = Market::open(system, 1_000_000 * PRICE, 1_000_000).await?;
        let stranger = system.api.bearer(&Uuid::new_v4().simple().to_string().repeat(2))?;
        let visitor = system.api.sign_up("Visitor").await?;
        Ok(Self { market, visitor, failed: AtomicUsize::new(0), stranger })
    }

    /// A payment and a refund, a login and a refused one, and calls that are refused.
    pub(super) async fn once(&self, watched: &Watched) -> Result<()> {
        let Market { buyer, seller, .. } = &self.market;
        let order = self.market.paid_order(1).await?;
        let mut transfers = seller.caller.transfers();
        transfers.refund_order(refund(&order, PRICE)).await.context("RefundOrder")?;
        let again = buyer.caller.transfers().pay_order(pay(&order)).await;
        ensure!(again.is_err(), "a refunded order is paid again");

        watched.system.api.log_in(&self.visitor.email, PASSWORD).await?;
        if self.failed.fetch_add(1, Ordering::Relaxed) < FAILED_LOGINS {
            ensure!(watched.system.api.log_in(&self.visitor.email, "not the password").await.is_err());
        }
        let request = GetOrderRequest { order_id: order.id };
        let refused = self.stranger.orders().get_order(request).await;
        ensure!(refused.is_err_and(|status| status.code() == Code::Unauthenticated), "a stranger is let in");
        Ok(())
    }
}
