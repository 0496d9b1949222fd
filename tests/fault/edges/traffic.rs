//! People who buy: log in, order, pay, send a tip, again and again, each step repeated until it is answered. However
//! often a connection fails under it, each round must cost one price, one thing and one tip.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use testkit::client::{PASSWORD, Person};
use testkit::wait_until;
use tests::people::{Market, PRICE, credit, earned, pay, send};

use super::ground::{Ground, SOON, answered, is_unknown};

/// What a tip is, in cents.
const TIP: i64 = 1;
/// How many rounds the buyers have credit for.
const ROUNDS_MAX: i64 = 10_000;

pub(crate) struct Traffic<'a> {
    ground: &'a Ground,
    markets: [Market; 2],
    rounds: AtomicU64,
    is_over: AtomicBool,
}

/// Lets the buyers buy while `nemesis` works, and then checks that each round had its effect once and that nothing else
/// is left of the faults.
pub(crate) async fn buying_survives(
    nemesis: impl AsyncFnOnce(&Ground, &Traffic<'_>) -> Result<()>,
) -> Result<()> {
    let ground = Ground::take().await?;
    let traffic = Traffic::new(&ground).await?;
    Box::pin(traffic.during(async |traffic| nemesis(&ground, traffic).await)).await?;
    ground.settled().await
}

impl<'a> Traffic<'a> {
    async fn new(ground: &'a Ground) -> Result<Self> {
        let market = || ground.market(ROUNDS_MAX * (PRICE + TIP), ROUNDS_MAX);
        let markets = [market().await?, market().await?];
        Ok(Self { ground, markets, rounds: AtomicU64::new(0), is_over: AtomicBool::new(false) })
    }

    /// Lets the buyers buy while `nemesis` works; then checks that each round had its effect once.
    async fn during(self, nemesis: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let working = async {
            let result = nemesis(&self).await;
            self.is_over.store(true, Ordering::SeqCst);
            result
        };
        let (working, one, two) =
            tokio::join!(working, self.buy_on(&self.markets[0]), self.buy_on(&self.markets[1]));
        working?;
        for (market, rounds) in self.markets.iter().zip([one?, two?]) {
            let (left, todo) = ((credit(&market.buyer).await?, market.stock().await?), ROUNDS_MAX - rounds);
            ensure!(left == (todo * (PRICE + TIP), todo), "{left:?} after {rounds} rounds");
            let got = (earned(&market.seller).await?, credit(&market.seller).await?);
            ensure!(got == (rounds * PRICE, rounds * TIP), "{got:?} in {rounds} rounds");
        }
        Ok(())
    }

    /// Waits until the buyers have finished two more rounds.
    pub(crate) async fn goes_on(&self) -> Result<()> {
        let before = self.rounds.load(Ordering::SeqCst);
        wait_until(SOON, "the buyers to get on", async || {
            let rounds = self.rounds.load(Ordering::SeqCst);
            if rounds >= before + 2 { Ok(()) } else { Err(format!("{} rounds", rounds - before)) }
        })
        .await
    }

    async fn buy_on(&self, market: &Market) -> Result<i64> {
        let mut rounds = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            self.buy(market).await?;
            self.rounds.fetch_add(1, Ordering::SeqCst);
            rounds += 1;
        }
        Ok(rounds)
    }

    async fn buy(&self, market: &Market) -> Result<()> {
        let buyer = self.ground.caller(&log_in(self.ground, &market.buyer).await?)?;
        let request = market.order_request(1);
        let placed = answered(async || buyer.orders().place_order(request.clone()).await).await?;
        let request = pay(&placed.order.context("an order")?);
        let first = answered(async || buyer.transfers().pay_order(request.clone()).await).await?;
        let again = answered(async || buyer.transfers().pay_order(request.clone()).await).await?;
        ensure!(first == again, "{first:?}, then {again:?}");
        let request = send(&market.seller, TIP);
        answered(async || buyer.wallets().send_credit(request.clone()).await).await.map(drop)
    }
}

/// Logs somebody in again through the clients' edges, however often that takes.
pub(crate) async fn log_in(ground: &Ground, person: &Person) -> Result<Person> {
    let answer =
        wait_until(SOON, "a login", async || match ground.api.log_in(&person.email, PASSWORD).await {
            Ok(person) => Ok(Ok(person)),
            Err(error) => match error.downcast_ref().map(is_unknown) {
                Some(Ok(())) => Err(format!("{error:#}")),
                _ => Ok(Err(error)),
            },
        });
    answer.await?
}
