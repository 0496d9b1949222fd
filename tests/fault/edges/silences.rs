//! Claim: when one direction of an edge is silent, each call still ends by its deadline: done, or with an unknown
//! outcome and a hint when to repeat. When the edge works again, the repeats find one effect each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::order::v1::PlaceOrderRequest;
use api::session::v1::LoginRequest;
use api::user::v1::SendCreditRequest;
use testkit::client::{Caller, PASSWORD, Person};
use testkit::proxy::{Direction, Edge};
use tests::people::{Market, PRICE, credit, earned, pay, send};
use tonic::Status;

use super::ground::{EDGES, Ground, answered, bitten, is_unknown};
use super::traffic::log_in;

const DEADLINE: Duration = Duration::from_millis(600);
/// How much later than its deadline a call may end. On an idle machine it takes a quarter of a second.
const ALLOWANCE: Duration = Duration::from_secs(4);
const PLACES: i64 = 100;
const SENT: i64 = 1;

/// One of each kind of call.
struct Calls {
    buyer: Person,
    place: PlaceOrderRequest,
    pay: api::order::v1::PayOrderRequest,
    send: SendCreditRequest,
    login: LoginRequest,
}

impl Calls {
    async fn new(ground: &Ground, market: &Market) -> Result<Self> {
        // Nobody has verified this session yet.
        let buyer = log_in(ground, &market.buyer).await?;
        Ok(Self {
            place: market.order_request(1),
            pay: pay(&market.order(1).await?),
            send: send(&market.seller, SENT),
            login: LoginRequest {
                email: buyer.email.clone(),
                password: PASSWORD.to_owned(),
                client_name: "silence".to_owned(),
            },
            buyer,
        })
    }

    /// All at once, each of which must end in time.
    async fn end_in_time(&self, ground: &Ground) -> Result<()> {
        let caller = ground.caller(&self.buyer)?.within(DEADLINE);
        let anyone = ground.api.anyone().within(DEADLINE);
        let (orders, transfers) = (caller.orders(), caller.transfers());
        let (wallets, sessions) = (caller.wallets(), anyone.sessions());
        let (mut orders, mut transfers, mut wallets, mut sessions) = (orders, transfers, wallets, sessions);
        let (place, pay, send, login) = tokio::join!(
            in_time(orders.place_order(self.place.clone())),
            in_time(transfers.pay_order(self.pay.clone())),
            in_time(wallets.send_credit(self.send.clone())),
            in_time(sessions.login(self.login.clone())),
        );
        place.context("PlaceOrder")?;
        pay.context("PayOrder")?;
        send.context("SendCredit")?;
        login.context("Login")
    }

    async fn are_answered(&self, caller: &Caller) -> Result<()> {
        answered(async || caller.orders().place_order(self.place.clone()).await)
            .await
            .context("PlaceOrder")?;
        answered(async || caller.transfers().pay_order(self.pay.clone()).await).await.context("PayOrder")?;
        answered(async || caller.wallets().send_credit(self.send.clone()).await)
            .await
            .context("SendCredit")?;
        answered(async || caller.api().anyone().sessions().login(self.login.clone()).await)
            .await
            .context("Login")?;
        Ok(())
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<()> {
    let begin = Instant::now();
    let answer = call.await;
    let took = begin.elapsed();
    ensure!(took <= DEADLINE + ALLOWANCE, "took {took:?} of {DEADLINE:?}");
    answer.map(drop).or_else(|status| is_unknown(&status))
}

#[tokio::test]
async fn no_call_outlives_its_deadline_when_a_connection_is_silent() -> Result<()> {
    let ground = Ground::take().await?;
    let market = ground.market(PLACES * PRICE, PLACES).await?;
    let mut rounds = 0;
    for edge in EDGES {
        for direction in [Direction::ToServer, Direction::ToClient] {
            silence(&ground, &market, edge, direction)
                .await
                .with_context(|| format!("{edge:?}, {direction:?}"))?;
            rounds += 1;
        }
    }
    let moved = (credit(&market.buyer).await?, credit(&market.seller).await?, earned(&market.seller).await?);
    assert_eq!(moved, ((PLACES - rounds) * PRICE - rounds * SENT, rounds * SENT, rounds * PRICE));
    assert_eq!(market.stock().await?, PLACES - 2 * rounds);
    ground.settled().await
}

async fn silence(ground: &Ground, market: &Market, edge: Edge, direction: Direction) -> Result<()> {
    let calls = Calls::new(ground, market).await?;
    let silent = ground.edge(edge).silence(direction);
    calls.end_in_time(ground).await?;
    bitten(&silent).await?;
    ground.edge(edge).heal();
    calls.are_answered(&ground.caller(&calls.buyer)?).await
}
