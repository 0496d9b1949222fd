//! Refunding part of a paid order: starts the transfer or joins it, and waits for its end.

use auth::Person;
use types::{Answer, Call};

use super::App;
use super::pay_order::Settled;
use crate::error::Result;
use crate::transfers::RefundOrder;

impl App {
    /// Refunds part of an order to the wallet that paid, for its seller or an admin.
    pub(crate) async fn refund_order(
        &self,
        call: &Call,
        caller: Person,
        wish: RefundOrder,
    ) -> Result<Answer<Settled>> {
        let transfer = self.transfers.refund(call, caller, wish).await?;
        self.settled(transfer).await
    }
}
