//! What users do in most tests, as short calls.

use anyhow::{Context, Result};
use api::auth::v1::Role;
use api::common::v1::Money;
use api::order::v1::{
    CancelOrderRequest, CreateProductRequest, GetAccountRequest, GetOrderRequest, GetProductRequest,
    GetTransferRequest, Order, OrderItem, PayOrderRequest, PlaceOrderRequest, RefundOrderRequest, Transfer,
};
use api::user::v1::{GetWalletRequest, SendCreditRequest, Wallet};
use testkit::client::{Person, eur, request_id};

use crate::System;

/// A buyer with credit and a merchant with a product at ten euros.
#[derive(Debug)]
pub struct Market {
    /// Buys.
    pub buyer: Person,
    /// Sells.
    pub seller: Person,
    /// What is sold.
    pub product_id: String,
}

/// What the product of a [`Market`] costs, in cents.
pub const PRICE: i64 = 1_000;

impl Market {
    /// Signs both up.
    ///
    /// # Errors
    /// When a service refuses.
    pub async fn open(system: &System, credit: i64, stock: i64) -> Result<Self> {
        let buyer = system.api.sign_up("Buyer").await?;
        let seller = system.api.sign_up("Seller").await?;
        let seller = system.admin.make(&seller, Role::Merchant).await?;
        if credit > 0 {
            system.admin.grant(&buyer, eur(credit)).await?;
        }
        let product_id = product(&seller, "Thing", eur(PRICE), stock).await?;
        Ok(Self { buyer, seller, product_id })
    }

    /// The buyer orders.
    ///
    /// # Errors
    /// When order service refuses.
    pub async fn order(&self, quantity: i64) -> Result<Order> {
        let request = self.order_request(quantity);
        let answer = self.buyer.caller.orders().place_order(request).await.context("PlaceOrder")?;
        answer.into_inner().order.context("an order")
    }

    /// The buyer orders and pays.
    ///
    /// # Errors
    /// When order service refuses.
    pub async fn paid_order(&self, quantity: i64) -> Result<Order> {
        let order = self.order(quantity).await?;
        self.buyer.caller.transfers().pay_order(pay(&order)).await.context("PayOrder")?;
        Ok(order)
    }

    /// The buyer's request for an order.
    #[must_use]
    pub fn order_request(&self, quantity: i64) -> PlaceOrderRequest {
        let item = OrderItem { product_id: self.product_id.clone(), quantity, ..OrderItem::default() };
        PlaceOrderRequest { request_id: request_id(), items: vec![item] }
    }

    /// How many are left.
    ///
    /// # Errors
    /// When order service refuses.
    pub async fn stock(&self) -> Result<i64> {
        let request = GetProductRequest { product_id: self.product_id.clone() };
        let answer = self.buyer.caller.catalog().get_product(request).await.context("GetProduct")?;
        Ok(answer.into_inner().product.context("a product")?.stock)
    }
}

/// Creates a product of a merchant and returns its id.
///
/// # Errors
/// When order service refuses.
pub async fn product(seller: &Person, name: &str, unit_price: Money, stock: i64) -> Result<String> {
    let request = CreateProductRequest {
        request_id: request_id(),
        name: name.to_owned(),
        unit_price: Some(unit_price),
        stock,
    };
    let answer = seller.caller.catalog().create_product(request).await.context("CreateProduct")?;
    Ok(answer.into_inner().product.context("a product")?.id)
}

/// A request to pay an order.
#[must_use]
pub fn pay(order: &Order) -> PayOrderRequest {
    PayOrderRequest { request_id: request_id(), order_id: order.id.clone() }
}

/// A request to refund cents of an order.
#[must_use]
pub fn refund(order: &Order, cents: i64) -> RefundOrderRequest {
    RefundOrderRequest { request_id: request_id(), order_id: order.id.clone(), amount: Some(eur(cents)) }
}

/// A request to cancel an order.
#[must_use]
pub fn cancel(order_id: &str) -> CancelOrderRequest {
    CancelOrderRequest { request_id: request_id(), order_id: order_id.to_owned(), etag: String::new() }
}

/// A request to send somebody cents.
#[must_use]
pub fn send(to: &Person, cents: i64) -> SendCreditRequest {
    SendCreditRequest { request_id: request_id(), to_user_id: to.user_id.clone(), amount: Some(eur(cents)) }
}

/// Somebody's wallet in euros.
///
/// # Errors
/// When user service refuses.
pub async fn wallet(person: &Person) -> Result<Wallet> {
    let request = GetWalletRequest { user_id: String::new(), currency_code: "EUR".to_owned() };
    let answer = person.caller.wallets().get_wallet(request).await.context("GetWallet")?;
    answer.into_inner().wallet.context("a wallet")
}

/// The balance of somebody's wallet in cents.
///
/// # Errors
/// When user service refuses.
pub async fn credit(person: &Person) -> Result<i64> {
    Ok(wallet(person).await?.balance.context("a balance")?.minor_units)
}

/// The balance of somebody's account in cents.
///
/// # Errors
/// When order service refuses.
pub async fn earned(person: &Person) -> Result<i64> {
    let request = GetAccountRequest { owner_id: String::new(), currency_code: "EUR".to_owned() };
    let answer = person.caller.accounts().get_account(request).await.context("GetAccount")?;
    Ok(answer.into_inner().account.context("an account")?.balance.context("a balance")?.minor_units)
}

/// An order as somebody sees it.
///
/// # Errors
/// When order service refuses.
pub async fn order(person: &Person, order_id: &str) -> Result<Order> {
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    let answer = person.caller.orders().get_order(request).await.context("GetOrder")?;
    answer.into_inner().order.context("an order")
}

/// A transfer as somebody sees it.
///
/// # Errors
/// When order service refuses.
pub async fn transfer(person: &Person, transfer_id: &str) -> Result<Transfer> {
    let request = GetTransferRequest { transfer_id: transfer_id.to_owned() };
    let answer = person.caller.transfers().get_transfer(request).await.context("GetTransfer")?;
    answer.into_inner().transfer.context("a transfer")
}
