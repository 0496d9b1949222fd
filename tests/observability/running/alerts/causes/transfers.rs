//! Money that does not go on, or does not add up.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::people::pay;

use super::super::stage::{Refused, Stage, Wanted};

const ORDER: &[(&str, &str)] = &[("job", "order-service")];

pub(super) async fn drift(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("LedgerDrift", &[("check", "account")])];
    // An account is made by its first payment.
    stage.market.paid_order(1).await?;
    let owner = &stage.market.seller.user_id;
    let add =
        |cents: i64| format!("UPDATE accounts SET balance = balance + {cents} WHERE owner_id = '{owner}'");
    stage.are_over(WANTED).await?;
    stage.sql(&add(1)).await?;
    stage.fire(WANTED).await?;
    stage.sql(&add(-1)).await?;
    stage.are_over(WANTED).await
}

/// Pays, and hears nothing.
async fn pay_in_vain(stage: &Stage) -> Result<()> {
    let order = stage.market.order(1).await?;
    let impatient = stage.market.buyer.caller.within(Duration::from_secs(1));
    ensure!(impatient.transfers().pay_order(pay(&order)).await.is_err(), "the transfer came to its end");
    Ok(())
}

pub(super) async fn undecided(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("TransferUndecided", ORDER)];
    let refused = Refused {
        table: "transfers",
        change: "UPDATE",
        condition: "OLD.decision IS NULL AND NEW.decision IS NOT NULL",
    };
    stage.fire_while_refused(&refused, WANTED, async || pay_in_vain(stage).await).await
}

pub(super) async fn unfinished(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("TransferUnfinished", ORDER), ("TransferNeedsOperator", ORDER)];
    let refused = Refused { table: "transfers", change: "UPDATE", condition: "NEW.state = 'completed'" };
    stage.fire_while_refused(&refused, WANTED, async || pay_in_vain(stage).await).await
}
