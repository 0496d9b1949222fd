//! The way of credit: from its grant to the merchant's account, and partly back.

use anyhow::{Context, Result, ensure};
use api::order::v1::order::State;
use api::order::v1::transfer::State as TransferState;
use api::order::v1::{
    CreateProductRequest, GetAccountRequest, GetProductRequest, Order, OrderItem, PayOrderRequest,
    PlaceOrderRequest, RefundOrderRequest,
};
use api::user::v1::{GetWalletRequest, GrantCreditRequest};
use testkit::client::{Person, eur, request_id};
use tonic::{Code, Status};

use super::people::Cast;
use super::script::{Script, euros};

const GRANT: i64 = 10_000;
const PRICE: i64 = 1_250;
const REFUND: i64 = 500;

/// Balance and available credit of a wallet.
pub(crate) async fn wallet(person: &Person) -> Result<(i64, i64)> {
    let request = GetWalletRequest { user_id: String::new(), currency_code: "EUR".to_owned() };
    let wallet = person.caller.wallets().get_wallet(request).await.context("GetWallet")?.into_inner();
    let wallet = wallet.wallet.context("a wallet")?;
    Ok((
        wallet.balance.context("a balance")?.minor_units,
        wallet.available.context("available credit")?.minor_units,
    ))
}

/// Balance of a merchant's account.
pub(crate) async fn account(person: &Person) -> Result<i64> {
    let request = GetAccountRequest { owner_id: String::new(), currency_code: "EUR".to_owned() };
    let account = person.caller.accounts().get_account(request).await.context("GetAccount")?.into_inner();
    Ok(account.account.context("an account")?.balance.context("a balance")?.minor_units)
}

/// The admin grants Ann credit, twice with one request id.
pub(crate) async fn granted(script: &mut Script, cast: &Cast) -> Result<()> {
    script.step(format!("The admin grants Ann {}", euros(GRANT)))?;
    let request = GrantCreditRequest {
        request_id: request_id(),
        user_id: cast.ann.user_id.clone(),
        amount: Some(eur(GRANT)),
    };
    let first = cast.admin.caller.wallets().grant_credit(request.clone()).await?.into_inner();
    let repeat = cast.admin.caller.wallets().grant_credit(request.clone()).await?.into_inner();
    ensure!(first == repeat, "the repeated grant must return the first answer");
    let other = GrantCreditRequest { amount: Some(eur(GRANT + 1)), ..request };
    let refused = cast.admin.caller.wallets().grant_credit(other).await.err().context("another amount")?;
    ensure!(refused.code() == Code::InvalidArgument, "a reused request id must be refused: {refused}");
    let (balance, _) = wallet(&cast.ann).await?;
    ensure!(balance == GRANT, "Ann has {} after one grant, repeated", euros(balance));
    script.saw(format!("granted, repeated, and tried with another amount: Ann has {}", euros(balance)))?;
    script.proves("one request id, one effect; the same id for another amount is refused")
}

/// Ben puts a product on sale, and Ann orders it.
pub(crate) async fn ordered(script: &mut Script, cast: &Cast) -> Result<Order> {
    script.step(format!("Ben sells tea at {} and Ann orders three", euros(PRICE)))?;
    let product_id = on_sale(&cast.ben, "Tea", 10).await?;
    let order = place(&cast.ann, &product_id, 3).await?;
    let request = GetProductRequest { product_id: product_id.clone() };
    let product = cast.ann.caller.catalog().get_product(request).await.context("GetProduct")?;
    let stock = product.into_inner().product.context("a product")?.stock;
    let total = order.total.as_ref().context("a total")?.minor_units;
    ensure!(total == 3 * PRICE && stock == 7, "total {total}, stock {stock}");
    script.saw(format!("order {} over {}, stock 10 -> {stock}", order.id, euros(total)))?;
    let greedy = place(&cast.ann, &product_id, 8).await.err().context("eight of seven")?;
    let refused = greedy.downcast_ref::<Status>().map(Status::code);
    ensure!(refused == Some(Code::FailedPrecondition), "more than there are: {greedy:#}");
    script.saw("eight more: FAILED_PRECONDITION, nothing taken")?;
    script.proves("stock, prices, total and event are one transaction")?;
    Ok(order)
}

