//! Transfers of credit: orders are placed first, which is not counted, and then each is paid by its customer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use api::order::v1::PayOrderRequest;
use api::order::v1::transfer_service_client::TransferServiceClient;
use tokio::task::JoinSet;
use tonic::Status;
use uuid::Uuid;

use crate::calls::{Connection, place_order};
use crate::drive;

/// Unpaid orders of several customers.
#[derive(Debug, Clone)]
pub struct Payments {
    customers: Arc<Vec<Customer>>,
}

#[derive(Debug)]
struct Customer {
    connection: Connection,
    orders: Mutex<VecDeque<String>>,
}

impl Payments {
    /// Places `count` orders, the same number for each customer.
    ///
    /// # Errors
    /// When an order is refused.
    pub async fn prepare(customers: Vec<Connection>, product_ids: &[String], count: usize) -> Result<Self> {
        let each = count.div_ceil(customers.len());
        let mut placing = JoinSet::new();
        for connection in customers {
            let product_ids = product_ids.to_vec();
            placing.spawn(async move {
                let mut orders = VecDeque::with_capacity(each);
                for _ in 0..each {
                    orders.push_back(place_order(&connection, &product_ids, 1).await?);
                }
                Ok::<_, Status>(Customer { connection, orders: Mutex::new(orders) })
            });
        }
        let mut customers = Vec::new();
        while let Some(placed) = placing.join_next().await {
            customers.push(placed?.context("placing orders to pay")?);
        }
        Ok(Self { customers: Arc::new(customers) })
    }
}

impl drive::Call for Payments {
    /// Pays an order of the lane's customer. Fails when none is left, because the rate would not be that of payments.
    async fn call(&self, lane: usize) -> Result<(), Status> {
        let customer = &self.customers[lane % self.customers.len()];
        let order = customer.orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let order_id = order.ok_or_else(|| Status::out_of_range("no order is left to pay"))?;
        let request = PayOrderRequest { request_id: Uuid::new_v4().to_string(), order_id };
        TransferServiceClient::new(customer.connection.clone()).pay_order(request).await.map(drop)
    }
}
