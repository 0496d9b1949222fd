//! How long payments take, to compare a run with the event Redis and one without it. This is not a benchmark: payments
//! come one after the other, whatever else the machine does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::auth::v1::Role;
use api::order::v1::PayOrderRequest;
use testkit::client::{Api, eur, request_id};

use super::money::{on_sale, place};

const PAYMENTS: usize = 20;

/// The times of payments, in ascending order.
#[derive(Debug)]
pub(crate) struct Pace(Vec<Duration>);

impl Pace {
    /// The time that half of them took at most.
    pub(crate) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    /// The longest.
    pub(crate) fn slowest(&self) -> Duration {
        self.0[self.0.len() - 1]
    }
}

/// Pays twenty orders, one after the other.
pub(crate) async fn measure(api: &Api, admin: (&str, &str)) -> Result<Pace> {
    let admin = api.log_in(admin.0, admin.1).await?;
    let buyer = api.sign_up("Pace").await?;
    let seller = admin.make(&api.sign_up("Paul").await?, Role::Merchant).await?;
    admin.grant(&buyer, eur(1_000_000)).await?;
    let product = on_sale(&seller, "Ticket", 1000).await?;
    let mut times = Vec::new();
    for _ in 0..PAYMENTS {
        let order = place(&buyer, &product, 1).await?;
        let began = Instant::now();
        let request = PayOrderRequest { request_id: request_id(), order_id: order.id };
        buyer.caller.transfers().pay_order(request).await.context("PayOrder")?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(Pace(times))
}