pub(crate) async fn on_sale(seller: &Person, name: &str, stock: i64) -> Result<String> {
    let request = CreateProductRequest {
        request_id: request_id(),
        name: name.to_owned(),
        unit_price: Some(eur(PRICE)),
        stock,
    };
    let product = seller.caller.catalog().create_product(request).await.context("CreateProduct")?;
    Ok(product.into_inner().product.context("a product")?.id)
}

pub(crate) async fn place(buyer: &Person, product_id: &str, quantity: i64) -> Result<Order> {
    let item = OrderItem { product_id: product_id.to_owned(), quantity, ..OrderItem::default() };
    let request = PlaceOrderRequest { request_id: request_id(), items: vec![item] };
    let order = buyer.caller.orders().place_order(request).await.context("PlaceOrder")?;
    order.into_inner().order.context("an order")
}

/// Ann pays: money leaves MongoDB and arrives in PostgreSQL.
pub(crate) async fn paid(script: &mut Script, cast: &Cast, order: &Order) -> Result<()> {
    let total = order.total.as_ref().context("a total")?.minor_units;
    script.step(format!("Ann pays {} from her wallet", euros(total)))?;
    let (before, earned) = (wallet(&cast.ann).await?.0, account(&cast.ben).await?);
    let request = PayOrderRequest { request_id: request_id(), order_id: order.id.clone() };
    let answer =
        cast.ann.caller.transfers().pay_order(request.clone()).await.context("PayOrder")?.into_inner();
    let repeat = cast.ann.caller.transfers().pay_order(request).await.context("PayOrder again")?.into_inner();
    ensure!(answer == repeat, "the repeated payment must return the first answer");
    let transfer = answer.transfer.context("a transfer")?;
    let order = answer.order.context("an order")?;
    ensure!(transfer.state() == TransferState::Completed, "transfer {:?}", transfer.state());
    ensure!(order.state() == State::Paid, "order {:?}", order.state());
    let (after, earned_after) = (wallet(&cast.ann).await?, account(&cast.ben).await?);
    ensure!(
        after == (before - total, before - total) && earned_after == earned + total,
        "wallet {before} -> {after:?}, account {earned} -> {earned_after}"
    );
    script.saw(format!("wallet (MongoDB)      {:>12} -> {:>12}", euros(before), euros(after.0)))?;
    script.saw(format!("account (PostgreSQL)  {:>12} -> {:>12}", euros(earned), euros(earned_after)))?;
    let again = PayOrderRequest { request_id: request_id(), order_id: order.id };
    let refused = cast.ann.caller.transfers().pay_order(again).await.err().context("a second payment")?;
    ensure!(refused.code() == Code::FailedPrecondition, "a paid order cannot be paid: {refused}");
    script.saw("a second payment with another id: FAILED_PRECONDITION")?;
    script.proves("what left one database arrived in the other, once")
}

/// Ben refunds a part: money leaves PostgreSQL and arrives in MongoDB.
pub(crate) async fn refunded(script: &mut Script, cast: &Cast, order: &Order) -> Result<()> {
    script.step(format!("Ben refunds {}", euros(REFUND)))?;
    let (before, earned) = (wallet(&cast.ann).await?.0, account(&cast.ben).await?);
    let refund = |amount| RefundOrderRequest {
        request_id: request_id(),
        order_id: order.id.clone(),
        amount: Some(eur(amount)),
    };
    let answer = cast.ben.caller.transfers().refund_order(refund(REFUND)).await.context("RefundOrder")?;
    let refunded = answer.into_inner().order.context("an order")?.refunded.context("a sum")?.minor_units;
    let (after, earned_after) = (wallet(&cast.ann).await?.0, account(&cast.ben).await?);
    ensure!(
        after == before + REFUND && earned_after == earned - REFUND && refunded == REFUND,
        "wallet {before} -> {after}, account {earned} -> {earned_after}, order refunded {refunded}"
    );
    script.saw(format!("account (PostgreSQL)  {:>12} -> {:>12}", euros(earned), euros(earned_after)))?;
    script.saw(format!("wallet (MongoDB)      {:>12} -> {:>12}", euros(before), euros(after)))?;
    let rest = order.total.as_ref().context("a total")?.minor_units;
    let refused = cast.ben.caller.transfers().refund_order(refund(rest)).await.err().context("too much")?;
    ensure!(refused.code() == Code::FailedPrecondition, "more than was paid: {refused}");
    script.saw("the whole sum once more: FAILED_PRECONDITION")?;
    script.proves("a refund is the same transfer the other way, and never exceeds the payment")
}
